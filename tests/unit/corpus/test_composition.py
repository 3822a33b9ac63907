"""Blocks of all sites in any order, and inside each other: each makes what it makes alone."""

from __future__ import annotations

import random
import re
import time

import pytest

from services.corpus.cleaning.plain_text import markdown_text
from services.corpus.rules import Rules
from tests.unit.corpus.snippets import SNIPPETS


def text(markdown: str) -> str:
    return markdown_text(markdown, Rules()).text


def inside(prefix: str, block: str) -> str:
    return "\n".join(prefix + line if line else prefix.rstrip() for line in block.split("\n"))


def plain(words: str) -> str:
    """Without blank lines and indentation."""
    return re.sub(r"\n\s*", "\n", words)


@pytest.mark.parametrize(("markdown", "expected"), SNIPPETS)
def test_a_block_alone(markdown: str, expected: str):
    assert text(markdown) == expected


@pytest.mark.parametrize("seed", range(60))
def test_blocks_in_any_order_do_not_touch_each_other(seed: int):
    chosen = random.Random(seed).sample(SNIPPETS, 10)
    parted = [pair for block in chosen for pair in (block, ("Between them.", "Between them."))]

    assert text("\n\n".join(markdown for markdown, _ in parted)) == "\n\n".join(expected for _, expected in parted)


@pytest.mark.parametrize(
    ("before", "prefix", "after", "words_after"),
    [
        ("- Holds:\n\n", "  ", "\n\n- End", "- End"),
        ("1. Holds:\n\n", "   ", "\n\n2. End", "2. End"),
        ("> Holds:\n>\n", "> ", "\n\nEnd", "End"),
        ("- A\n  - Holds:\n\n", "    ", "\n\n  - C\n- End", "- C\n- End"),
        ("!!! note\n    Holds:\n\n", "    ", "\n\nEnd", "End"),
        ('=== "Tab"\n\n    Holds:\n\n', "    ", "\n\nEnd", "End"),
        (":::note\n\nHolds:\n\n", "", "\n\n:::\n\nEnd", "End"),
        ("{{< hint >}}\nHolds:\n\n", "", "\n\n{{< /hint >}}\n\nEnd", "End"),
        ("{% if x %}\nHolds:\n\n", "", "\n\n{% endif %}\n\nEnd", "End"),
        ("<details>\n\nHolds:\n\n", "", "\n\n</details>\n\nEnd", "End"),
        ('<div markdown="1">\n\nHolds:\n\n', "", "\n\n</div>\n\nEnd", "End"),
    ],
)
def test_a_block_inside_another_keeps_its_words(before: str, prefix: str, after: str, words_after: str):
    for markdown, expected in SNIPPETS:
        found = plain(text(before + inside(prefix, markdown) + after))

        assert found.partition("Holds:\n")[2] == f"{plain(expected)}\n{words_after}", markdown


@pytest.mark.parametrize("seed", range(40))
def test_blocks_torn_into_lines_are_read_in_bounded_time_and_keep_their_words(seed: int):
    """Openings lose their ends and ends their openings; what is prose in any order must stay."""
    chance = random.Random(seed)
    lines = [line for markdown, _ in chance.sample(SNIPPETS, 20) for line in markdown.split("\n")]
    lines += [f"Kept word{number} here." for number in range(10)]
    chance.shuffle(lines)
    torn = "\n\n".join(
        line for line in lines if not re.search(r"```|~~~|highlight|raw|comment|<!--|-->|script|\$\$|8<-", line)
    )
    started = time.process_time()

    found = text(torn)

    assert time.process_time() - started < 30
    assert [number for number in range(10) if f"Kept word{number} here." not in found] == []
    assert not re.search("[\ufdd0-\ufdef]", found)

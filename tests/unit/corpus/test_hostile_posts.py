# ruff: noqa: E501  (inputs read best on one line)
"""Posts made to hang, overflow or mislead the cleaning: each is answered in bounded time, with valid Unicode."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.corpus.cleaners import Cleaners
from services.corpus.cleaning.documents import Document, make_document
from services.corpus.cleaning.page import flattened, parse
from services.corpus.cleaning.plain_text import markdown_text
from services.corpus.kinds import POSTS
from services.corpus.reasons import Code, LeftOut, Reason
from services.corpus.rules import Rules

LIMIT_S = 3.0
AMPLE_S = 30.0  # for what must be cleaned; the longest takes a second and a half
FORMS = ("text", "markdown")
_SIZE = 20_000
RUNS = [
    *("[", "]", "[[", "![[a|", "![", "](", "[a](", "[a]: ", "[^", "[^1]: ", "<", "<A ", "<a href=", "<!--", "<![CDATA[", "<?"),
    *("<div>", "<b>", "<code>", "<span>", "<ul><li>", "<table><tr><td>", "<blockquote>", "<dl><dt>", "<pre>", "</p>", "<h1>"),
    *("*", "**", "***", "* a", "*a **b", "_", "__", "_a ", "`", "``", "~", "~~a ", "> ", ">", "- ", "-", "+ ", "1. ", "1. - "),
    *("#", "# ", "#a\n", "|", "| a ", "=", "== a", "$", "$$", "$a_", "\\", "\\(", "{", "{{", "{%", "{#", "{:", "!", "&", "&#x1;"),
    *(": ", ":::", "!!!", "%%a ", "^", "++", "\t", " ", "\n", "  \n", "- a\n\n", "a\n---\n", "\xa0", "\u200d", "\U0001f468\u200d"),
    *("Ã©", "e\u0301", "\u0301", "<br>", "<img alt=", "'", '"', "*[a]: b\n", "import a from ", "export const a = {\n", "a: b\n"),
]  # fmt: skip


@pytest.fixture(scope="module")
def cleaners() -> Iterator[Cleaners]:
    pool = Cleaners(2, processor_seconds=LIMIT_S)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def patient_cleaners() -> Iterator[Cleaners]:
    pool = Cleaners(2, processor_seconds=AMPLE_S)
    yield pool
    pool.close()


def answered(cleaners: Cleaners, posts: list[tuple[str, bytes, Rules]], limit_s: float) -> list[Document | Reason]:
    """What each post came to; fails if one is not answered within the limit and a second of processor time."""
    futures = [cleaners.submit(*post) for post in posts]
    # Another process may have had the processors meanwhile.
    return [future.result(timeout=len(posts) * (limit_s + 1) * 20) for future in futures]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("run", RUNS, ids=ascii)
def test_a_run_of_any_markup_is_answered_in_bounded_time(cleaners: Cleaners, run: str, form: str):
    content = (run * (_SIZE // len(run))).encode()
    started = time.monotonic()

    posts = [(f"a.{suffix}", content, Rules(form=form)) for suffix in ("md", "html")]
    for outcome in answered(cleaners, posts, LIMIT_S):
        assert isinstance(outcome, Document) or outcome.code in (Code.EMPTY, Code.NOT_TEXT, Code.CLEANING_FAILED)
        assert not isinstance(outcome, Reason) or "broke" not in outcome.message

    # The limit is on processor time; another process may have had the processors meanwhile.
    assert time.monotonic() - started < 20 * (LIMIT_S + 1)


@pytest.mark.parametrize(
    ("post", "words"),
    [
        pytest.param("[" * 20_000 + "bee", "bee", id="open brackets"),
        pytest.param("[[ " * 10_000 + "bee", "bee", id="open pairs of brackets"),
        pytest.param("![[a| " * 5_000 + "bee", "bee", id="open embeds"),
        pytest.param("[a](" * 5_000 + "bee", "bee", id="open addresses"),
        pytest.param("<A " * 10_000 + "bee", "bee", id="open tags"),
        pytest.param("<code>" * 5_000 + "bee", "bee", id="nested code"),
        pytest.param(">" * 100_000 + " bee", "bee", id="nested quotations"),
        pytest.param("\n".join(" " * depth + "- bee" for depth in range(300)), "bee", id="nested lists"),
        pytest.param("+ " * 20_000 + "bee", "bee", id="lists on a line"),
        pytest.param("*a **b " * 3_000 + "bee", "bee", id="signs of emphasis"),
        pytest.param("<blockquote>" * 100_000 + "bee", "bee", id="nested elements"),
        pytest.param("<table><tr><td>" * 200 + "bee", "bee", id="nested tables"),
    ],
)
def test_what_nests_too_deeply_or_is_never_closed_loses_no_word(patient_cleaners: Cleaners, post: str, words: str):
    posts = [("a.md", post.encode(), Rules(form=form)) for form in FORMS]
    for outcome in answered(patient_cleaners, posts, AMPLE_S):
        assert isinstance(outcome, Document), outcome
        assert words in outcome.text


def test_honest_lists_of_links_and_brackets_are_not_touched():
    links = "\n".join(f"- [page {number}](https://x.org/{number}_(a)) *and* [sic]" for number in range(300))
    lines = markdown_text(links, Rules()).text.split("\n")

    assert lines == [f"- page {number} and [sic]" for number in range(300)]


def test_a_million_laughs_and_a_deep_heap_of_yaml_are_refused_and_the_text_is_kept(patient_cleaners: Cleaners):
    laughs = "a0: &a0 [l]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    heads = [laughs, "title: " + "[" * 50_000, "title: " + "{a: " * 20_000, "? " * 30_000, "- " * 30_000]

    posts = [("a.md", f"---\ntitle: x\n{head}\n---\nbee".encode(), Rules()) for head in heads]
    for outcome in answered(patient_cleaners, posts, AMPLE_S):
        assert isinstance(outcome, Document)
        assert "bee" in outcome.text


def test_a_line_of_eight_megabytes_is_answered(cleaners: Cleaners):
    (outcome,) = answered(cleaners, [("a.md", b"bee " * (2 << 20), Rules())], LIMIT_S)

    assert isinstance(outcome, Document) or "processor time" in outcome.message or "memory" in outcome.message


@pytest.mark.parametrize("reference", ["&#xfdd0;0&#xfdd1;", "&#xfdd5;7&#xfdd6;", "&#64976;0&#64977;", "&#xFDE2;0&#xFDE3;", "&#1;", "&#xd800;", "&#x200b;", "&#x202e;", "&shy;", "&#x110000;", "&#xe0041;"])  # fmt: skip
@pytest.mark.parametrize("suffix", ["md", "html"])
@pytest.mark.parametrize("form", FORMS)
def test_references_to_what_is_no_character_are_no_text(reference: str, suffix: str, form: str):
    document = make_document(f"a.{suffix}", f"<p>a{reference}b</p>\n\n```\ncode\n```".encode(), Rules(form=form))

    assert re.match("a[07\ufffd]?b\\b", document.text)


def test_titles_and_tags_hold_nothing_that_is_no_character():
    head = b'{"title": "a\\ud800\\u0001b\\u202e", "tags": ["c\\udfff\\u200b"]}\n\nbee'
    document = make_document("a.md", head, Rules())

    assert (document.title, document.tags) == ("ab", ("c",))


def test_elements_beyond_the_depth_lose_their_tags_and_nothing_else():
    page = flattened(parse("<div title='a'>" * 1000 + "x <!-- no --> y &lt;z" + "</div>" * 1000 + "<p>after"))

    assert " ".join(page.get_text().split()) == "x y <zafter"
    assert 70 < len(page.find_all("div")) <= 80


def is_valid(text: str) -> bool:
    return (
        unicodedata.is_normalized("NFC", text)
        and text.encode().decode() == text
        and not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ufeff\u200b\u202a-\u202e\u2066-\u2069]", text)
    )


def check(path: str, content: bytes, rules: Rules) -> None:
    started = time.process_time()
    try:
        document = make_document(path, content, rules)
    except (LeftOut, RecursionError, MemoryError):
        return
    finally:
        assert time.process_time() - started < 10
    assert all(map(is_valid, (document.title, document.text, document.date, *document.tags)))
    assert document.text.strip()


_rules = st.builds(
    Rules, form=st.sampled_from(FORMS), keep_code=st.booleans(), mend_text=st.booleans(), keep_maths=st.booleans()
)
_paths = st.sampled_from(sorted(POSTS)).map(lambda suffix: f"post{suffix}")
_pieces = st.one_of(
    st.sampled_from([*RUNS, "---\n", "+++\n", "title: x\n", "<p>", "&#xfdd0;", "&#xd800;", "```\n", "\n\n", "\r", "\x00", "\u2028", "\ufdd5", "{% raw %}"]),
    st.text(max_size=5),
)  # fmt: skip


@settings(max_examples=300)
@given(_paths, st.binary(max_size=300), _rules)
def test_any_bytes_are_a_document_or_have_a_reason(path: str, content: bytes, rules: Rules):
    check(path, content, rules)


@settings(max_examples=300)
@given(_paths, st.lists(_pieces, max_size=40).map("".join), st.sampled_from(["utf-8", "utf-16", "latin-1"]), _rules)
def test_any_markup_is_a_document_or_has_a_reason(path: str, text: str, encoding: str, rules: Rules):
    check(path, text.encode(encoding, errors="replace"), rules)

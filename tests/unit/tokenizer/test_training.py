"""Training vocabularies: any size, the same every time, in OpenAI's format, read alike by others."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidRequest
from services.tokenizer.training import TrainedVocabulary, train_vocabulary
from services.tokens.codec import Codec
from services.tokens.vocabulary import CHARACTER_OF_BYTE

BLOG = Path(__file__).parents[3] / "deploy" / "sample_blog"


@cache
def texts() -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8", errors="replace") for path in sorted(BLOG.rglob("*.md")))


@cache
def trained() -> TrainedVocabulary:
    return train_vocabulary(texts(), 600)


@cache
def peer() -> Any:
    """The same files in an implementation that merges by pairs, not by ranks of the joined bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = json.loads(trained().encoder)
    merges = [tuple(line.split(" ")) for line in trained().merges.decode().split("\n")[1:-1]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer


def test_files_are_in_openais_format() -> None:
    encoder = json.loads(trained().encoder)
    lines = trained().merges.decode().split("\n")

    assert trained().size == len(encoder) == 600
    assert sorted(encoder.values()) == list(range(600))
    assert list(encoder)[:256] == list(CHARACTER_OF_BYTE.values())
    assert encoder["<|endoftext|>"] == 599
    assert lines[0] == "#version: 0.2"
    assert lines[-1] == ""
    assert [encoder[line.replace(" ", "")] for line in lines[1:-1]] == list(range(256, 599))


def test_the_same_texts_give_the_same_files() -> None:
    assert train_vocabulary(iter(texts()), 600) == trained()


def test_the_smallest_vocabulary_is_the_bytes_and_the_marker() -> None:
    vocabulary = train_vocabulary(texts(), 257).parse()

    assert (vocabulary.size, vocabulary.end_of_text_id, vocabulary.specials) == (
        257,
        256,
        {"<|endoftext|>": 256},
    )
    assert Codec(vocabulary).decode(Codec(vocabulary).encode("日本")) == "日本"


def test_a_small_corpus_gives_the_size_that_it_reaches() -> None:
    small = train_vocabulary(["a tiny post, a tiny blog"], 5000)

    assert 257 < small.size == small.parse().size < 300
    assert train_vocabulary([], 5000).size == 257


def test_training_learns_to_spend_fewer_tokens() -> None:
    text = "".join(texts())

    lengths = [len(Codec(train_vocabulary(texts(), size).parse()).encode(text)) for size in (257, 600, 2048)]

    assert lengths[0] == len(text.encode())
    assert lengths[0] > 1.5 * lengths[1] > 2 * lengths[2]


@pytest.mark.parametrize("size", [-1, 0, 256, 1_000_001])
def test_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidRequest, match=str(size)) as refusal:
        train_vocabulary(texts(), size)

    assert refusal.value.field == "size"


def test_the_marker_in_a_post_is_learnt_as_ordinary_text() -> None:
    vocabulary = train_vocabulary(["see <|endoftext|> here, <|endoftext|>\n"] * 50, 400).parse()

    assert vocabulary.size - 1 not in Codec(vocabulary).encode("see <|endoftext|> here")


def test_an_error_in_the_texts_comes_out() -> None:
    def broken() -> Any:
        yield "some text"
        raise OSError("the stream broke")

    with pytest.raises(OSError, match="the stream broke"):
        train_vocabulary(broken(), 300)


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=100))
def test_ids_of_a_trained_vocabulary_equal_those_of_a_peer(text: str) -> None:
    assert Codec(trained().parse()).encode(text) == peer().encode(text, add_special_tokens=False).ids


def test_ids_of_the_training_text_equal_those_of_a_peer() -> None:
    codec = Codec(trained().parse())
    for text in texts():
        assert codec.encode(text) == peer().encode(text, add_special_tokens=False).ids


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_rank_merging_equals_pair_merging_on_text_of_few_letters(seed: int) -> None:
    """Where letters repeat, the same bytes come apart in most ways: here the two could differ if anywhere."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    draw = random.Random(seed)
    words = ["".join(draw.choices("aab", k=draw.randint(1, 30))) for _ in range(200)]
    files = train_vocabulary([" ".join(words[:100])], 400)
    merges = [tuple(line.split(" ")) for line in files.merges.decode().split("\n")[1:-1]]
    pairwise = Tokenizer(models.BPE(vocab=json.loads(files.encoder), merges=merges))
    pairwise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    codec = Codec(files.parse())

    for word in words:
        assert codec.encode(word) == pairwise.encode(word).ids

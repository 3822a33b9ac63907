"""The words for what a run starts from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidRequest
from services.trainer.sources import Source, SourceKind, fresh_config, is_fresh, parse


@pytest.mark.parametrize(
    ("word", "source"),
    [
        ("nano", Source(SourceKind.FRESH, "nano")),
        ("fresh/nano", Source(SourceKind.FRESH, "nano")),
        ("fresh/124M", Source(SourceKind.FRESH, "124M")),
        ("fresh/12x768x12", Source(SourceKind.FRESH, "12x768x12")),
        ("124M", Source(SourceKind.BASE, "124M")),
        ("runs/blog", Source(SourceKind.RUN, "blog")),
        ("runs/blog@best", Source(SourceKind.RUN, "blog", "best")),
        ("runs/blog@0400", Source(SourceKind.RUN, "blog", "400")),
        ("models/voice", Source(SourceKind.MODEL, "voice")),
        ("models/voice@3", Source(SourceKind.MODEL, "voice", "3")),
    ],
)
def test_each_word_has_its_parts(word: str, source: Source) -> None:
    assert parse(word) == source
    assert parse(source.word) == source


@pytest.mark.parametrize(
    "word",
    [
        *("", "fresh/", "fresh/2x30x4", "fresh/0x8x2", "fresh/9999x8x2", "fresh/2x8", "fresh/125M"),
        *("runs/", "runs/../x", "runs/blog@", "runs/blog@last", "runs/blog@-1", "runs/blog@99999999999"),
        *("models/voice@best", "models/a/b", "models/voice@\u0663"),
    ],
)
def test_what_is_no_word_is_refused_as_the_base(word: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(word)
    assert caught.value.field == "base"


@given(st.text(max_size=30))
def test_a_word_is_understood_or_refused_and_then_means_itself(word: str) -> None:
    try:
        source = parse(word)
    except InvalidRequest:
        return
    assert parse(source.word) == source


def test_a_shape_is_what_it_says_with_a_vocabulary_that_suits_its_width() -> None:
    config = fresh_config(parse("fresh/3x96x6"))
    assert (config.n_layer, config.n_embd, config.n_head, config.n_ctx, config.n_vocab) == (3, 96, 6, 1024, 2048)
    medium = fresh_config(parse("fresh/355M"))
    assert (medium.n_layer, medium.n_embd, medium.n_head, medium.n_vocab) == (24, 1024, 16, 16_384)
    assert fresh_config(parse("mini")).n_vocab == 8192


def test_only_random_weights_are_fresh() -> None:
    assert is_fresh("micro") and is_fresh("fresh/2x8x2")
    assert not (is_fresh("124M") or is_fresh("runs/a") or is_fresh("models/a"))

"""The architecture: published sizes, hparams.json, refusals."""

from __future__ import annotations

import pytest

from services.common.errors import Corrupt
from services.gpt2.config import FRESH, SIZES, GPT2Config


@pytest.mark.parametrize(
    ("size", "count"),
    [("124M", 124_439_808), ("355M", 354_823_168), ("774M", 774_030_080), ("1558M", 1_557_611_200)],
)
def test_published_sizes_have_the_published_number_of_parameters(size: str, count: int) -> None:
    assert SIZES[size].num_parameters == count


def test_the_sizes_first_names_mean_the_same_models() -> None:
    assert SIZES["117M"] == SIZES["124M"]
    assert SIZES["345M"] == SIZES["355M"]


def test_hparams_round_trip() -> None:
    for config in (*SIZES.values(), *FRESH.values()):
        assert GPT2Config.from_hparams(config.to_hparams()) == config


def test_foreign_entries_in_hparams_are_left_alone() -> None:
    hparams = {**SIZES["124M"].to_hparams(), "embd_pdrop": 0.1}

    assert GPT2Config.from_hparams(hparams) == SIZES["124M"]


@pytest.mark.parametrize(
    "change",
    [
        {"n_layer": 0},
        {"n_layer": "12"},
        {"n_head": 5},
        {"n_ctx": 1024.0},
        {"n_vocab": True},
        {"n_embd": None},
    ],
)
def test_hparams_with_a_wrong_number_are_corrupt_and_name_the_file(change: dict[str, object]) -> None:
    with pytest.raises(Corrupt, match=f"here/hparams.json.*{next(iter(change))}"):
        GPT2Config.from_hparams({**SIZES["124M"].to_hparams(), **change}, source="here/hparams.json")


@pytest.mark.parametrize("hparams", [{}, [], None, 3, {"n_ctx": 4}])
def test_hparams_that_lack_an_entry_are_corrupt(hparams: object) -> None:
    with pytest.raises(Corrupt, match="n_vocab, n_ctx"):
        GPT2Config.from_hparams(hparams)  # type: ignore[arg-type]

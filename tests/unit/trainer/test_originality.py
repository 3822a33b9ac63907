"""Samples are compared with the posts as a run writes them, and a model that recites is seen to."""

from __future__ import annotations

import json
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from services.common.errors import FailedPrecondition
from services.common.files import read_json, write_json
from services.tokens.originality import MIN_RUN_TOKENS
from services.trainer.bases import Bases
from services.trainer.checkpoints import get_checkpoint, list_checkpoints
from services.trainer.metrics_log import read_metrics
from services.trainer.run_settings import LEAST_COMPARED
from services.trainer.starting import check_dataset, plan
from services.trainer.training.originality import SampleOriginality, of_samples
from services.trainer.training.process import TrainingProcess
from services.trainer.volume import Volume
from services.trainer.withholding import withheld
from tests.unit.generator.fakes import END, codec
from tests.unit.tokens.brute_force import make_index
from tests.unit.trainer.tiny import SETTINGS, TEXTS, make_run, write_tiny_dataset

CODEC = codec()  # a token is a byte
POST = "The river was high that day, and the ferry lay idle at the quay."
INDEX = make_index([list(POST.encode())], end=END)
LEARNED = SETTINGS | {
    "steps": 240,
    "batch_size": 8,
    "context": 32,
    "learning_rate": 2e-2,
    "dropout": 0.0,
    "patience": 0,
    "validate_every": 40,
    "save_every": 40,
    "keep": 9,
    "sample_every": 40,
    "sample_length": 40,
    "sample_num": 2,
    "sample_temperatures": (0.5,),
}


def train(data: Path, run: str) -> Path:
    """Train a run to its end; return its folder."""
    assert TrainingProcess(Volume(data), run, started=time.monotonic()).run(Event())
    return data / "checkpoint" / run


def measured(folder: Path) -> list[dict[str, Any]]:
    return [line for line in read_metrics(folder / "metrics.jsonl") if "verbatim_share" in line]


def told(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def forget_index(data: Path) -> None:
    """Make the dataset one of an earlier version."""
    folder = data / "datasets" / "tiny"
    (folder / "suffixes.npy").unlink()
    manifest = read_json(folder / "manifest.json")
    del manifest["files"]["suffixes.npy"]
    write_json(folder / "manifest.json", manifest)


def test_each_sample_weighs_by_its_tokens() -> None:
    planted, own = "the ferry lay idle", "Quite another thing, wholly unlike it. " * 3
    found = of_samples([("", planted), ("", own), ("", "")], CODEC, INDEX)
    assert found is not None
    assert found.verbatim_share == pytest.approx(len(planted) / (len(planted) + len(own)))
    assert found.longest_run_tokens == len(planted)
    first, second, third = found.samples
    assert first == SampleOriginality(1.0, len(planted))
    assert second is not None and second.verbatim_share == 0.0 and 0 < second.longest_run_tokens < MIN_RUN_TOKENS
    assert third is None


def test_samples_without_new_text_are_not_measured() -> None:
    assert of_samples([("", ""), (POST, "")], CODEC, INDEX) is None


def test_a_prompt_that_began_a_header_takes_the_fields_names_with_it() -> None:
    index = make_index([list(b"title: Ferry\ntags: water\n\nIt lay idle.")], end=END)
    found = of_samples([("title: Fer", "ry\ntags: water\n\n"), (POST, " lay idle")], CODEC, index)
    assert found is not None
    assert [sample.longest_run_tokens for sample in found.samples if sample] == [len("ry" + "water"), len(" lay idle")]


def test_the_shortest_sample_that_can_be_compared_holds_one_run() -> None:
    assert LEAST_COMPARED == MIN_RUN_TOKENS


def test_only_samples_that_recite_withhold_a_checkpoint(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path)
    by_both = make_run(tmp_path, "both", LEARNED | {"publish": "on_best_original", "max_verbatim_share": 0.25}).settings
    by_loss = make_run(tmp_path, "loss", LEARNED | {"publish": "on_best"}).settings

    def share(value: float) -> dict[str, Any]:
        return {"step": 40, "verbatim_share": value, "longest_run_tokens": 50}

    assert withheld(by_both, share(0.25)) == withheld(by_loss, share(1.0)) == withheld(by_loss, None) == ""
    assert "26.0% of the samples of step 40" in withheld(by_both, share(0.26))
    assert "no samples" in withheld(by_both, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with the run `learned`, which was trained until it knew its posts by heart.

    Each post is there twice, so that it knows those that are held out as well: its last steps are the best.
    """
    data = tmp_path_factory.mktemp("data")
    write_tiny_dataset(data, texts=TEXTS[:6] * 2)
    make_run(data, "learned", LEARNED | {"publish": "on_best_original"})
    train(data, "learned")
    return data


def test_the_share_of_a_run_that_learns_its_posts_by_heart_grows_and_is_told_everywhere(data: Path) -> None:
    folder = data / "checkpoint" / "learned"
    lines = measured(folder)
    shares = [line["verbatim_share"] for line in lines]
    assert [line["step"] for line in lines] == [40, 80, 120, 160, 200, 240]
    assert shares[0] < 0.3 < shares[-1] <= 1.0
    assert lines[-1]["longest_run_tokens"] > lines[0]["longest_run_tokens"]

    assert [line["verbatim_share"] for line in told(folder, "originality")] == shares
    accumulator = EventAccumulator(str(folder), purge_orphaned_data=False)
    accumulator.Reload()
    drawn = [(event.step, event.value) for event in accumulator.Scalars("verbatim_share")]
    assert drawn == [(line["step"], pytest.approx(line["verbatim_share"])) for line in lines]
    of_each = [sample and sample["verbatim_share"] for line in lines for sample in line["samples"]]
    assert [line.get("verbatim_share") for line in told(folder, "sample")] == of_each
    for line, checkpoint in zip(lines, list_checkpoints(folder), strict=True):
        assert checkpoint.originality == {name: line[name] for name in ("step", "verbatim_share", "longest_run_tokens")}


def test_a_best_step_that_recites_is_told_to_be_withheld(data: Path) -> None:
    folder = data / "checkpoint" / "learned"
    bests = [line["step"] for line in read_metrics(folder / "metrics.jsonl") if line.get("best")]
    reciting = [line["step"] for line in measured(folder) if line["verbatim_share"] > 0.1]
    notes = [line["step"] for line in told(folder, "event") if "is not published by itself" in line["message"]]
    assert notes == [step for step in bests if step in reciting] != []


def test_measuring_changes_nothing_of_the_run_and_without_an_index_it_is_said_why_not(
    data: Path, tmp_path: Path
) -> None:
    write_tiny_dataset(tmp_path, texts=TEXTS[:6] * 2)
    forget_index(tmp_path)
    make_run(tmp_path, "old", LEARNED)
    folder = train(tmp_path, "old")
    assert measured(folder) == [] and get_checkpoint(folder, 240).originality is None
    assert sum("has no index" in line["message"] for line in told(folder, "event")) == 1
    weights = [
        path / "step-240" / "model-240.data-00000-of-00001" for path in (folder, data / "checkpoint" / "learned")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    samples = [of / "samples-240" for of in (tmp_path / "samples" / "old", data / "samples" / "learned")]
    assert samples[0].read_text() == samples[1].read_text()
    moments = [np.load(path.parent / "optimizer.npz") for path in weights]
    assert all(np.array_equal(moments[0][name], moments[1][name]) for name in moments[0].files)


def test_without_an_index_nothing_is_published_by_it_and_the_remedy_is_named(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path)
    choices = LEARNED | {"publish": "on_best_original", "dataset": "tiny"}
    record = make_run(tmp_path, "begun", choices)
    forget_index(tmp_path)
    volume = Volume(tmp_path)
    for begin in (
        lambda: plan(volume, Bases(volume.bases), choices),
        lambda: check_dataset(volume, record),
        lambda: train(tmp_path, "begun"),
    ):
        with pytest.raises(FailedPrecondition, match="build it again") as caught:
            begin()
        assert caught.value.reason == "NO_INDEX"
    assert plan(volume, Bases(volume.bases), choices | {"publish": "on_best"}).settings.publish == "on_best"

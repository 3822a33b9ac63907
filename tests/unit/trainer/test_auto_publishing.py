"""What a run publishes by itself, and which versions stay."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Corrupt, FailedPrecondition, NotFound
from services.common.files import read_json, sha256_files, write_json
from services.tokens.dataset import Dataset
from services.tokens.index_files import INDEX_FOLDER
from services.trainer.auto_publishing import AutoPublisher, bests, publish
from services.trainer.outcome import TURNED, Outcome, write_outcome
from services.trainer.publishing import Models
from services.trainer.run_record import RunRecord
from services.trainer.runs import Runs
from services.trainer.volume import Volume
from tests.unit.trainer.made import make_checkpoint
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset


class House:
    """A volume with the run `a`."""

    def __init__(self, data: Path, **settings: Any) -> None:
        write_tiny_dataset(data)
        make_run(data, "a", SETTINGS | settings)
        self.data, self.volume = data, Volume(data)
        self.models = Models(self.volume.models)
        self.runs = Runs(self.volume)
        self.runs.load()

    @property
    def run(self) -> RunRecord:
        return self.runs.get("a")

    def publisher(self) -> AutoPublisher:
        """One of a service that has just begun."""
        return AutoPublisher(self.volume, self.runs, self.models)

    def versions(self) -> list[tuple[int, int]]:
        """Number and step of each version, newest first."""
        try:
            return [(version.version, version.manifest["step"]) for version in self.models.versions("a")]
        except NotFound:
            return []


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, publish="on_best", keep_versions=2)


def test_each_checkpoint_below_all_before_is_a_best(tmp_path: Path) -> None:
    losses = {2: 5.0, 4: None, 6: 5.0, 8: 4.0, 10: 4.5, 12: 3.0}
    checkpoints = [make_checkpoint(tmp_path, "a", step, loss) for step, loss in losses.items()]
    assert [(checkpoint.step, loss) for checkpoint, loss in bests(checkpoints, math.inf)] == [(2, 5), (8, 4), (12, 3)]
    assert [(checkpoint.step, loss) for checkpoint, loss in bests(checkpoints, 4.0)] == [(12, 3)]
    assert bests(checkpoints, 3.0) == []


def test_bests_are_published_as_they_come_and_never_twice(house: House) -> None:
    publisher = house.publisher()
    publisher.catch_up(house.run)
    assert house.versions() == []
    make_checkpoint(house.data, "a", 2, 5.0)
    publisher.catch_up(house.run)
    make_checkpoint(house.data, "a", 4, 6.0)
    publisher.catch_up(house.run)
    assert house.versions() == [(1, 2)]
    make_checkpoint(house.data, "a", 6, 4.0)
    house.publisher().catch_up(house.run)  # after a restart
    house.publisher().at_end(house.run)
    assert house.versions() == [(2, 6), (1, 2)]


def test_of_the_bests_those_are_published_whose_samples_recite_little(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    house = House(tmp_path, publish="on_best_original", max_verbatim_share=0.2, keep_versions=9, sample_length=40)
    publisher = house.publisher()
    for step, loss, share in (
        *((2, 6.0, None), (4, 5.0, 0.0), (6, 5.5, 0.0), (8, 4.0, 0.2), (10, 3.5, 0.21)),
        *((12, 3.8, 0.0), (14, 3.0, 0.1)),  # 12 is below what was published, and not below 10
    ):
        make_checkpoint(tmp_path, "a", step, loss, share=share)
        publisher.catch_up(house.run)
        house.publisher().catch_up(house.run)  # after a restart
    house.publisher().at_end(house.run)
    assert house.versions() == [(3, 14), (2, 8), (1, 4)]
    shares = [version.manifest["verbatim_share"] for version in house.models.versions("a")]
    assert shares == [0.1, 0.2, 0.0]
    told = [record.getMessage() for record in caplog.records if "not published" in record.getMessage()]
    assert [message.split(":")[1].strip() for message in told] == [
        "step 2 is not published",
        "step 10 is not published",
    ]


def test_weights_whose_samples_a_stop_cut_short_wait_for_them(tmp_path: Path) -> None:
    house = House(tmp_path, publish="on_best_original", sample_length=40)
    cut = make_checkpoint(tmp_path, "a", 2, 5.0, share=0.0, left_out=("sample",))
    house.publisher().catch_up(house.run)
    assert house.versions() == []
    shutil.rmtree(cut.folder)  # as the resumed run states it anew
    make_checkpoint(tmp_path, "a", 2, 5.0, share=0.05)
    house.publisher().catch_up(house.run)
    assert house.versions() == [(1, 2)]


def test_weights_that_were_never_measured_are_not_published(house: House) -> None:
    make_checkpoint(house.data, "a", 2, 5.0)
    make_checkpoint(house.data, "a", 5, 4.0, validated_at=4)  # that of step 4 was not saved
    house.publisher().catch_up(house.run)
    assert house.versions() == [(1, 2)]


def test_a_run_that_went_back_before_its_best_publishes_the_better_ones_of_the_same_steps(house: House) -> None:
    went = [make_checkpoint(house.data, "a", step, 10.0 - step) for step in (2, 4, 6)]
    house.publisher().catch_up(house.run)
    for damaged in went[1:]:
        shutil.rmtree(damaged.folder)
    make_checkpoint(house.data, "a", 4, 5.0)
    house.publisher().catch_up(house.run)
    assert house.versions()[0] == (3, 6)
    make_checkpoint(house.data, "a", 6, 3.0, name="other weights")
    house.publisher().catch_up(house.run)
    assert house.versions()[0] == (4, 6)


def test_a_service_that_died_before_its_note_does_not_publish_again(house: House) -> None:
    make_checkpoint(house.data, "a", 2, 5.0)
    house.publisher().catch_up(house.run)
    (house.data / "checkpoint" / "a" / "published.json").unlink()
    house.publisher().catch_up(house.run)
    assert house.versions() == [(1, 2)]


def test_a_version_that_was_taken_back_does_not_return(house: House) -> None:
    make_checkpoint(house.data, "a", 2, 5.0)
    make_checkpoint(house.data, "a", 4, 4.0)
    house.publisher().catch_up(house.run)
    house.models.rollback("a")
    house.publisher().catch_up(house.run)
    assert house.versions() == [(1, 2)]


def test_old_unmarked_versions_go_and_numbers_are_not_used_again(house: House) -> None:
    for step in range(2, 12, 2):
        make_checkpoint(house.data, "a", step, 10.0 - step)
        house.publisher().catch_up(house.run)
        if step == 4:
            house.models.mark("a", 1, True)
    assert house.versions() == [(5, 10), (4, 8), (1, 2)]
    house.models.mark("a", 1, False)
    make_checkpoint(house.data, "a", 12, -2.0)
    _, deleted = publish(house.volume, house.models, house.run, make_checkpoint(house.data, "a", 14, -3.0), name="a")
    assert deleted == [1, 4]
    assert house.versions() == [(6, 14), (5, 10)]


def test_marks_are_told_and_go_with_no_version_that_is_not_there(house: House) -> None:
    make_checkpoint(house.data, "a", 2, 5.0)
    house.publisher().catch_up(house.run)
    assert house.models.mark("a", 1, True).marked
    assert Models(house.volume.models).versions("a")[0].marked
    for name, number in (("a", 2), ("nobody", 1)):
        with pytest.raises(NotFound):
            house.models.mark(name, number, True)


def test_with_damaged_marks_nothing_is_deleted(house: House) -> None:
    for step in (2, 4, 6):
        make_checkpoint(house.data, "a", step, 10.0 - step)
    (house.data / "models").mkdir(exist_ok=True)
    (house.data / "models" / ".marks.json").write_text("[]")
    with pytest.raises(Corrupt, match=r"\.marks\.json"):
        house.publisher().catch_up(house.run)


def test_a_damaged_best_is_named_and_one_that_was_superseded_is_passed_over(house: House) -> None:
    bad = make_checkpoint(house.data, "a", 2, 5.0)
    (bad.folder / "model-2.index").write_text("x")
    with pytest.raises(Corrupt, match=r"step-2/model-2\.index"):
        house.publisher().catch_up(house.run)
    shutil.rmtree(bad.folder)
    make_checkpoint(house.data, "a", 4, 4.0)
    house.publisher().catch_up(house.run)
    assert house.versions() == [(1, 4)]


def test_a_run_is_published_when_its_dataset_is_gone(house: House) -> None:
    shutil.rmtree(house.data / "datasets")
    make_checkpoint(house.data, "a", 2, 5.0)
    house.publisher().at_end(house.run)
    version = house.models.get("a", None)
    assert (version.manifest["dataset"], version.manifest["corpus"]) == ("tiny", "blog")


def _flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-8] + bytes(byte ^ 0xFF for byte in content[-8:]))


def _replace(dataset: Path) -> None:
    shutil.rmtree(dataset)
    write_tiny_dataset(dataset.parents[1], texts=["quite another corpus " * 9] * 5)


def _replace_with_vocabulary(dataset: Path) -> None:
    shutil.rmtree(dataset)
    write_tiny_dataset(dataset.parents[1], texts=["quite another corpus " * 9] * 5, end_of_text_first=True)


SPOILS = {
    "suffixes damaged": lambda dataset: _flip(dataset / "suffixes.npy"),
    "suffixes gone": lambda dataset: (dataset / "suffixes.npy").unlink(),
    "tokens damaged": lambda dataset: _flip(dataset / "tokens.npy"),
    "tokens cut": lambda dataset: (dataset / "tokens.npy").write_bytes(b""),
    "posts gone": lambda dataset: (dataset / "posts.json").unlink(),
    "posts cut": lambda dataset: (dataset / "posts.json").write_text("["),
    "another corpus": _replace,
    "another vocabulary": _replace_with_vocabulary,
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_a_run_whose_dataset_is_not_what_it_was_is_published_without_an_index(
    house: House, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(house.data / "datasets" / "tiny")
    rows: list[object] = []
    house.models = Models(house.volume.models, lambda folder, held_out: rows.append(held_out))
    make_checkpoint(house.data, "a", 2, 5.0)
    house.publisher().at_end(house.run)
    version = house.models.get("a", None)
    assert not (version.folder / INDEX_FOLDER).exists()
    assert not any(name.startswith(INDEX_FOLDER) for name in version.manifest["files"])
    assert rows == [None]
    assert "it goes without a corpus index" in caplog.text


def test_a_dataset_that_is_damaged_while_it_is_copied_holds_up_no_version(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Dataset, "verify", lambda self: _flip(self.folder / "posts.json"))  # as if after the look
    make_checkpoint(house.data, "a", 2, 5.0)
    house.publisher().at_end(house.run)
    assert not (house.models.get("a", None).folder / INDEX_FOLDER).exists()
    assert "model a: version 1 goes without a corpus index" in caplog.text and "posts.json" in caplog.text


def test_a_run_is_published_with_the_index_of_its_dataset(house: House) -> None:
    make_checkpoint(house.data, "a", 2, 5.0)
    house.publisher().at_end(house.run)
    folder = house.models.get("a", None).folder / INDEX_FOLDER
    for name in ("tokens.npy", "documents.npy", "posts.json", "suffixes.npy"):
        assert (folder / name).read_bytes() == (house.data / "datasets" / "tiny" / name).read_bytes()


def test_a_dataset_that_was_built_again_and_now_tells_the_style_is_the_same(house: House) -> None:
    folder = house.data / "datasets" / "tiny"
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "style.json", {})
    write_json(folder / "manifest.json", manifest | {"files": sha256_files(folder)})
    make_checkpoint(house.data, "a", 2, 5.0)
    house.publisher().at_end(house.run)
    assert (house.models.get("a", None).folder / INDEX_FOLDER / "style.json").exists()


@pytest.mark.parametrize(
    ("reason", "published"),
    [("its last step, 6, is done", 6), ("it has trained for 1.0 minutes", 6), (f"{TURNED}: 2 validations", 4)],
)
def test_at_the_end_the_last_is_published_or_the_best_where_validation_ended_it(
    tmp_path: Path, reason: str, published: int
) -> None:
    house = House(tmp_path, publish="at_end")
    for step, loss in ((2, 5.0), (4, 3.0), (6, 4.0)):
        make_checkpoint(tmp_path, "a", step, loss)
    write_outcome(house.runs.folder("a"), Outcome(ended_because=reason))
    for _ in range(2):
        house.publisher().at_end(house.run)
    assert house.versions() == [(1, published)]


def test_a_best_that_is_refused_for_ever_does_not_hold_up_the_next(house: House, caplog) -> None:
    refused = FailedPrecondition("too far off", reason="ENGINE_INEXACT")
    tried = []

    def convert(folder: Path, rows: object) -> None:
        tried.append(folder)
        if len(tried) == 1:
            raise refused

    house.models = Models(house.volume.models, convert)
    publisher = house.publisher()
    make_checkpoint(house.data, "a", 2, 5.0)
    make_checkpoint(house.data, "a", 4, 4.0)
    publisher.catch_up(house.run)
    publisher.catch_up(house.run)
    assert [step for _, step in house.versions()] == [4]
    assert len(tried) == 2
    assert "step 2 is not published: too far off" in caplog.text

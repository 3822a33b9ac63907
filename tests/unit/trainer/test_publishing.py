"""A version is what its run learned with, or there is no version."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import Corrupt, FailedPrecondition, InvalidRequest, NotFound
from services.common.files import read_json, sha256_files, write_json
from services.litert.engine_file import FORMAT
from services.litert.stored import ENGINE, REPORT, weights_digest
from services.trainer.checkpoints import Checkpoint, get_checkpoint
from services.trainer.converting import Convert
from services.trainer.publishing import Models
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset, write_vocabulary


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """A checkpoint of a run; publishing copies weights without reading them."""
    write_tiny_dataset(tmp_path)
    make_run(tmp_path, "run", SETTINGS)
    folder = tmp_path / "checkpoint" / "run" / "step-2"
    folder.mkdir()
    for name in ("model-2.index", "model-2.data-00000-of-00001"):
        (folder / name).write_text(name)
    facts = {"created_at": "2020-01-01T00:00:00+00:00", "validation": None, "files": sha256_files(folder)}
    write_json(folder / "manifest.json", facts)
    return get_checkpoint(folder.parent, 2)


def publish(data: Path, checkpoint: Checkpoint, convert: Convert | None = None) -> Models:
    models, dataset = (
        Models(data / "models", convert),
        write_tiny_dataset(data, f"again-{len(list(data.glob('datasets/*')))}"),
    )
    models.publish_checkpoint("voice", checkpoint, dataset=dataset.manifest)
    return models


def test_vocabulary_that_is_not_the_one_trained_with_is_not_published(tmp_path: Path, checkpoint: Checkpoint) -> None:
    assert [version.version for version in publish(tmp_path, checkpoint).versions("voice")] == [1]
    write_vocabulary(tmp_path / "checkpoint" / "run", end_of_text_first=True)
    with pytest.raises(Corrupt, match=r"run/encoder\.json"):
        publish(tmp_path, checkpoint)
    assert [path.name for path in (tmp_path / "models" / "voice").iterdir()] == ["1"]


def test_damaged_vocabulary_is_named_by_its_place_in_the_run(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "checkpoint" / "run" / "encoder.json"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(Corrupt, match=r"checkpoint/run/encoder\.json"):
        publish(tmp_path, checkpoint)


def test_version_with_a_manifest_that_is_none_is_left_out_of_lists(tmp_path: Path, checkpoint: Checkpoint) -> None:
    models = publish(tmp_path, checkpoint)
    for number, content in (("7", "[]"), ("8", '{"files": {}}')):
        (tmp_path / "models" / "voice" / number).mkdir()
        (tmp_path / "models" / "voice" / number / "manifest.json").write_text(content)
    assert [[version.version for version in versions] for versions in models.all()] == [[1]]


@pytest.fixture
def three(tmp_path: Path, checkpoint: Checkpoint) -> Models:
    """Versions 1, 2 and 3 of `voice`."""
    for _ in range(3):
        models = publish(tmp_path, checkpoint)
    return models


def _aliases(models: Models) -> dict[int, tuple[str, ...]]:
    return {version.version: version.aliases for version in models.versions("voice")}


def test_an_alias_means_one_version_and_moves_in_one_step(three: Models, tmp_path: Path) -> None:
    three.set_alias("voice", "stable", 2)
    three.set_alias("voice", "old", 1)
    assert _aliases(three) == {3: (), 2: ("stable",), 1: ("old",)}

    moved = three.set_alias("voice", "stable", 1)

    assert moved is not None and (moved.version, moved.aliases) == (1, ("old", "stable"))
    assert three.set_alias("voice", "old", None) is None
    assert read_json(tmp_path / "models" / "voice" / ".aliases.json") == {"stable": 1}


def test_what_an_alias_means_is_kept_and_goes_with_its_version(three: Models) -> None:
    three.set_alias("voice", "stable", 1)
    assert three.prune("voice", 1) == [2]

    three.delete("voice", 1)

    assert _aliases(three) == {3: ()}


def test_a_rollback_takes_the_aliases_along(three: Models) -> None:
    three.set_alias("voice", "stable", 3)

    assert three.rollback("voice").aliases == ("stable",)
    assert _aliases(three) == {2: ("stable",), 1: ()}


def test_an_alias_of_nothing_and_a_word_that_is_taken_are_refused(three: Models) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        three.set_alias("voice", "stable", 9)
    with pytest.raises(NotFound, match="no model"):
        three.set_alias("nobody", "stable", 1)
    for word in ("latest", "7"):
        with pytest.raises(InvalidRequest) as refusal:
            three.set_alias("voice", word, 1)
        assert refusal.value.field == "alias"
    assert _aliases(three) == {3: (), 2: (), 1: ()}


def test_what_the_conversion_writes_is_part_of_the_version(tmp_path: Path, checkpoint: Checkpoint) -> None:
    models = publish(tmp_path, checkpoint, lambda folder, rows: folder.joinpath("engine.litert").write_text("made"))
    (version,) = models.versions("voice")
    assert "engine.litert" in version.manifest["files"]


def test_the_same_weights_are_converted_once(tmp_path: Path, checkpoint: Checkpoint) -> None:
    converted = []

    def convert(folder: Path, rows: object) -> None:
        converted.append(folder)
        (folder / ENGINE).write_text("made")
        digest = weights_digest(sha256_files(folder))
        write_json(folder / REPORT, {"format": FORMAT, "weights": digest, "precision": "int8"})

    publish(tmp_path, checkpoint, convert)
    models = publish(tmp_path, checkpoint, convert)
    assert len(converted) == 1
    assert [(version.folder / ENGINE).read_text() for version in models.versions("voice")] == ["made", "made"]


def test_a_model_is_not_deleted_while_a_version_of_it_is_being_published(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    publish(tmp_path, checkpoint)
    refused = []

    def convert(folder: Path, rows: object) -> None:
        with pytest.raises(FailedPrecondition, match="being published") as error:
            models.delete("voice", None)
        refused.append(error.value.reason)

    models = Models(tmp_path / "models", convert)
    models.publish_checkpoint("voice", checkpoint, dataset=write_tiny_dataset(tmp_path, "other").manifest)
    assert refused == ["PUBLISHING"]
    assert [version.version for version in models.versions("voice")] == [2, 1]
    models.delete("voice", None)
    assert models.all() == []

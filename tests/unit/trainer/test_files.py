"""Metrics, events, samples and checkpoints as files, whole or cut short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Corrupt, InvalidRequest, NotFound
from services.common.files import remove_folder, sha256_files, write_json
from services.trainer import checkpoints
from services.trainer.checkpoints import (
    Checkpoint,
    best,
    get_checkpoint,
    list_checkpoints,
    newest_sound,
    superfluous,
)
from services.trainer.events import EventLog
from services.trainer.metrics_log import (
    MetricsLog,
    Newest,
    newest_lines,
    of_sample,
    originality_by_step,
    read_metrics,
)
from services.trainer.outcome import explain
from services.trainer.samples import read_samples, steps_with_samples, write_samples
from tests.unit.trainer.made import make_checkpoint


def test_metrics_keep_full_precision_and_lose_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, after_step=0) as log:
        for step in range(1, 6):
            log.append({"step": step, "loss": 1 / 3 + step})
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # cut short by a kill
    with MetricsLog(path, after_step=3) as log:
        log.append({"step": 4, "loss": 0.5})
    assert list(read_metrics(path)) == [{"step": n, "loss": 1 / 3 + n} for n in (1, 2, 3)] + [{"step": 4, "loss": 0.5}]


def test_newest_lines_and_the_best_validation_are_found_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert newest_lines(path) == Newest()
    with MetricsLog(path, after_step=0) as log:
        assert newest_lines(path) == Newest()
        best = {"step": 1, "validation_loss": 3.0, "best": True}
        log.append(best)
        assert newest_lines(path) == Newest(None, best, best)
        for step in range(2, 5000):
            log.append({"step": step, "loss": 1.0, "padding": "x" * 100})  # half a mebibyte
        found = newest_lines(path)
        assert found.step is not None and found.step["step"] == 4999
        assert found.validation == found.best_validation == best
        log.append({"step": 4999, "validation_loss": 3.0})
    with path.open("a") as file:
        file.write('{"step": 5000, "validation_loss": 1')  # cut short by a kill
    found = newest_lines(path)
    assert found.step is not None and found.step["loss"] == 1.0 and found.step["step"] == 4999
    assert found.validation == {"step": 4999, "validation_loss": 3.0}
    assert found.best_validation == best


def test_what_samples_recite_is_found_from_the_end_and_by_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "verbatim_share": step / 10, "samples": [{"verbatim_share": 0.5}, None]} for step in (1, 2)]
    with MetricsLog(path, after_step=0) as log:
        log.append({"step": 1, "loss": 2.0})
        log.append(lines[0])
        assert newest_lines(path) == Newest({"step": 1, "loss": 2.0}, originality=lines[0])
        log.append({"step": 2, "loss": 1.0})
        log.append({"step": 2, "validation_loss": 3.0})
        log.append(lines[1])
    found = newest_lines(path)
    assert (found.step, found.originality) == ({"step": 2, "loss": 1.0}, lines[1])
    assert originality_by_step(path) == {1: lines[0], 2: lines[1]}
    assert of_sample(lines[0], 1) == {"verbatim_share": 0.5}
    assert of_sample(lines[0], 2) == of_sample(lines[0], 3) == of_sample(None, 1) == {}
    assert originality_by_step(tmp_path / "none") == {}


@pytest.mark.parametrize("left_out", [(), ("sample",), ("validation", "sample")])
def test_what_a_stop_cut_short_is_dropped_before_it_is_made_again(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    path = tmp_path / "metrics.jsonl"
    step = [{"step": 4, "loss": 1.0}, {"step": 4, "validation_loss": 3.0}, {"step": 4, "verbatim_share": 0.5}]
    with MetricsLog(path, after_step=0) as log:
        for line in ({"step": 2, "verbatim_share": 0.1}, *step, {"step": 5, "loss": 0.5}):
            log.append(line)
    with MetricsLog(path, after_step=4, left_out=left_out):
        pass
    assert list(read_metrics(path)) == [{"step": 2, "verbatim_share": 0.1}, *step[: 3 - len(left_out)]]


def test_newest_step_is_found_before_validations_of_steps_that_changed_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    validations = [{"step": step, "validation_loss": 3.0 - step} for step in range(3)]
    with MetricsLog(path, after_step=0) as log:
        log.append(validations[0])
        log.append(validations[1])
        assert newest_lines(path) == Newest(None, validations[1], None)
        log.append({"step": 1, "loss": 2.0})
        for validation in validations:
            log.append(validation)
    assert newest_lines(path) == Newest({"step": 1, "loss": 2.0}, validations[2], None)


@pytest.mark.parametrize("line", [b'{"step": 1, "lo\n', b"\0\0\n", b"3\n", b"\xff\n"])
def test_damaged_line_of_a_log_is_named_by_its_file(tmp_path: Path, line: bytes) -> None:
    for name in ("metrics.jsonl", "events.jsonl"):
        (tmp_path / name).write_bytes(line)
    with pytest.raises(Corrupt, match=r"metrics\.jsonl"):
        list(read_metrics(tmp_path / "metrics.jsonl"))
    with pytest.raises(Corrupt, match=r"metrics\.jsonl"):
        newest_lines(tmp_path / "metrics.jsonl")
    with pytest.raises(Corrupt, match=r"events\.jsonl"):
        list(EventLog(tmp_path).read(0))


def test_events_are_read_from_any_line_on_and_a_torn_one_is_dropped(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    assert list(log.read(0)) == []
    for step in range(3):
        log.append("event", step=step, message="é" * step)
    cursors = [cursor for cursor, _ in log.read(0)]
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"kind": "ev' + b"x" * 5000)
    assert [line["step"] for _, line in log.read(cursors[0])] == [1, 2]
    log.repair()
    log.append("event", step=3, message="")
    assert [line["step"] for _, line in log.read(cursors[2])] == [3]
    for wrong in (-1, 1, cursors[0] + 1, 10**9):
        with pytest.raises(InvalidRequest, match="not a cursor"):
            list(log.read(wrong))


def test_samples_come_back_as_written_whatever_they_hold(tmp_path: Path) -> None:
    texts = ["one", "", "with\n\nlines\n", "======== SAMPLE 3 ========\nnot a header", "日本", "\n"]
    write_samples(tmp_path / "run", 10, texts)
    assert [sample.text for sample in read_samples(tmp_path / "run", 10)] == texts
    assert (tmp_path / "run" / "samples-10").read_text().startswith("======== SAMPLE 1 ========\none\n\n========")
    write_samples(tmp_path / "run", 9, ["x"])
    assert steps_with_samples(tmp_path / "run") == [9, 10]
    assert read_samples(tmp_path / "run", 11) == [] and steps_with_samples(tmp_path / "none") == []


def write_checkpoint(run: Path, step: int, loss: float | None = None) -> Path:
    folder = run / f"step-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(str(step))
    validation: dict[str, Any] | None = loss and {"step": step, "loss": loss, "bits_per_byte": 1.0}  # type: ignore[assignment]
    manifest = {
        "created_at": "2020-01-01T00:00:00+00:00",
        "validation": validation,
        "files": sha256_files(folder),
    }
    write_json(folder / "manifest.json", manifest)
    return folder


def test_newest_sound_checkpoint_passes_over_damaged_ones_and_names_their_files(tmp_path: Path) -> None:
    assert newest_sound(tmp_path) == (None, [])
    for step in (2, 10, 9):
        write_checkpoint(tmp_path, step)
    (tmp_path / "step-10" / "weights").write_text("other")
    (tmp_path / "step-9" / "manifest.json").write_text("{")
    found, damage = newest_sound(tmp_path)
    assert found is not None and found.step == 2
    assert [error.metadata["file"] for error in damage] == [
        str(tmp_path / "step-10" / "weights"),
        str(tmp_path / "step-9" / "manifest.json"),
    ]
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [2, 10]
    with pytest.raises(NotFound, match=r"no checkpoint of step 3; it has 2, 10"):
        get_checkpoint(tmp_path, 3)
    with pytest.raises(Corrupt, match=r"step-9/manifest\.json"):
        get_checkpoint(tmp_path, 9)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"files": [], "created_at": "", "validation": null}', '{"files": {}}']
)
def test_manifest_that_is_json_but_no_manifest_is_damaged_by_name(tmp_path: Path, content: str) -> None:
    write_checkpoint(tmp_path, 2)
    (write_checkpoint(tmp_path, 3) / "manifest.json").write_text(content)
    with pytest.raises(Corrupt, match=r"step-3/manifest\.json"):
        get_checkpoint(tmp_path, 3)
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [2]


def test_checkpoint_that_goes_while_it_is_listed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, step)
    before = checkpoints._steps(tmp_path)
    (kept,) = list_checkpoints(tmp_path)[1:]
    remove_folder(tmp_path / "step-1")
    monkeypatch.setattr(checkpoints, "_steps", lambda run_folder: before)  # as they were a moment ago
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [2]
    assert kept.size_bytes > 0
    remove_folder(kept.folder)
    assert kept.size_bytes == 0


def test_the_newest_and_the_best_checkpoint_are_kept(tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, None), (5, 4.0)):
        write_checkpoint(tmp_path, step, loss)

    def steps(checkpoints: list[Checkpoint]) -> list[int]:
        return [checkpoint.step for checkpoint in checkpoints]

    assert steps(superfluous(list_checkpoints(tmp_path), keep=2)) == [1, 3]
    assert steps(superfluous(list_checkpoints(tmp_path), keep=1)) == [1, 3, 4]
    assert superfluous(list_checkpoints(tmp_path), keep=9) == []


def test_the_best_is_one_whose_own_weights_were_measured(tmp_path: Path) -> None:
    assert best([]) is None
    found = [make_checkpoint(tmp_path, "a", 5, 1.0, validated_at=4)]
    assert best(found) is None
    found += [make_checkpoint(tmp_path, "a", 8, 0.0), make_checkpoint(tmp_path, "a", 10, 0.0)]
    chosen = best(found)
    assert chosen is not None and chosen.step == 8


def test_end_of_a_training_process_is_explained(tmp_path: Path) -> None:
    assert "SIGKILL" in explain(-9, tmp_path, out_of_memory=False)
    assert "out of memory" in explain(-9, tmp_path, out_of_memory=True)
    (tmp_path / "log.txt").write_text("one\nIllegal instruction\n")
    assert explain(-4, tmp_path, out_of_memory=False).endswith("Illegal instruction")
    assert "status 5" in explain(5, tmp_path, out_of_memory=False)
    (tmp_path / "outcome.json").write_text(json.dumps({"error": "the loss is nan"}))
    assert explain(1, tmp_path, out_of_memory=False) == "the loss is nan"

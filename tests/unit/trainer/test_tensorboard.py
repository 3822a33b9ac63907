"""A run's event files, read by TensorBoard itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from services.trainer.training.tensorboard import PATTERN, TensorBoard


def step_line(step: int) -> dict[str, float]:
    return {"step": step, "loss": 1 / step, "learning_rate": 1e-3, "seconds": 1.0, "remaining_seconds": 2.0}


def drawn(folder: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder), purge_orphaned_data=False)
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def write(folder: Path, steps: range, *, after_step: int, left_out: tuple[str, ...] = ()) -> None:
    board = TensorBoard(folder, after_step=after_step, left_out=left_out)
    for step in steps:
        board.append(step_line(step))
        if step % 2 == 0:
            board.append({"step": step, "validation_loss": 2.0 + step, "bits_per_byte": 3.0, "token_accuracy": 0.5})
    board.close()


def test_tensorboard_draws_the_tags_of_the_2019_script(tmp_path: Path) -> None:
    write(tmp_path, range(1, 5), after_step=0)
    assert drawn(tmp_path, "loss") == [(step, pytest.approx(1 / step)) for step in range(1, 5)]
    assert drawn(tmp_path, "learning_rate") == [(step, pytest.approx(1e-3)) for step in range(1, 5)]
    assert drawn(tmp_path, "val_loss") == [(2, 4.0), (4, 6.0)]
    assert drawn(tmp_path, "val_token_accuracy") == [(2, 0.5), (4, 0.5)]


def test_resumed_run_holds_each_step_once(tmp_path: Path) -> None:
    write(tmp_path, range(1, 8), after_step=0)  # killed at 7 with a checkpoint of 4
    write(tmp_path, range(5, 7), after_step=4)  # again, before the next checkpoint
    write(tmp_path, range(5, 9), after_step=4)
    assert [step for step, _ in drawn(tmp_path, "loss")] == list(range(1, 9))
    assert [step for step, _ in drawn(tmp_path, "val_loss")] == [2, 4, 6, 8]
    assert len(list(tmp_path.glob(PATTERN))) == 2  # of the second nothing is left


def test_validation_that_is_made_again_is_dropped_before(tmp_path: Path) -> None:
    write(tmp_path, range(1, 5), after_step=0)
    write(tmp_path, range(5, 6), after_step=4, left_out=("validation",))
    assert [step for step, _ in drawn(tmp_path, "loss")] == [1, 2, 3, 4, 5]
    assert [step for step, _ in drawn(tmp_path, "val_loss")] == [2]


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_record_that_a_killed_process_left_unfinished_is_cut_off(tmp_path: Path, lost: int) -> None:
    write(tmp_path, range(1, 4), after_step=0)
    [path] = tmp_path.glob(PATTERN)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - lost)
    write(tmp_path, range(4, 6), after_step=3)
    assert [step for step, _ in drawn(tmp_path, "loss")] == [1, 2, 4, 5]
    for path in tmp_path.glob(PATTERN):
        assert len(list(tf.data.TFRecordDataset(str(path)))) > 1  # whole to its end


def test_on_a_full_disk_records_wait_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = TensorBoard(tmp_path, after_step=0)
    board.append(step_line(1))
    write = tf.io.TFRecordWriter.write

    def fill_up(writer: tf.io.TFRecordWriter, record: bytes) -> None:
        write(writer, record[:3])  # some of it comes through
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(tf.io.TFRecordWriter, "write", fill_up)
        for step in (2, 3):
            board.append(step_line(step))
        with pytest.raises(OSError, match="No space left"):
            board.flush()
    board.append(step_line(4))
    board.flush()
    board.close()
    assert [step for step, _ in drawn(tmp_path, "loss")] == [1, 2, 3, 4]
    assert len(list(tmp_path.glob(PATTERN))) == 2

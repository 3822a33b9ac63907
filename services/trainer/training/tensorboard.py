"""TensorBoard's event file of a run in training: `events.out.tfevents.*`, as train.py wrote them.

In: numbers by tag and step. Out: records that `tensorboard --logdir checkpoint` draws; the tags `loss`,
`learning_rate` and `val_loss` are train.py's. A resumed run first drops every record after its checkpoint's step,
so that each step stands there once. TensorFlow's own record files and messages; TensorBoard itself is not needed.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from services.trainer.metrics_log import is_kept

PATTERN = "events.out.tfevents.*"
TAGS = {
    "loss": "loss",
    "avg": "average_loss",
    "learning_rate": "learning_rate",
    "gradient_norm": "gradient_norm",
    "epoch": "epoch",
    "tokens_per_second": "tokens_per_second",
    "mfu": "mfu",
    "memory_bytes": "memory_bytes",
    "validation_loss": "val_loss",
    "bits_per_byte": "val_bits_per_byte",
    "token_accuracy": "val_token_accuracy",
}
"""Names in metrics.jsonl and the tags they are drawn under."""


_FRAMING = 16  # bytes around a record: its length and two checksums


class TensorBoard:
    """The writer's end. Every record is flushed to the system, so that a killed process loses none."""

    def __init__(self, folder: Path, *, after_step: int, validated: bool = True) -> None:
        """Drop what earlier processes wrote after `after_step`, its validation unless `validated`; begin a file."""
        for path in folder.glob(PATTERN):
            _drop(path, after_step, validated=validated)
        name = PATTERN.replace("*", f"{int(time.time()):010d}.{platform.node() or 'localhost'}.{os.getpid()}")
        self._file = tf.io.TFRecordWriter(str(folder / name))
        self._write(tf.compat.v1.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def append(self, line: Mapping[str, Any]) -> None:
        """Draw the numbers of a line of metrics.jsonl that have a tag."""
        values = [
            tf.compat.v1.Summary.Value(tag=tag, simple_value=line[name]) for name, tag in TAGS.items() if name in line
        ]
        summary = tf.compat.v1.Summary(value=values)
        self._write(tf.compat.v1.Event(wall_time=time.time(), step=line["step"], summary=summary))

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _write(self, event: Any) -> None:
        self._file.write(event.SerializeToString())
        self._file.flush()


def _drop(path: Path, after_step: int, *, validated: bool) -> None:
    """Cut a file before its first record that a resumed run writes anew, or that a killed process left unfinished."""
    end, num_kept = 0, 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            is_validation = any(value.tag == TAGS["validation_loss"] for value in event.summary.value)
            if not is_kept(event.step, is_validation=is_validation, after_step=after_step, validated=validated):
                break
            end, num_kept = end + len(record) + _FRAMING, num_kept + 1
    except tf.errors.DataLossError:
        pass  # the last record is not whole
    if num_kept > 1:  # the first only says what the file is
        os.truncate(path, end)
    else:
        path.unlink()

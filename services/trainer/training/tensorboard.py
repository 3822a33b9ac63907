"""TensorBoard's event file of a run in training: `events.out.tfevents.*`, as train.py wrote them.

In: numbers by tag and step. Out: records that `tensorboard --logdir checkpoint` draws; the tags `loss`,
`learning_rate` and `val_loss` are train.py's. A resumed run first drops every record after its checkpoint's step,
so that each step stands there once. TensorFlow's own record files and messages; TensorBoard itself is not needed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from services.trainer.metrics_log import is_kept, kind_of

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
    "verbatim_share": "verbatim_share",
    "longest_run_tokens": "longest_run_tokens",
}
"""Names in metrics.jsonl and the tags they are drawn under."""

_NAMES = {tag: name for name, tag in TAGS.items()}
_FRAMING = 16  # bytes around a record: its length and two checksums


class TensorBoard:
    """The writer's end. Every record goes to the system at once, so that a killed process loses none.

    On a full disk records wait, and are written to another file when there is room.
    """

    def __init__(self, folder: Path, *, after_step: int, left_out: Collection[str] = ()) -> None:
        """Drop what earlier processes wrote after `after_step`, and what it has `left_out`."""
        for path in folder.glob(PATTERN):
            _drop(path, after_step, left_out)
        self._folder, self._path, self._size = folder, folder, 0
        self._file: Any = None
        self._head: list[bytes] = []
        self._waiting: list[bytes] = []

    def append(self, line: Mapping[str, Any]) -> None:
        """Draw the numbers of a line of metrics.jsonl that have a tag, or let them wait."""
        values = [
            tf.compat.v1.Summary.Value(tag=tag, simple_value=line[name]) for name, tag in TAGS.items() if name in line
        ]
        summary = tf.compat.v1.Summary(value=values)
        event = tf.compat.v1.Event(wall_time=time.time(), step=line["step"], summary=summary)
        self._waiting.append(event.SerializeToString())
        with contextlib.suppress(OSError):
            self.flush()

    def flush(self) -> None:
        """Write what waits; OSError says why not."""
        if not self._waiting:
            return
        try:
            if self._file is None:
                self._begin()
            records = [*self._head, *self._waiting]
            for record in records:
                self._file.write(record)
            self._file.flush()
        except tf.errors.OpError as error:
            self._abandon()
            raise OSError(f"{self._path} cannot be written: {error.message}") from None
        self._size += sum(len(record) + _FRAMING for record in records)
        self._head, self._waiting = [], []

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            with contextlib.suppress(tf.errors.OpError):
                self._file.close()
            self._file = None

    def _begin(self) -> None:
        """Begin a file that is not there yet; its first record says what it is."""
        begun = f"{int(time.time()):010d}.{platform.node() or 'localhost'}.{os.getpid()}"
        # Numbered, since two processes of one id may begin within a second.
        paths = (self._folder / PATTERN.replace("*", f"{begun}.{number}") for number in itertools.count())
        self._path = next(path for path in paths if not path.exists())
        self._size = 0
        self._head = [tf.compat.v1.Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString()]
        self._file = tf.io.TFRecordWriter(str(self._path))

    def _abandon(self) -> None:
        """Leave the file with the records that are whole: what is not would hide what follows."""
        self.close()
        if self._size:
            os.truncate(self._path, self._size)
        else:
            self._path.unlink(missing_ok=True)


def _drop(path: Path, after_step: int, left_out: Collection[str]) -> None:
    """Cut a file before its first record that a resumed run writes anew, or that a killed process left unfinished."""
    end, num_kept = 0, 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            kind = kind_of({_NAMES.get(value.tag, "") for value in event.summary.value})
            if not is_kept(event.step, kind, after_step=after_step, left_out=left_out):
                break
            end, num_kept = end + len(record) + _FRAMING, num_kept + 1
    except tf.errors.DataLossError:
        pass  # the last record is not whole
    if num_kept > 1:  # the first only says what the file is
        os.truncate(path, end)
    else:
        path.unlink()

"""metrics.jsonl: one line of JSON per step or validation, floats at full precision.

The training process appends; anyone reads. A resumed run first drops every line after its checkpoint's
step, so that from there on the file is the one an undisturbed run would have written.
Knows no training: a line is a dict with at least `step`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from services.common.files import write_atomic

FILE_NAME = "metrics.jsonl"
_TAIL_BYTES = 1 << 18


class MetricsLog:
    """The writer's end. Every line is flushed to the system, so that a killed process loses none."""

    def __init__(self, path: Path, *, after_step: int) -> None:
        """Open for appending, keeping only the whole lines up to `after_step`."""
        if path.exists():
            kept = [line for line in read_metrics(path) if line["step"] <= after_step]
            write_atomic(path, "".join(_encode(line) for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")

    def append(self, line: dict[str, Any]) -> None:
        """Write one line."""
        self._file.write(_encode(line))
        self._file.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _encode(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a metrics file; a last line without its newline is still being written."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def newest_lines(path: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The newest step's line and the newest validation's, without reading a long file whole.

    Each is None when there is none in the last quarter mebibyte.
    """
    if not path.exists():
        return None, None
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is still being written
    if size > _TAIL_BYTES:
        lines = lines[1:]
    step = validation = None
    for text in reversed(lines):
        line = json.loads(text)
        if "validation_loss" in line:
            validation = validation or line
        else:
            step = step or line
        if step and validation:
            break
    return step, validation

"""metrics.jsonl: one line of JSON per step or validation, floats at full precision.

The training process appends; anyone reads. A resumed run first drops every line after its checkpoint's
step, so that from there on the file is the one an undisturbed run would have written.
Knows no training: a line is a dict with at least `step`.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from services.common.files import write_atomic
from services.trainer.events import parse_line
from services.trainer.patient_file import PatientFile

FILE_NAME = "metrics.jsonl"


class MetricsLog:
    """The writer's end. Every line goes to the system at once, so that a killed process loses none."""

    def __init__(self, path: Path, *, after_step: int, validated: bool = True) -> None:
        """Open for appending, keeping only the whole lines up to `after_step`; its validation if `validated`."""
        if path.exists():
            kept = [
                line
                for line in read_metrics(path)
                if line["step"] < after_step + (validated or "validation_loss" not in line)
            ]
            write_atomic(path, "".join(_encode(line) for line in kept).encode())
        self._file = PatientFile(path)

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; on a full disk it waits for the next."""
        self._file.append(_encode(line).encode())

    def flush(self) -> None:
        """Write the lines that wait; OSError says why they cannot be written."""
        self._file.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.flush()


def _encode(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a metrics file; a last line without its newline is still being written.

    Raises:
        Corrupt: a line is damaged; names the file.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield parse_line(line, path)


def newest_lines(path: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The newest step's line and the newest validation's, found from the end; None where there is none.

    Raises:
        Corrupt: one of them is damaged; names the file.
    """
    if not path.exists() or not path.stat().st_size:
        return None, None
    # Mapped, for a run without validation is searched to its beginning. The writer only appends or replaces
    # the file, so that what is mapped stays.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1  # what follows the last newline is still being written
        step, validation = _line_before(content, end), None
        found = content.rfind(b'"validation_loss"', 0, end)
        if found >= 0:
            validation = content[content.rfind(b"\n", 0, found) + 1 : content.find(b"\n", found)]
        if step == validation and validation is not None:
            step = _line_before(content, end - len(validation) - 1)
    return tuple(parse_line(line, path) if line else None for line in (step, validation))  # type: ignore[return-value]


def _line_before(content: mmap.mmap, end: int) -> bytes | None:
    """The line that ends with the newline before `end`, without it."""
    return content[content.rfind(b"\n", 0, end - 1) + 1 : end - 1] if end > 0 else None

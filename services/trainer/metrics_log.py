"""metrics.jsonl: one line of JSON per step, validation or measured samples, floats at full precision, figures of a
clock rounded.

A validation's line with the lowest loss so far says `"best": true`. What was measured of a step's samples follows the
step's other lines, with a list of what each sample has.

The training process appends; anyone reads. It is made durable before each checkpoint: none is ahead of it.
A resumed run first drops every line after its checkpoint's step, so that from there on the file is the one an
undisturbed run would have written.
Knows no training: a line is a dict with at least `step`.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from services.common.files import write_atomic
from services.trainer.events import parse_line
from services.trainer.patient_file import PatientFile

FILE_NAME = "metrics.jsonl"
CLOCKS = ("seconds", "tokens_per_second", "mfu", "remaining_seconds", "memory_bytes")
"""What depends on the machine's mood. All else in a line is the same in a resumed run, to the last bit."""
Kind = Literal["step", "validation", "sample"]
_MARKS: dict[Kind, str] = {"validation": "validation_loss", "sample": "verbatim_share"}  # what only such lines hold
_VALIDATION, _SAMPLE = (f'"{_MARKS[kind]}"'.encode() for kind in ("validation", "sample"))
_BEST = b'"best":true'


class MetricsLog:
    """The writer's end. Every line goes to the system at once, so that a killed process loses none."""

    def __init__(self, path: Path, *, after_step: int, left_out: Collection[str] = ()) -> None:
        """Open for appending, keeping only the whole lines up to `after_step`, without what it has `left_out`."""
        if path.exists():
            kept = [
                line
                for line in read_metrics(path)
                if is_kept(line["step"], kind_of(line), after_step=after_step, left_out=left_out)
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


def kind_of(names: Collection[str]) -> Kind:
    """What a line with these names was measured on."""
    return next((kind for kind, mark in _MARKS.items() if mark in names), "step")


def is_kept(step: int, kind: Kind, *, after_step: int, left_out: Collection[str]) -> bool:
    """Whether a resumed run keeps what was measured at `step`.

    Args:
        kind: what it was measured on.
        after_step: the step that the run goes on from.
        left_out: what of that step is done again: `validation`, `sample`.
    """
    return step < after_step or (step == after_step and kind not in left_out)


def _encode(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


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


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest lines of their kinds; None where there is none."""

    step: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    best_validation: dict[str, Any] | None = None
    originality: dict[str, Any] | None = None


def newest_lines(path: Path) -> Newest:
    """The newest step's line, the newest validation's and the best one's, and that of samples, found from the end.

    Raises:
        Corrupt: one of them is damaged; names the file.
    """
    if not path.exists() or not path.stat().st_size:
        return Newest()
    # Mapped, for a run without validation is searched to its beginning. The writer only appends or replaces
    # the file, so that what is mapped stays.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1  # what follows the last newline is still being written
        # Steps that changed nothing have no line, so that several others may stand in a row.
        step, place = _line_before(content, end)
        while step and (_VALIDATION in step or _SAMPLE in step):
            step, place = _line_before(content, place)
        found = [_line_around(content, content.rfind(mark, 0, end)) for mark in (_VALIDATION, _BEST, _SAMPLE)]
    return Newest(*(parse_line(line, path) if line else None for line in (step, *found)))


def originality_by_step(path: Path) -> dict[int, dict[str, Any]]:
    """The lines of measured samples, by step.

    Raises:
        Corrupt: one of them is damaged; names the file.
    """
    if not path.exists():
        return {}
    with path.open("rb") as file:
        lines = [parse_line(line, path) for line in file if _SAMPLE in line and line.endswith(b"\n")]
    return {line["step"]: line for line in lines}


def of_sample(line: dict[str, Any] | None, index: int) -> dict[str, Any]:
    """What a step's line of measured samples holds of one of them; nothing where it was not measured.

    Args:
        index: its number within the step, from 1.
    """
    samples = line["samples"] if line else []
    return (samples[index - 1] if index <= len(samples) else None) or {}


def _line_before(content: mmap.mmap, end: int) -> tuple[bytes | None, int]:
    """The line whose newline is the byte before `end`, and where it begins; None before the first."""
    line = _line_around(content, end - 1)
    return line, end - 1 - len(line or b"")


def _line_around(content: mmap.mmap, place: int) -> bytes | None:
    """The line that holds this place, or ends with the newline there, without that; None for a place before all."""
    if place < 0:
        return None
    return content[content.rfind(b"\n", 0, place) + 1 : content.find(b"\n", place)]

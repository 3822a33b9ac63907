"""events.jsonl: a run's history, for those who watch it. Only ever appended to; a cursor is a byte offset
in it.

A line is `{"kind": ..., ...}`, where kind is `state`, `metrics`, `validation`, `sample`, `checkpoint`, or
`event` for a sentence.
One process writes at a time: the service before the training process starts and after it has ended, that one
in between. A line that a killed writer left unfinished is dropped before the next is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, InvalidRequest
from services.trainer.patient_file import PatientFile

FILE_NAME = "events.jsonl"


def now() -> str:
    """The time in UTC as files of the trainer hold it: ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def parse_line(line: bytes, path: Path) -> dict[str, Any]:
    """Read a line of a run's log; Corrupt names the file when it is not one."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise Corrupt(f"{path} holds a damaged line ({error})", metadata={"file": str(path)}) from None
    if not isinstance(value, dict):
        raise Corrupt(f"{path} holds a line that is no object", metadata={"file": str(path)})
    return value


class EventLog:
    """A run's history file.

    Args:
        patient: lines that cannot be written, as on a full disk, wait for the next one instead of raising OSError.
    """

    def __init__(self, run_folder: Path, *, patient: bool = False) -> None:
        self._path = run_folder / FILE_NAME
        self._file = PatientFile(self._path)
        self._patient = patient

    def repair(self) -> None:
        """Drop an unfinished last line. For a writer, before it begins."""
        if not self._path.exists():
            return
        with self._path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - 4096)
                file.seek(start)
                found = file.read(end - start).rfind(b"\n")
                if found >= 0:
                    file.truncate(start + found + 1)
                    return
                end = start
            file.truncate(0)

    def append(self, kind: str, **facts: Any) -> None:
        """Write one line."""
        line = json.dumps({"kind": kind, "time": now(), **facts}, ensure_ascii=False, allow_nan=False) + "\n"
        self._file.append(line.encode())
        if not self._patient:
            self._file.flush()

    def read(self, cursor: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (cursor after the line, line) for every whole line from `cursor` on.

        Raises:
            InvalidRequest: `cursor` is not where a line begins.
            Corrupt: a line is damaged; names the file.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            if cursor:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, cursor - 1))
                if not 0 < cursor <= size or file.read(1) != b"\n":
                    raise InvalidRequest(f"{cursor} is not a cursor of this run; begin with 0", field="cursor")
            while (line := file.readline()).endswith(b"\n"):
                cursor += len(line)
                yield cursor, parse_line(line, self._path)

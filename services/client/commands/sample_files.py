"""Samples in files, as the 2019 scripts wrote them: `samples-1`, `samples-2` and so on, a header line before each text.

In: texts, some at a time. Out: a file that is whole after each of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from pathlib import Path

from services.common.errors import NonesuchError
from services.common.files import write_atomic


class SampleFile:
    """A new file in a folder, under the next free number.

    Args:
        folder: made where it is not there.

    Raises:
        NonesuchError: it cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path = _new_file(folder)
        except OSError as error:
            raise NonesuchError(f"cannot write to {folder}: {error.strerror}; give another --out") from error
        self._text = ""
        self.num_samples = 0

    def add(self, texts: Iterable[str]) -> None:
        """Write more samples; raises as the class does."""
        for text in texts:
            self.num_samples += 1
            self._text += f"======== SAMPLE {self.num_samples} ========\n{text}\n"
        try:
            write_atomic(self.path, self._text.encode())
        except OSError as error:
            raise NonesuchError(f"cannot write {self.path}: {error.strerror}; make room and ask again") from error


def _new_file(folder: Path) -> Path:
    for number in count(1):
        path = folder / f"samples-{number}"
        try:
            path.open("x").close()
        except FileExistsError:
            continue
        return path
    raise AssertionError("numbers do not end")

"""A contestant in a process of its own: a line in is a turn, a JSON object out is what it came to.

The process prints an object when it is ready, one for each turn, and last, when its input ends, its `peak_gb`. What
else it prints, as libraries do, is passed over.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class ContestantProcess:
    """A contestant, ready for its first turn.

    Args:
        arguments: of Python, which runs in the repository's root.

    Raises:
        RuntimeError: it ended; so do `turn` and `end`.
    """

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self._process.args} ended with status {self._process.wait()}")

    def turn(self, words: str) -> dict[str, Any]:
        """Have it do what these words say, and return what it came to."""
        assert self._process.stdin is not None
        print(words, file=self._process.stdin, flush=True)
        return self._answer()

    def end(self) -> float:
        """Stop it, and return its peak memory in GB."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        peak = float(self._answer()["peak_gb"])
        self._process.wait()
        return peak

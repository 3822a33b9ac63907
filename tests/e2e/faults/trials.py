"""Trials: each in a folder of its own, a line about each, and what failed; and the command that runs them."""

import argparse
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from services.common.errors import NonesuchError

FAILURES = (AssertionError, NonesuchError, grpc.RpcError, OSError, sqlite3.Error, subprocess.SubprocessError)


def hold(name: str, folder: Path, trial: Callable[[Path], str]) -> list[str]:
    """Run a trial in a folder that it makes or finds empty, print what was seen, and return what failed, if it did.

    What a trial that failed left is still there.
    """
    started = time.monotonic()
    try:
        seen = trial(folder)
    except FAILURES as error:
        failure = f"{name}: {error!r}"
        print(f"FAIL {failure}; the folder is {folder}", flush=True)
        return [failure]
    print(f"ok   {name}, {time.monotonic() - started:.0f} s: {seen}", flush=True)
    shutil.rmtree(folder)
    return []


def main(description: str, run: Callable[[Path, int, int], list[str]], *, moments: int) -> int:
    """Parse the command line, run the trials, and say what came of them; 1 if one failed.

    Args:
        run: runs the trials in an empty folder, with a seed and a number of moments, and returns what failed.
        moments: how many, unless the command line says.
    """
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--moments", type=int, default=moments, help="how many kills (default %(default)s)")
    options.add_argument("--seed", type=int, default=None, help="draw the same moments again (default: new ones)")
    given = options.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="nonesuch-faults-"))
    failures = run(folder, seed, given.moments)
    if failures:
        print(f"{len(failures)} trials failed; what they left is in {folder}")
        return 1
    shutil.rmtree(folder)
    print("all held")
    return 0

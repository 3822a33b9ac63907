"""`python -m services.trainer.training DATA RUN [--parent PID] [--nice N]`: train one run; a child of the service.

Exit status: 0 the run has ended, 3 stopped and saved, 4 to be started again, 5 out of memory, 1 failed; outcome.json
in the run's folder says why. SIGTERM and SIGINT let the running step finish and save.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from threading import Event

from services.common.child import die_first, die_with
from services.trainer.outcome import (
    EXIT_AGAIN,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_OUT_OF_MEMORY,
    EXIT_STOPPED,
    LOCK_FILE,
    Outcome,
    write_outcome,
)
from services.trainer.training.console import Console

LOCK_TIMEOUT_S = 30.0  # a killed predecessor is gone in less


def main() -> int:
    """Tie this process to its service, take the run's lock, train."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m services.trainer.training")
    parser.add_argument("data", type=Path)
    parser.add_argument("run")
    parser.add_argument("--parent", type=int)
    parser.add_argument("--nice", type=int, default=0)
    arguments = parser.parse_args()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: stop.set())
    if arguments.parent and not die_with(arguments.parent):
        return EXIT_FAILED
    os.nice(arguments.nice)
    die_first()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Compiled code goes to a place that is writable in a container with a read-only root.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(arguments.data / "checkpoint" / ".numba"))
    folder = arguments.data / "checkpoint" / arguments.run

    sys.stdout = Console(1)

    with (folder / LOCK_FILE).open("w") as lock:
        if not take(lock.fileno()):
            busy = f"another process is writing run {arguments.run!r}; end it, then resume"
            write_outcome(folder, Outcome(error=busy, passing=True))
            return EXIT_FAILED
        status, outcome = train(arguments.data, arguments.run, stop, started)
        write_outcome(folder, outcome)
        return status


def train(data: Path, run: str, stop: Event, started: float) -> tuple[int, Outcome]:
    """Load TensorFlow and the run, and train it; return the exit status and what is to be said of the end."""
    import tensorflow as tf

    from services.common.errors import NonesuchError
    from services.trainer.training.going_back import StartAgain
    from services.trainer.training.process import TrainingProcess
    from services.trainer.volume import Volume

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # leave room for the generator
    try:
        process = TrainingProcess(Volume(data), run, started=started)
        if process.run(stop):
            return EXIT_DONE, Outcome(ended_because=process.ended_because)
        return EXIT_STOPPED, Outcome()
    except StartAgain as why:
        return EXIT_AGAIN, Outcome(again=str(why))
    except NonesuchError as error:
        return EXIT_FAILED, Outcome(error=error.message)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        traceback.print_exc()
        return EXIT_OUT_OF_MEMORY, Outcome(error=f"out of memory: {_first_line(error)}")
    except OSError as error:
        traceback.print_exc()
        return EXIT_FAILED, Outcome(error=f"the training process could not read or write: {error}", passing=True)
    except Exception as error:  # noqa: BLE001 - the boundary: a bug ends the run with its name
        traceback.print_exc()
        passing = isinstance(error, tf.errors.OpError)  # a device's trouble may pass; a bug stays
        words = f"the training process failed with {type(error).__name__}: {_first_line(error)}"
        return EXIT_FAILED, Outcome(error=words.removesuffix(": "), passing=passing)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def take(descriptor: int) -> bool:
    """Take the run's lock, waiting a little for a process that is ending; False when it stays taken."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())

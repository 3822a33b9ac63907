"""Conversion in a process of its own, so that no service holds TensorFlow or the weights.

In: a folder in OpenAI's layout. Out: engine.litert and its report in another, or the same. The process is __main__.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt, FailedPrecondition, Unavailable
from services.common.files import PARTIAL_PREFIX
from services.litert.stored import ENGINE, REPORT

PROGRAM = (sys.executable, "-m", "services.litert")
NICE = 10  # running streams and training go first
INEXACT = "ENGINE_INEXACT"
RETRY_AFTER_S = 30.0  # memory that was short may be there again


def convert_apart(
    folder: Path, target: Path, *, precision: str = "int8", rows: NDArray[np.int32] | None = None
) -> dict[str, Any]:
    """Convert and verify; return the report. Takes seconds to a minute.

    Args:
        target: a folder that is there already.
        rows: int32 [R, T], text to compare predictions on; None: what the model writes itself.

    Raises:
        Corrupt: the weights are damaged or hold what is no number; names the file.
        FailedPrecondition: reason ENGINE_INEXACT: the engine is too far from the weights, in float32 too.
        Unavailable: the process was killed, as for want of memory, or the disk is full. As with the others,
            nothing of it is left in `target`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = [*PROGRAM, str(folder), str(target), "--precision", precision]
        command += ["--nice", str(NICE), "--parent", str(os.getpid())]
        if rows is not None:
            np.save(Path(scratch) / "rows.npy", rows)
            command += ["--rows", str(Path(scratch) / "rows.npy")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.strip().rpartition("\n")[2]
    if done.returncode == 0:
        report: dict[str, Any] = json.loads(said)
        return report
    for left in (target / ENGINE, target / REPORT, *target.glob(f"{PARTIAL_PREFIX}*")):
        left.unlink(missing_ok=True)
    if said.startswith('{"error"'):
        failure = json.loads(said)
        if failure["reason"] == INEXACT:
            raise FailedPrecondition(failure["error"], reason=INEXACT)
        raise Corrupt(failure["error"], metadata={"file": failure["file"]})
    why = f"status {done.returncode}, {done.stderr.strip().rpartition(chr(10))[2]}"
    raise Unavailable(f"{folder} could not be converted ({why}); it is tried again", retry_after_s=RETRY_AFTER_S)

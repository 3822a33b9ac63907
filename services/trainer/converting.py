"""The engine file of a version that is being published, made and verified in a process of its own.

In: a folder with weights and vocabulary, the dataset that they learned from. Out: engine.litert and its report in the
folder. The service itself holds neither weights nor TensorFlow; running streams and training go first.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.tokens.dataset import Dataset

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "services.litert")
MAX_TOKENS = 4096  # of held-out text that predictions are compared on
NICE = 10
# Given the folder of a version and rows of token ids, or None.
Convert = Callable[[Path, "NDArray[np.int32] | None"], None]


def convert(folder: Path, rows: NDArray[np.int32] | None) -> None:
    """Add an engine file to a version's folder.

    A version is whole without one: where the process is killed, as for want of memory, the generator converts it.

    Args:
        rows: int32 [R, T] of the run's validation split; None: predictions are compared on the model's own text.

    Raises:
        Corrupt: the weights are damaged or hold what is no number.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = [*PROGRAM, str(folder), str(folder), "--nice", str(NICE)]
        if rows is not None:
            np.save(Path(scratch) / "rows.npy", rows)
            command += ["--rows", str(Path(scratch) / "rows.npy")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 1 and done.stdout.startswith('{"error"'):
        said = json.loads(done.stdout)
        raise Corrupt(said["error"], metadata={"file": said["file"]})
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        log.warning("%s: no engine file was made, status %d: %s", folder, done.returncode, why)
        return
    report = json.loads(done.stdout)
    log.info(
        "engine file in %s: perplexity %.4g, of the weights %.4g, next-token agreement %.1f %%",
        *(report["precision"], report["perplexity"], report["float32_perplexity"], 100 * report["agreement"]),
    )


def held_out_rows(dataset: Dataset, context: int) -> NDArray[np.int32] | None:
    """Rows of a dataset's validation split, int32 [R, T], at most MAX_TOKENS; None where it is too short.

    Args:
        context: longest sequence of the model.
    """
    held_out = dataset.validation
    length = min(context, len(held_out))
    if length < 2:
        return None
    count = max(1, min(MAX_TOKENS, len(held_out)) // length)
    return np.stack([held_out.window(row * length, length) for row in range(count)])

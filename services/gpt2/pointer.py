"""The text file `checkpoint`, by which TensorFlow and the 2019 scripts find a folder's newest weights.

Knows neither weights nor TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

from services.common.files import write_atomic


def write_pointer(folder: Path, prefix: str) -> None:
    """Point the file `checkpoint` of a folder at weights, atomically.

    Args:
        prefix: path of the checkpoint's files without suffix, relative to `folder`, such as `step-4/model-4`.
    """
    line = f'model_checkpoint_path: "{prefix}"\nall_model_checkpoint_paths: "{prefix}"\n'
    write_atomic(folder / "checkpoint", line.encode())

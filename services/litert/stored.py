"""An engine file with its report in a folder: what a published version holds for the generator, and finding it.

    engine.litert   the engine file
    engine.json     format, precision, digest of the weights, agreement, perplexities, bytes

Reads reports only. Imports neither LiteRT nor Numba.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from services.common.errors import Corrupt
from services.common.files import read_json
from services.litert.engine_file import FORMAT

ENGINE = "engine.litert"
REPORT = "engine.json"


def weights_digest(files: Mapping[str, str]) -> str:
    """What tells models apart: SHA-256 over the digests of weights and shape, whatever step the files are named by.

    Args:
        files: SHA-256 by name, as in a version's manifest.
    """
    parts = sorted((name.partition(".data-")[2], digest) for name, digest in files.items() if ".data-" in name)
    parts.append(("hparams.json", files.get("hparams.json", "")))  # heads are not to be seen in the weights
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def find_engine(folder: Path, digest: str, precision: str = "") -> Path | None:
    """Return a folder's engine file when this program can run it; its content is not read.

    Args:
        digest: of the weights that it must have been made of.
        precision: that it must have, or was asked for where another was needed; empty: any.
    """
    try:
        report = read_json(folder / REPORT)
        precisions = {"", report["precision"], report.get("instead_of", {}).get("precision")}
        if (report["format"], report["weights"]) != (FORMAT, digest) or precision not in precisions:
            return None
    except (Corrupt, FileNotFoundError, KeyError, TypeError, AttributeError):
        return None
    return folder / ENGINE if (folder / ENGINE).is_file() else None

"""An engine file with its report: what a published version's folder holds for the generator.

engine.litert   the engine file
engine.json     format version, digest of the weights, agreement, perplexities, bytes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import FailedPrecondition
from services.common.files import write_json
from services.gpt2.config import GPT2Config
from services.litert import engine_file
from services.litert.convert import Precision, convert
from services.litert.verify import MAX_PERPLEXITY_RISE, Report, verify

ENGINE = "engine.litert"
REPORT = "engine.json"


def convert_verified(
    config: GPT2Config,
    params: Mapping[str, NDArray[np.float32]],
    folder: Path,
    rows: Sequence[Sequence[int]],
    digest: str,
    precision: Precision = "int8",
) -> Report:
    """Write ENGINE and REPORT into a folder, or neither.

    Args:
        folder: there already.
        rows: token ids to compare predictions on, as in `verify`.
        digest: of the weights, so that the file can be told to belong to them.

    Raises:
        FailedPrecondition: reason ENGINE_INEXACT: the file's perplexity is too far above that of the weights.
    """
    path = folder / ENGINE
    convert(config, params, path, precision)
    try:
        report = verify(path, config, params, rows)
        if not report.is_good:
            raise FailedPrecondition(
                f"in {precision} the model's perplexity is {report.perplexity:.4g} where its float32 weights reach "
                f"{report.float32_perplexity:.4g}, more than {MAX_PERPLEXITY_RISE:.0%} above; convert it to float32",
                reason="ENGINE_INEXACT",
            )
        write_json(folder / REPORT, _facts(path, precision, digest, report))
    except BaseException:
        path.unlink()
        raise
    return report


def _facts(path: Path, precision: Precision, digest: str, report: Report) -> dict[str, Any]:
    return {
        "format": engine_file.FORMAT,
        "precision": precision,
        "weights": digest,
        "bytes": path.stat().st_size,
        "tokens_compared": report.tokens,
        "agreement": report.agreement,
        "perplexity": report.perplexity,
        "float32_perplexity": report.float32_perplexity,
    }

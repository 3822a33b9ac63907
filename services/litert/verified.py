"""Conversion with a look at what it costs: an engine file and its report, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt, FailedPrecondition
from services.common.files import write_json
from services.gpt2.config import GPT2Config
from services.litert import engine_file
from services.litert.apart import INEXACT
from services.litert.cache import BLOCK
from services.litert.convert import Precision, convert
from services.litert.model import LiteRTModel
from services.litert.own_text import write_rows
from services.litert.stored import ENGINE, REPORT
from services.litert.verify import MAX_PERPLEXITY_RISE, Report, verify


def convert_verified(
    config: GPT2Config,
    params: Mapping[str, NDArray[np.float32]],
    folder: Path,
    rows: Sequence[Sequence[int]] | None,
    digest: str,
    precision: Precision = "int8",
    *,
    first_id: int = 0,
) -> dict[str, Any]:
    """Write ENGINE and REPORT into a folder, or neither; return the report.

    Where int8 is too far from the weights, the file is in float32 and the report says why.

    Args:
        folder: there already.
        rows: token ids to compare predictions on, as in `verify`; None: what the model writes itself.
        digest: of the weights, so that the file can be told to belong to them.
        first_id: what the model's own text begins after.

    Raises:
        Corrupt: the weights hold what is no number.
        FailedPrecondition: reason ENGINE_INEXACT: in float32 too the perplexity is too far above that of the weights.
    """
    path = folder / ENGINE
    forms: list[Precision] = ["int8", "float32"] if precision == "int8" else ["float32"]
    reports: list[Report] = []
    try:
        for form in forms:
            _convert(config, params, path, form)
            report = verify(path, config, params, rows or _own_text(path, first_id))
            if report.is_good:
                facts = _facts(path, form, digest, report)
                if reports:
                    facts["instead_of"] = {"precision": precision, "perplexity": reports[0].perplexity}
                write_json(folder / REPORT, facts)
                return facts
            reports.append(report)
        raise FailedPrecondition(
            f"the engine's perplexity is {report.perplexity:.4g} where the weights reach "
            f"{report.float32_perplexity:.4g}, more than {MAX_PERPLEXITY_RISE:.0%} above: publish another checkpoint",
            reason=INEXACT,
        )
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _convert(config: GPT2Config, params: Mapping[str, NDArray[np.float32]], path: Path, precision: Precision) -> None:
    try:
        convert(config, params, path, precision)
    except ValueError as error:
        raise Corrupt(f"{error}; publish another checkpoint") from None


def _own_text(path: Path, first_id: int) -> list[list[int]]:
    file = engine_file.read(path)
    model = LiteRTModel(file, -(-file.config.n_ctx // BLOCK), 1)
    try:
        return write_rows(model, first_id)
    finally:
        model.close()


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

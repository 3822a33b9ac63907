"""Checkpoints without training: what is copied, linked and listed need not be weights."""

from __future__ import annotations

from pathlib import Path

from services.common.files import sha256_files, write_json
from services.trainer.checkpoints import Checkpoint, get_checkpoint


def make_checkpoint(
    data: Path,
    run: str,
    step: int,
    loss: float | None = None,
    *,
    validated_at: int = 0,
    name: str = "",
    share: float | None = None,
    left_out: tuple[str, ...] = (),
) -> Checkpoint:
    """Write a complete checkpoint of a run, validated when a loss is given: at its step, unless another is named.

    Args:
        name: of its weights; two of one name are the same.
        share: of its samples that stands in the posts; None: not measured.
        left_out: what a stop cut short.
    """
    folder = data / "checkpoint" / run / f"step-{step}"
    folder.mkdir(parents=True)
    for file in (f"model-{step}.index", f"model-{step}.data-00000-of-00001", "optimizer.npz"):
        (folder / file).write_text(f"{name or run} {step} {file}")
    validation = None if loss is None else {"step": validated_at or step, "loss": loss, "bits_per_byte": loss / 2}
    facts = {
        "created_at": "2020-01-01T00:00:00+00:00",
        "validation": validation,
        "originality": None if share is None else {"step": step, "verbatim_share": share, "longest_run_tokens": 20},
        "left_out": list(left_out),
        "files": sha256_files(folder),
    }
    write_json(folder / "manifest.json", facts)
    return get_checkpoint(folder.parent, step)

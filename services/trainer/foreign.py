"""Runs that gpt-2-simple or nshepperd's train.py wrote: `checkpoint/<run>` without a run.json, carried on in place.

In: such a folder (volume.is_foreign). Out: what a run of ours begins with, and the step that it goes on from. The
folder's own files stay. Its optimizer was never saved, and begins anew, as it does there. Loads no weights.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from services.common.errors import Corrupt, FailedPrecondition, InvalidRequest
from services.gpt2.config import GPT2Config
from services.trainer.bases import inspect
from services.trainer.beginning import Beginning
from services.trainer.run_settings import RunSettings, check

_COUNTER = "counter"
_STEP = re.compile(r"model-(\d+)")


def begin(folder: Path) -> Beginning:
    """Check such a folder whole, and return what goes on from it. Nothing in it changes.

    Raises:
        Corrupt: a file is missing or damaged, or nothing says its step; names it.
    """
    found = inspect(folder, folder.name)
    step = _step(folder, str(found["prefix"]))
    return Beginning(
        word=f"runs/{folder.name}@{step}",
        config=GPT2Config.from_hparams(found["config"]),
        vocabulary_digest=str(found["vocabulary_digest"]),
        folder=folder,
        prefix=str(found["prefix"]),
        digests={name: digest for name, digest in found["files"].items() if name.startswith(f"{found['prefix']}.")},
        step=step,
    )


def go_on(settings: RunSettings, *, step: int, asked_steps: int) -> RunSettings:
    """Return the settings of a run that has `step` steps behind it: `steps` counts them all.

    Args:
        settings: as if none was done; its epochs and tokens count those to come.
        asked_steps: the steps that were named; 0: none were.

    Raises:
        FailedPrecondition: it has done as many as were asked for. InvalidRequest: together they are too many.
    """
    if asked_steps and asked_steps <= step:
        raise FailedPrecondition(
            f"the run has {step} steps behind it and steps is {asked_steps}, which counts them all: ask for more"
        )
    steps = settings.steps + step
    going_on = replace(settings, steps=min(asked_steps, steps) if asked_steps else steps)
    check(going_on)
    return going_on


def refuse_base(base: str, run: str) -> None:
    """A run that is there begins with itself; InvalidRequest when another base is named."""
    if base:
        raise InvalidRequest(
            f"checkpoint/{run} holds a run of gpt-2-simple, which would be carried on: leave base {base!r} out, "
            f"with a dataset of vocabulary 'runs/{run}', or give the new run another name",
            field="base",
        )


def _step(folder: Path, prefix: str) -> int:
    """The step of the weights: in their name as those programs write it, else in the file `counter`."""
    named = _STEP.fullmatch(prefix)
    if named:
        return int(named[1])
    counter = folder / _COUNTER
    try:
        return int(counter.read_text())
    except (OSError, ValueError):
        raise Corrupt(
            f"{counter} does not say at which step {prefix} was written", metadata={"file": str(counter)}
        ) from None

"""Tries a few steps of a run that may begin, in a child, and tells what they took. Loads no TensorFlow itself."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from threading import Lock
from typing import IO, Any

from services.common.errors import Cancelled, FailedPrecondition
from services.gpt2.config import GPT2Config
from services.trainer import machine, planning
from services.trainer.planning import Forecast, Tried
from services.trainer.presets import tokens_per_pass
from services.trainer.run_settings import RunSettings
from services.trainer.starting import Plan, document_lengths

NICE = 10  # as the training process has it by default
SECONDS = 20.0  # for steps, beside loading and compiling
POLL_S = 0.5


class OutOfMemory(Exception):
    """The kernel ended the child: the step does not fit."""


@contextmanager
def turn(trying: Lock, wanted: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock of those who try steps: two at once would slow each other.

    Args:
        wanted: asked twice a second while another has it.

    Raises:
        Cancelled: it was not wanted any more.
    """
    while not trying.acquire(timeout=POLL_S):
        _check_wanted(wanted)
    try:
        yield
    finally:
        trying.release()


def tell_ahead(planned: Plan, *, try_them: bool, wanted: Callable[[], bool]) -> Iterator[str | Forecast]:
    """Yield what is being done, in words, and last what the run would do.

    Args:
        planned: a run that can begin.
        try_them: try a few steps; a step that does not fit makes room for a smaller one, as in the run.
        wanted: asked twice a second; the child is ended when it says no.

    Raises:
        FailedPrecondition: no step could be tried; says why. Cancelled: it was not wanted any more.
    """
    settings, config, dataset = planned.settings, planned.config, planned.dataset
    here = machine.device()
    fitted, tried = planning.fit(settings, config, here), None
    while try_them and fitted.fits and tried is None:
        try:
            for found in try_steps(fitted.settings, config, wanted=wanted):
                if isinstance(found, Tried):
                    tried = found
                else:
                    yield found
        except OutOfMemory:
            yield "a step did not fit into memory; trying a smaller one"
            fitted = planning.smaller(fitted, settings) or replace(fitted, settings=settings, changes=(), fits=False)
    forecast = planning.foresee(
        fitted,
        config,
        fresh=planned.beginning.fresh,
        num_train_tokens=len(dataset.train),
        num_validation_tokens=len(dataset.validation),
        num_pass_tokens=tokens_per_pass(
            settings.packing, settings.context, document_lengths(dataset), len(dataset.train)
        ),
        device=here,
        tried=tried,
        steps_behind=planned.beginning.step,
    )
    yield replace(forecast, remarks=(*planned.remarks, *forecast.remarks))


def try_steps(settings: RunSettings, config: GPT2Config, *, wanted: Callable[[], bool]) -> Iterator[str | Tried]:
    """Yield what the child is doing, in words, and last what it found.

    Args:
        settings, config: of the run.
        wanted: asked twice a second; the child is ended when it says no.

    Raises:
        OutOfMemory: it was killed. FailedPrecondition: it failed otherwise; says why. Cancelled: it was not wanted.
    """
    command = [sys.executable, "-m", "services.trainer.training.probe", "--parent", str(os.getpid())]
    child = subprocess.Popen(
        [*command, "--nice", str(NICE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdin
    assert child.stdout
    try:
        with child.stdin as sent:
            asked = {"config": config.to_hparams(), "settings": asdict(settings), "seconds": SECONDS}
            sent.write(json.dumps(asked).encode())
        found: dict[str, Any] = {}
        for line in _lines(child.stdout, wanted):
            found = json.loads(line)
            if "progress" in found:
                yield str(found["progress"])
        status = child.wait()
    except BrokenPipeError:
        found, status = {}, child.wait()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    if status == -signal.SIGKILL:
        raise OutOfMemory
    if "seconds_per_step" not in found:
        why = found.get("error", f"its process ended with status {status}")
        if "ResourceExhausted" in why or "MemoryError" in why:
            raise OutOfMemory
        raise FailedPrecondition(f"no step could be tried: {why}; ask for a plan without trying", reason="PROBE_FAILED")
    yield Tried(float(found["seconds_per_step"]), str(found["device"]))


def _lines(output: IO[bytes], wanted: Callable[[], bool]) -> Iterator[bytes]:
    """Whole lines as they come, until the end."""
    left = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            _check_wanted(wanted)
            if not selector.select(POLL_S):
                continue
            piece = os.read(output.fileno(), 65536)
            if not piece:
                return
            *whole, left = (left + piece).split(b"\n")
            yield from whole


def _check_wanted(wanted: Callable[[], bool]) -> None:
    if not wanted():
        raise Cancelled("nobody waits for the plan any more")

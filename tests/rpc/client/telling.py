"""What a fake trainer is to tell of its runs, and Ctrl-C at a moment."""

from __future__ import annotations

import os
import signal
import threading

from protos import trainer_pb2
from tests.rpc.client.answers import WAIT_S


def metrics(step):
    measured = trainer_pb2.Metrics(step=step, seconds=step * 1.5, loss=3.0, average_loss=3.25, tokens_per_second=1000)
    return trainer_pb2.RunUpdate(metrics=measured)


def validation(step, loss):
    return trainer_pb2.RunUpdate(validation={"step": step, "loss": loss, "bits_per_byte": loss / 2})


def originality(step, share, longest=20):
    return trainer_pb2.RunUpdate(originality={"step": step, "verbatim_share": share, "longest_run_tokens": longest})


def add_run(fakes, name="run1", state=trainer_pb2.RUN_STATE_RUNNING, **values):
    values = {"base": "nano", "dataset": "d", "settings": {"steps": 3}} | values
    run = trainer_pb2.Run(name=name, state=state, **values)
    fakes.trainer.runs[name] = run
    return run


def interrupt_when(*conditions):
    """Press Ctrl-C each time one of the events has happened, in order."""

    def press():
        for happened in conditions:
            if happened.wait(WAIT_S):
                os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()

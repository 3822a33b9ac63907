"""Follows a run on the terminal: the 2019 script's line for every step, samples as they come, a bar below.

Off a terminal the same lines are printed plainly; with JSON each update is one line of it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from protos import trainer_pb2
from services.client.commands import terminal
from services.client.nonesuch import Nonesuch
from services.common.errors import NonesuchError

STATE_WORDS = {
    trainer_pb2.RUN_STATE_PENDING: "waits in the queue",
    trainer_pb2.RUN_STATE_RUNNING: "training",
    trainer_pb2.RUN_STATE_SUCCEEDED: "finished",
    trainer_pb2.RUN_STATE_FAILED: "failed",
    trainer_pb2.RUN_STATE_CANCELLED: "stopped",
}


def metrics_line(metrics: trainer_pb2.Metrics) -> str:
    """The 2019 script's line.

    >>> metrics_line(trainer_pb2.Metrics(step=3, seconds=1.5, loss=7.25, average_loss=7.5))
    '[3 | 1.50] loss=7.25 avg=7.50'
    """
    return f"[{metrics.step} | {metrics.seconds:2.2f}] loss={metrics.loss:2.2f} avg={metrics.average_loss:2.2f}"


def follow(nonesuch: Nonesuch, name: str, *, cursor: int = 0, after_step: int, as_json: bool) -> trainer_pb2.Run:
    """Print what happens in a run until it ends, and return it as it is then.

    Args:
        cursor: of the last update seen.
        after_step: what happened up to this step is history and is not printed, JSON apart.
    """
    run = trainer_pb2.Run()
    updates = nonesuch.watch(name, cursor, on_break=lambda error: terminal.note(f"{error.message}; waiting for it"))
    with _bar(shown=not as_json) as move:
        for update in updates:
            kind = update.WhichOneof("update")
            if as_json:
                terminal.print_json_line(update)
            elif kind == "run":
                now = nonesuch.run(name)  # the update may tell of the past
                if now.state != run.state:
                    terminal.note(describe(now))
                run = now
                move(run, None)
            elif kind is not None:
                if kind == "metrics":
                    run.step = update.metrics.step
                    move(run, update.metrics)
                if getattr(update, kind).step > after_step:
                    _print(update, kind)
    return nonesuch.run(name)


def describe(run: trainer_pb2.Run) -> str:
    """A run's state in a line."""
    words = STATE_WORDS.get(run.state, "in a state that this client does not know")
    where = f", step {run.step:,} of {run.settings.steps:,}" if run.settings.steps else ""
    if run.state == trainer_pb2.RUN_STATE_PENDING and run.queue_position:
        where = f" at place {run.queue_position}"
    return f"{run.name}: {words}{where}"


def _print(update: trainer_pb2.RunUpdate, kind: str) -> None:
    if kind == "metrics":
        terminal.say(metrics_line(update.metrics))
    elif kind == "validation":
        measured = update.validation
        terminal.say(
            f"[{measured.step}] validation loss={measured.loss:.3f} bits/byte={measured.bits_per_byte:.3f} "
            f"perplexity={measured.perplexity:.1f}"
        )
    elif kind == "sample":
        terminal.print_post(update.sample.text, title=f"sample {update.sample.index}")
    elif kind == "checkpoint":
        terminal.say(f"[{update.checkpoint.step}] saved checkpoint ({terminal.size(update.checkpoint.size_bytes)})")
    elif kind == "event":
        terminal.say(f"[{update.event.step}] {update.event.message}")


@contextmanager
def _bar(*, shown: bool) -> Iterator[Callable[[trainer_pb2.Run, trainer_pb2.Metrics | None], None]]:
    """Yield a function that moves a bar on standard error; it does nothing off a terminal."""
    console = terminal.err()
    if not shown or not console.is_terminal:
        yield lambda run, metrics: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[measured]}"),
        TimeRemainingColumn(compact=True),
    )
    # Lines go above the bar when both are on the terminal; a file gets them directly.
    redirect = sys.stdout.isatty()
    with terminal.live(Progress(*columns, console=console, transient=True, redirect_stdout=redirect)) as bars:
        task = bars.add_task("", total=None, measured="")

        def move(run: trainer_pb2.Run, metrics: trainer_pb2.Metrics | None) -> None:
            bars.update(task, description=run.name, completed=run.step, total=run.settings.steps or None)
            if metrics is not None:
                measured = f"loss {metrics.average_loss:.2f} · {metrics.tokens_per_second:,.0f} tokens/s"
                bars.update(task, measured=measured)

        yield move


@contextmanager
def stop_on_interrupt(stop: Callable[[], None]) -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C calls `stop` and goes on; the second is a KeyboardInterrupt.

    Yields:
        An event that is set by the first Ctrl-C.
    """
    pressed = threading.Event()

    def ask() -> None:
        terminal.note("stopping after this step and saving; Ctrl-C again leaves without waiting")
        try:
            stop()
        except NonesuchError as error:
            terminal.complain(error)

    def note_press(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        # Not here: a handler must not write while the thread that it interrupts does.
        threading.Thread(target=ask, daemon=True).start()

    before = signal.signal(signal.SIGINT, note_press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)

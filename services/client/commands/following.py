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

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from protos import trainer_pb2
from services.client.commands import terminal
from services.client.comparing import add
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


def speed(metrics: trainer_pb2.Metrics) -> str:
    """How fast a run is: tokens per second, and the share of the machine that it uses where that is known."""
    share = f", {percent(metrics.mfu)} of the machine's matrix rate" if metrics.HasField("mfu") else ""
    return f"{metrics.tokens_per_second:,.0f} tokens/s{share}"


def to_go(run: trainer_pb2.Run) -> str:
    """How long a training run has to go; empty when it does not train, or nobody knows."""
    if run.state != trainer_pb2.RUN_STATE_RUNNING or not run.metrics.remaining_seconds:
        return ""
    return duration(run.metrics.remaining_seconds)


def percent(share: float) -> str:
    """A share in two digits.

    >>> percent(0.0174), percent(0.314), percent(1.0)
    ('1.7%', '31%', '100%')
    """
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(42), duration(61), duration(7300)
    ('42 s', '1 min 01 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def validation_words(found: trainer_pb2.Validation) -> str:
    """A validation in a line of `runs show`."""
    return (
        f"loss {found.loss:.3f}, {found.bits_per_byte:.3f} bits/byte, perplexity {found.perplexity:.1f}, "
        f"accuracy {found.token_accuracy:.1%} at step {found.step:,}"
    )


def originality_words(found: trainer_pb2.Originality) -> str:
    """What samples have from the posts, in a line of `runs show`."""
    return (
        f"{percent(found.verbatim_share)} of the samples verbatim, longest run {found.longest_run_tokens:,} tokens "
        f"at step {found.step:,}"
    )


class _Told:
    """What has been told of a run so far, so that a line can say how it compares."""

    def __init__(self) -> None:
        self._losses: dict[int, float] = {}
        self._tenths = 0

    def standing(self, found: trainer_pb2.Validation) -> str:
        """Whether a validation is the best so far, or which was."""
        add(self._losses, found.step, found.loss)
        best = min(self._losses, key=lambda step: (self._losses[step], step))
        return "(best so far)" if best == found.step else f"(best: {self._losses[best]:.3f} at step {best})"

    def is_due(self, run: trainer_pb2.Run) -> bool:
        """Whether another tenth of the run is done since this was last asked."""
        tenths = 10 * run.step // max(1, run.settings.steps)
        before, self._tenths = self._tenths, tenths
        return tenths > before


def follow(nonesuch: Nonesuch, name: str, *, cursor: int = 0, after_step: int, as_json: bool) -> trainer_pb2.Run:
    """Print what happens in a run until it ends, and return it as it is then.

    Args:
        cursor: of the last update seen.
        after_step: what happened up to this step is history and is not printed, JSON apart.
    """
    run, told = trainer_pb2.Run(), _Told()
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
                standing = told.standing(update.validation) if kind == "validation" else ""
                is_news = getattr(update, kind).step > after_step
                if is_news:
                    _print(update, kind, standing)
                if kind == "metrics" and told.is_due(run) and is_news and not terminal.err().is_terminal:
                    terminal.note(f"{describe(run)}, {_progress(update.metrics)}")
    return nonesuch.run(name)


def describe(run: trainer_pb2.Run) -> str:
    """A run's state in a line."""
    words = STATE_WORDS.get(run.state, "in a state that this client does not know")
    where = f", step {run.step:,} of {run.settings.steps:,}" if run.settings.steps else ""
    if run.state == trainer_pb2.RUN_STATE_PENDING and run.queue_position:
        where = f" at place {run.queue_position}"
    return f"{run.name}: {words}{where}"


def _progress(metrics: trainer_pb2.Metrics) -> str:
    """Where a step stands, in a line."""
    words = f"loss {metrics.average_loss:.2f} · {metrics.tokens_per_second:,.0f} tokens/s"
    if metrics.HasField("mfu"):
        words += f" · MFU {percent(metrics.mfu)}"
    return f"{words} · {duration(metrics.remaining_seconds)} to go" if metrics.remaining_seconds else words


def _print(update: trainer_pb2.RunUpdate, kind: str, standing: str) -> None:
    if kind == "metrics":
        terminal.say(metrics_line(update.metrics))
    elif kind == "validation":
        measured = update.validation
        terminal.say(
            f"[{measured.step}] validation loss={measured.loss:.3f} bits/byte={measured.bits_per_byte:.3f} "
            f"perplexity={measured.perplexity:.1f} accuracy={measured.token_accuracy:.1%} {standing}"
        )
    elif kind == "originality":
        found = update.originality
        terminal.say(
            f"[{found.step}] samples verbatim={found.verbatim_share:.1%} longest run={found.longest_run_tokens} tokens"
        )
    elif kind == "sample":
        terminal.print_sample(update.sample)
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
    )
    # Lines go above the bar when both are on the terminal; a file gets them directly.
    redirect = sys.stdout.isatty()
    with terminal.live(Progress(*columns, console=console, transient=True, redirect_stdout=redirect)) as bars:
        task = bars.add_task("", total=None, measured="")

        def move(run: trainer_pb2.Run, metrics: trainer_pb2.Metrics | None) -> None:
            bars.update(task, description=run.name, completed=run.step, total=run.settings.steps or None)
            if metrics is not None:
                bars.update(task, measured=_progress(metrics))

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

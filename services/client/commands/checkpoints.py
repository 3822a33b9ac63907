"""`nonesuch checkpoints`: the states of a run that can be published."""

from __future__ import annotations

import click

from protos import trainer_pb2
from services.client.commands import terminal
from services.client.commands.following import percent
from services.client.nonesuch import Nonesuch


class RunAtStep(click.ParamType):
    """`RUN` or `RUN@STEP`, as a name and a step or None."""

    name = "RUN[@STEP]"

    def convert(
        self, value: str | tuple[str, int | None], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | None]:
        """Split at the `@`."""
        if isinstance(value, tuple):
            return value
        run, separator, step = value.partition("@")
        if not separator:
            return run, None
        if not (step.isascii() and step.isdigit()) or int(step) >= 1 << 31:
            self.fail(f"{value!r}: expected a step after the '@', such as {run or 'run1'}@1000", param, ctx)
        return run, int(step)


@click.group()
def checkpoints() -> None:
    """List, mark and delete the checkpoints of a run."""


@checkpoints.command("list")
@click.argument("run")
@terminal.json_option
@click.pass_obj
def list_checkpoints(nonesuch: Nonesuch, run: str, as_json: bool) -> None:
    """List a run's checkpoints by step."""
    found = list(nonesuch.checkpoints(run))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            f"{entry.run}@{entry.step}",
            ", ".join(word for word, holds in (("best", entry.best), ("marked", entry.marked)) if holds),
            f"{entry.validation.loss:.3f}" if entry.HasField("validation") else "",
            f"{entry.validation.bits_per_byte:.3f}" if entry.HasField("validation") else "",
            percent(entry.originality.verbatim_share) if entry.HasField("originality") else "",
            terminal.size(entry.size_bytes),
            terminal.when(entry.created_at),
        ]
        for entry in found
    ]
    headings = ["CHECKPOINT", "KEPT", "VALIDATION", "BITS/BYTE", "VERBATIM", "SIZE", "CREATED"]
    terminal.table(headings, rows, right=["VALIDATION", "BITS/BYTE", "VERBATIM", "SIZE"])


@checkpoints.command()
@click.argument("run")
@click.argument("step", type=click.IntRange(1, 2**31 - 1))
@click.option("--off", is_flag=True, help="Take the mark away.")
@terminal.json_option
@click.pass_obj
def mark(nonesuch: Nonesuch, run: str, step: int, off: bool, as_json: bool) -> None:
    """Keep a checkpoint whatever the run's `keep` says."""
    checkpoint = nonesuch.mark_checkpoint(run, step, marked=not off)
    if as_json:
        terminal.print_json(checkpoint)
    else:
        terminal.say(f"{run}@{checkpoint.step} {'is kept' if checkpoint.marked else 'is no longer marked'}")


@checkpoints.command()
@click.argument("checkpoint", type=RunAtStep(), metavar="RUN@STEP")
@terminal.yes_option
@click.pass_obj
def delete(nonesuch: Nonesuch, checkpoint: tuple[str, int | None], yes: bool) -> None:
    """Delete a checkpoint. Models published from it stay."""
    run, step = checkpoint
    if step is None:
        raise click.UsageError(f"say which checkpoint of {run}: {run}@STEP; see `nonesuch checkpoints list {run}`")
    terminal.confirm(f"Delete the checkpoint of {run} at step {step}?", yes=yes)
    nonesuch.connection.trainer.DeleteCheckpoint(trainer_pb2.DeleteCheckpointRequest(run=run, step=step))
    terminal.say(f"checkpoint {run}@{step} deleted")

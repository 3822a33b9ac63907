"""`nonesuch checkpoints`: the states of a run that can be published."""

from __future__ import annotations

import click

from protos import trainer_pb2
from services.client.commands import terminal
from services.client.connection import pages
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
    """List and delete the checkpoints of a run."""


@checkpoints.command("list")
@click.argument("run")
@terminal.json_option
@click.pass_obj
def list_checkpoints(nonesuch: Nonesuch, run: str, as_json: bool) -> None:
    """List a run's checkpoints by step."""
    request = trainer_pb2.ListCheckpointsRequest(run=run)
    found = list(pages(nonesuch.connection.trainer.ListCheckpoints, request, "checkpoints"))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            f"{entry.run}@{entry.step}",
            f"{entry.validation.loss:.3f}" if entry.HasField("validation") else "",
            f"{entry.validation.bits_per_byte:.3f}" if entry.HasField("validation") else "",
            terminal.size(entry.size_bytes),
            terminal.when(entry.created_at),
        ]
        for entry in found
    ]
    headings = ["CHECKPOINT", "VALIDATION", "BITS/BYTE", "SIZE", "CREATED"]
    terminal.table(headings, rows, right=["VALIDATION", "BITS/BYTE", "SIZE"])


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

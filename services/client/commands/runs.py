"""`nonesuch runs`: what is training, what has trained."""

from __future__ import annotations

import time

import click

from protos import trainer_pb2
from services.client import run_file
from services.client.commands import following, terminal
from services.client.commands.comparing import compare
from services.client.commands.plain import enum_name, plain
from services.client.commands.train import conclude
from services.client.nonesuch import Nonesuch
from services.client.watching import RUN_ENDS
from services.common.errors import Unavailable

STOP_S = 900.0  # a step of a large model and its checkpoint
POLL_S = 0.3
RECENT_STEPS = 10  # what `watch` shows of the past, as `tail -f` does


@click.group()
def runs() -> None:
    """See what is training and what waits, stop it, go on with it, do it again."""


runs.add_command(compare)


@runs.command("list")
@terminal.json_option
@click.pass_obj
def list_runs(nonesuch: Nonesuch, as_json: bool) -> None:
    """List runs, newest first."""
    found = list(nonesuch.runs())
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            run.name,
            enum_name(run, "state") + (f" ({run.queue_position} in the queue)" if run.queue_position else ""),
            f"{run.step:,}/{run.settings.steps:,}",
            f"{run.metrics.average_loss:.2f}" if run.HasField("metrics") else "",
            f"{run.validation.bits_per_byte:.3f}" if run.HasField("validation") else "",
            following.percent(run.originality.verbatim_share) if run.HasField("originality") else "",
            run.base,
            run.dataset,
            terminal.when(run.created_at),
        ]
        for run in found
    ]
    headings = ["RUN", "STATE", "STEP", "LOSS", "BITS/BYTE", "VERBATIM", "BASE", "DATASET", "CREATED"]
    terminal.table(headings, rows, right=["STEP", "LOSS", "BITS/BYTE", "VERBATIM"])


@runs.command()
@click.argument("run")
@click.option("--toml", "as_toml", is_flag=True, help="Print the file for `train --config` that does the same.")
@terminal.json_option
@click.pass_obj
def show(nonesuch: Nonesuch, run: str, as_toml: bool, as_json: bool) -> None:
    """Show a run with all its settings."""
    if as_toml and as_json:
        raise click.UsageError("give --toml or --json, not both")
    found = nonesuch.run(run)
    if as_toml:
        terminal.say(run_file.of_run(found).rstrip())
        return
    if as_json:
        terminal.print_json(found)
        return
    measured = found.metrics
    held_out = found.validation
    terminal.facts(
        [
            ("run", found.name),
            ("state", enum_name(found, "state")),
            ("error", found.error),
            ("queue", f"place {found.queue_position}" if found.queue_position else ""),
            ("step", f"{found.step:,} of {found.settings.steps:,}"),
            ("checkpoint", f"step {found.checkpoint_step:,}" if found.checkpoint_step else ""),
            (
                "loss",
                f"{measured.loss:.3f}, average {measured.average_loss:.3f}" if found.HasField("metrics") else "",
            ),
            ("speed", following.speed(measured) if found.HasField("metrics") else ""),
            ("to go", following.to_go(found)),
            ("memory", terminal.size(measured.memory_bytes) if measured.memory_bytes else ""),
            ("epoch", f"{measured.epoch:.2f}" if found.HasField("metrics") else ""),
            ("validation", following.validation_words(held_out) if found.HasField("validation") else ""),
            ("best", following.validation_words(found.best_validation) if found.HasField("best_validation") else ""),
            ("originality", following.originality_words(found.originality) if found.HasField("originality") else ""),
            ("restarts", str(found.restarts or "")),
            ("ended because", found.ended_because),
            ("base", f"{found.base}, {found.num_parameters:,} parameters"),
            ("dataset", found.dataset + (f", digest {found.dataset_digest[:12]}" if found.dataset_digest else "")),
            ("created", terminal.when(found.created_at)),
        ]
    )
    terminal.say()
    terminal.facts([(name.replace("_", " "), str(value)) for name, value in plain(found.settings).items()])
    if found.environment:
        terminal.say()
        terminal.facts(sorted(found.environment.items()))


@runs.command()
@click.argument("run")
@click.option("--all", "everything", is_flag=True, help="Print the whole history first, not the last steps only.")
@click.option("--cursor", default=0, type=click.IntRange(0, 2**63 - 1), help="Begin after this update of --json.")
@terminal.json_option
@click.pass_obj
def watch(nonesuch: Nonesuch, run: str, everything: bool, cursor: int, as_json: bool) -> None:
    """Show what a run does until it ends. Ctrl-C only leaves: the run goes on."""
    known = nonesuch.run(run)
    after_step = 0 if everything else known.step - RECENT_STEPS
    try:
        ended = following.follow(nonesuch, run, cursor=cursor, after_step=after_step, as_json=as_json)
    except KeyboardInterrupt:
        terminal.note(f"{run} goes on; stop it with: nonesuch runs stop {run}")
        return
    conclude(ended)


@runs.command()
@click.argument("run")
@terminal.json_option
@click.pass_obj
def stop(nonesuch: Nonesuch, run: str, as_json: bool) -> None:
    """Let a run finish its step, save and stop; wait until it has. A waiting run leaves the queue."""
    stopped = nonesuch.stop(run)
    deadline = time.monotonic() + STOP_S
    with terminal.progress() as on_progress:
        on_progress(f"waiting until {run} has saved", 0, 0)
        while stopped.state not in RUN_ENDS:
            if time.monotonic() > deadline:
                raise Unavailable(f"{run} has not stopped within {STOP_S:.0f} s; see `nonesuch runs show {run}`")
            time.sleep(POLL_S)
            stopped = nonesuch.run(run)
    if as_json:
        terminal.print_json(stopped)
        return
    terminal.say(following.describe(stopped))
    if stopped.state == trainer_pb2.RUN_STATE_CANCELLED:
        terminal.note(f"go on with: nonesuch runs resume {run}")


@runs.command()
@click.argument("run")
@terminal.json_option
@click.pass_obj
def resume(nonesuch: Nonesuch, run: str, as_json: bool) -> None:
    """Go on with a run that was stopped or failed, with the settings it had."""
    request = trainer_pb2.ResumeRunRequest(run=run)
    resumed = nonesuch.connection.trainer.ResumeRun(request, timeout_s=120).run
    if as_json:
        terminal.print_json(resumed)
    else:
        terminal.say(f"{following.describe(resumed)}; watch it with: nonesuch runs watch {run}")


@runs.command()
@click.argument("run")
@click.argument("place", type=click.IntRange(1, 2**31 - 1))
@terminal.json_option
@click.pass_obj
def move(nonesuch: Nonesuch, run: str, place: int, as_json: bool) -> None:
    """Move a waiting run to another place in the queue; 1 is next, a large number last."""
    moved = nonesuch.move(run, place)
    if as_json:
        terminal.print_json(moved)
    else:
        terminal.say(following.describe(moved))


@runs.command()
@click.argument("run")
@click.option("--as", "new_run", default="", metavar="NEW", help="Name of the new run.  [default: RUN-2, RUN-3, ...]")
@terminal.json_option
@click.pass_obj
def repeat(nonesuch: Nonesuch, run: str, new_run: str, as_json: bool) -> None:
    """Queue a run with the settings, dataset and first weights of another."""
    queued = nonesuch.repeat(run, new_run)
    if as_json:
        terminal.print_json(queued)
    else:
        terminal.say(f"{following.describe(queued)}; watch it with: nonesuch runs watch {queued.name}")


@runs.command()
@click.argument("run")
@terminal.yes_option
@click.pass_obj
def delete(nonesuch: Nonesuch, run: str, yes: bool) -> None:
    """Delete a run with its checkpoints and samples. Published models stay."""
    terminal.confirm(f"Delete run {run} with its checkpoints and samples?", yes=yes)
    nonesuch.connection.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run), timeout_s=120)
    terminal.say(f"run {run} deleted")

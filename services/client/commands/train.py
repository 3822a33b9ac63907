"""`nonesuch train`: learn from the posts, building whatever is missing first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from protos import trainer_pb2
from services.client import preparing
from services.client.commands import following, terminal
from services.client.nonesuch import Nonesuch
from services.common.errors import FailedPrecondition, NonesuchError

INTERRUPTED = 130

_ENUMS = {"schedule": "SCHEDULE", "precision": "PRECISION", "publish": "PUBLISH_RULE"}
_SETTINGS: tuple[tuple[str, Any, str], ...] = (
    ("steps", int, "Optimizer steps in all."),
    ("batch_size", int, "Sequences per micro-batch."),
    ("accumulation", int, "Micro-batches per step."),
    ("context", int, "Tokens per sequence."),
    ("learning_rate", float, "Highest learning rate."),
    ("warmup_steps", int, "Steps of linear warm-up."),
    ("schedule", click.Choice(["constant", "linear", "cosine"]), "How the rate moves after the warm-up."),
    ("floor", float, "Lowest learning rate as a share of the highest."),
    ("weight_decay", float, "AdamW's decay, on matrices only."),
    ("beta1", float, "AdamW's first decay rate."),
    ("beta2", float, "AdamW's second decay rate."),
    ("clip_norm", float, "Largest norm of the gradient; 0 does not clip."),
    ("dropout", float, "Share of activations dropped while learning."),
    ("precision", click.Choice(["auto", "float32", "bfloat16"]), "Number format of the matrix products."),
    ("seed", int, "Seed of everything random."),
    ("save_every", int, "Steps between checkpoints.  [default: 1000]"),
    ("sample_every", int, "Steps between samples; 0 writes none.  [default: 100]"),
    ("sample_num", int, "Samples each time.  [default: 1]"),
    ("sample_length", int, "Longest sample in tokens."),
    ("validate_every", int, "Steps between validations; 0 measures at the end only.  [default: 100]"),
    ("keep", int, "Checkpoints kept.  [default: 5]"),
    ("publish", click.Choice(["never", "at-end", "on-best"]), "When to publish by itself, as model RUN."),
)


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """One option per field of RunSettings; one that is not given stays unset."""
    for name, kind, help_text in reversed(_SETTINGS):
        command = click.option(f"--{name.replace('_', '-')}", name, type=kind, help=help_text)(command)
    return command


@click.command()
@click.option("--run", default=preparing.DEFAULT_RUN, show_default=True, metavar="NAME", help="Name of the run.")
@click.option(
    "--base",
    default="",
    metavar="NAME",
    help="What to start from, fetched if need be; see `bases list`.  [default: nano]",
)
@click.option("--corpus", default="", metavar="NAME", help="Which posts to learn from.  [default: default]")
@click.option("--dataset", default="", metavar="ID", help="A dataset that is there, instead of a corpus.")
@click.option("--fresh", is_flag=True, help="Refuse to go on with a run of that name.")
@click.option("--follow", is_flag=True, help="Show every step until it is done. Ctrl-C stops and saves.")
@_settings_options
@terminal.json_option
@click.pass_obj
def train(
    nonesuch: Nonesuch,
    /,
    run: str,
    base: str,
    corpus: str,
    dataset: str,
    fresh: bool,
    follow: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Learn from the posts of a corpus.

    Builds what is missing first: snapshot, vocabulary, dataset. A run that was stopped or failed goes on when
    the same command is typed again. Settings that are not given take the defaults of the base's size; a run
    that goes on keeps its own, and refuses others by name.
    """
    if corpus and dataset:
        raise click.UsageError("give --corpus or --dataset, not both")
    with terminal.progress() as on_progress:
        started = preparing.start_run(
            nonesuch.connection,
            run=run,
            base=base,
            corpus=corpus,
            dataset=dataset,
            settings=run_settings(values),
            fresh=fresh,
            on_progress=on_progress,
            on_remark=terminal.note,
        )
    if started.remark:
        terminal.note(started.remark)
    if follow:
        _follow(nonesuch, started, as_json)
    elif as_json:
        terminal.print_json(started.run)
    else:
        if started.run.state == trainer_pb2.RUN_STATE_SUCCEEDED:
            terminal.say(f"{following.describe(started.run)}; for another: nonesuch train --run NAME")
            return
        begun = "goes on" if started.resumed else "is started"
        terminal.say(f"{run} {begun}: base {started.run.base}, dataset {started.run.dataset}")
        terminal.say(f"{following.describe(started.run)}; watch it with: nonesuch runs watch {run}")


def run_settings(values: dict[str, Any]) -> trainer_pb2.RunSettings:
    """The message of options by field name; None leaves a field unset."""
    settings = trainer_pb2.RunSettings()
    for name, value in values.items():
        if value is not None:
            word = f"{_ENUMS[name]}_{value.upper().replace('-', '_')}" if name in _ENUMS else value
            try:
                setattr(settings, name, word)
            except ValueError:
                option = f"--{name.replace('_', '-')}"
                raise click.BadParameter(f"{value} is more than a run can have", param_hint=option) from None
    return settings


def _follow(nonesuch: Nonesuch, started: preparing.Started, as_json: bool) -> None:
    name = started.run.name

    def stop() -> None:
        with suppress(FailedPrecondition):  # it has just ended by itself
            nonesuch.stop(name)

    with following.stop_on_interrupt(stop) as pressed:
        # A run that goes on starts from its checkpoint; what was before has been seen.
        after_step = started.run.checkpoint_step if started.resumed else 0
        try:
            run = following.follow(nonesuch, name, after_step=after_step, as_json=as_json)
        except KeyboardInterrupt:
            terminal.note(f"left {name}, which stops by itself; see it with: nonesuch runs show {name}")
            raise
    conclude(run, is_own_wish=pressed.is_set())


def conclude(run: trainer_pb2.Run, *, is_own_wish: bool = False) -> None:
    """Say how to go on from a run that has ended, and end with its status.

    Args:
        is_own_wish: it was stopped from here.
    """
    name = run.name
    if run.state == trainer_pb2.RUN_STATE_SUCCEEDED:
        if run.settings.publish == trainer_pb2.PUBLISH_RULE_AT_END:
            terminal.note(f"published as model {name}; read a post: nonesuch generate --model {name}")
        else:
            terminal.note(f"let the generator serve it: nonesuch models publish {name}")
    elif run.state == trainer_pb2.RUN_STATE_CANCELLED:
        saved = f"saved at step {run.checkpoint_step:,}" if run.checkpoint_step else "nothing was saved yet"
        terminal.note(f"{saved}; go on with the same command, or with: nonesuch runs resume {name}")
        raise SystemExit(INTERRUPTED if is_own_wish else 1)
    elif run.state == trainer_pb2.RUN_STATE_FAILED:
        raise NonesuchError(
            f"{name} failed at step {run.step:,}: {run.error or 'no reason was given'}; "
            f"go on from its last checkpoint with: nonesuch runs resume {name}"
        )

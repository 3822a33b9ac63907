"""`nonesuch train`: learn from the posts, building whatever is missing first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
from google.protobuf.descriptor import FieldDescriptor

from protos import trainer_pb2
from services.client import preparing
from services.client.commands import following, terminal
from services.client.nonesuch import Nonesuch
from services.client.run_settings import FIELDS, SETTINGS, Setting, run_settings, words_of
from services.common.errors import FailedPrecondition, InvalidRequest, NonesuchError

INTERRUPTED = 130
_KINDS: dict[int, Any] = {
    **dict.fromkeys((FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64), int),
    FieldDescriptor.TYPE_DOUBLE: float,
    FieldDescriptor.TYPE_STRING: str,
}


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """One option per field of RunSettings; one that is not given stays unset."""
    for group in reversed(SETTINGS.values()):
        for name, setting in reversed(group.items()):
            command = _option(name, setting)(command)
    return command


def _option(name: str, setting: Setting) -> Callable[[Callable[..., None]], Callable[..., None]]:
    field, flag = FIELDS[name], f"--{name.replace('_', '-')}"
    help_text = f"{setting.meaning}  [default: {setting.default}]" if setting.default else setting.meaning
    if field.type == FieldDescriptor.TYPE_BOOL:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=help_text)
    if field.is_repeated:
        # One option per value, such as --sample-prompts "Dear" --sample-prompts "Today".
        return click.option(flag, name, type=_KINDS[field.type], multiple=True, help=help_text)
    kind = click.Choice(words_of(field)) if field.enum_type is not None else _KINDS[field.type]
    return click.option(flag, name, type=kind, help=help_text)


@click.command()
@click.option("--run", default=preparing.DEFAULT_RUN, show_default=True, metavar="NAME", help="Name of the run.")
@click.option("--base", default="", metavar="NAME", help="What to start from; see `bases list`.  [default: nano]")
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
    try:
        settings = run_settings(values)
    except InvalidRequest as error:
        option = f"--{str(error.field).replace('_', '-')}"
        raise click.BadParameter(error.message, param_hint=option) from None
    with terminal.progress() as on_progress:
        started = preparing.start_run(
            nonesuch.connection,
            run=run,
            base=base,
            corpus=corpus,
            dataset=dataset,
            settings=settings,
            fresh=fresh,
            on_progress=on_progress,
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

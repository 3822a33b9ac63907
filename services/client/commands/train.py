"""`nonesuch train`: learn from the posts, building whatever is missing first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from google.protobuf.descriptor import FieldDescriptor

from protos import trainer_pb2
from services.client import preparing, run_file
from services.client.commands import following, planning, terminal
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
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="A TOML file; options go before it.")
@click.option("--run", default="", metavar="NAME", help=f"Name of the run.  [default: {preparing.DEFAULT_RUN}]")
@click.option(
    "--base",
    default="",
    metavar="NAME",
    help="What to start from, fetched if need be; see `bases list`.  [default: nano]",
)
@click.option("--corpus", default="", metavar="NAME", help="Which posts to learn from.  [default: default]")
@click.option("--dataset", default="", metavar="ID", help="A dataset that is there, instead of a corpus.")
@click.option("--fresh", is_flag=True, help="Refuse to go on with a run of that name.")
@click.option("--plan", is_flag=True, help="Tell what it would do, trying a few steps, and start nothing.")
@click.option("--no-probe", is_flag=True, help="With --plan: estimate, and try no steps.")
@click.option("--print-config", is_flag=True, help="Print the file that says the same, and start nothing.")
@click.option("--follow", is_flag=True, help="Show every step until it is done. Ctrl-C stops and saves.")
@_settings_options
@terminal.json_option
@click.pass_obj
def train(
    nonesuch: Nonesuch,
    /,
    config: Path | None,
    run: str,
    base: str,
    corpus: str,
    dataset: str,
    fresh: bool,
    plan: bool,
    no_probe: bool,
    print_config: bool,
    follow: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Learn from the posts of a corpus.

    Builds what is missing first: snapshot, vocabulary, dataset. A run that was stopped or failed goes on when
    the same command is typed again. Settings that are not given come from the preset, which fits them to the base and
    the corpus; a run that goes on keeps its own, and refuses others by name.
    """
    said = _said(config, {"run": run, "base": base, "corpus": corpus, "dataset": dataset, **values})
    if said.get("corpus") and said.get("dataset"):
        raise click.UsageError("give --corpus or --dataset, not both")
    if print_config:
        terminal.say(run_file.write(said, comments=True).rstrip())
        return
    if no_probe and not plan:
        raise click.UsageError("--no-probe goes with --plan")
    what = {name: said.get(name, "") for name in run_file.NAMES} | {"run": said.get("run") or preparing.DEFAULT_RUN}
    settings = run_settings({name: value for name, value in said.items() if name not in run_file.NAMES})
    if plan:
        with terminal.progress() as on_progress:
            found = preparing.plan_run(
                nonesuch.connection, **what, settings=settings, skip_probe=no_probe, on_progress=on_progress
            )
        planning.show(found, as_json=as_json)
        return
    with terminal.progress() as on_progress:
        started = preparing.start_run(
            nonesuch.connection,
            **what,
            settings=settings,
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
        name = started.run.name
        if started.run.state == trainer_pb2.RUN_STATE_SUCCEEDED:
            terminal.say(f"{following.describe(started.run)}; for another: nonesuch train --run NAME")
            return
        begun = "goes on" if started.resumed else "is started"
        terminal.say(f"{name} {begun}: base {started.run.base}, dataset {started.run.dataset}")
        terminal.say(f"{following.describe(started.run)}; watch it with: nonesuch runs watch {name}")


def _said(config: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """What the file and the options say together; an option goes before the file."""
    given = {name: value for name, value in options.items() if value not in (None, "", ())}
    try:
        run_settings({name: value for name, value in given.items() if name not in run_file.NAMES})
    except InvalidRequest as error:
        option = f"--{str(error.field).replace('_', '-')}"
        raise click.BadParameter(error.message, param_hint=option) from None
    try:
        said = run_file.read(config) if config else {}
    except InvalidRequest as error:
        raise click.BadParameter(error.message, param_hint="--config") from None
    if "dataset" in given:
        said.pop("corpus", None)
    elif "corpus" in given:
        said.pop("dataset", None)
    return said | given


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
        if run.settings.publish in (trainer_pb2.PUBLISH_RULE_AT_END, trainer_pb2.PUBLISH_RULE_ON_BEST):
            terminal.note(f"published as model {name}; read a post: nonesuch generate --model {name}")
        elif run.settings.publish == trainer_pb2.PUBLISH_RULE_ON_BEST_ORIGINAL:
            terminal.note(f"what recites little enough is published as model {name}; see it with: nonesuch models list")
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

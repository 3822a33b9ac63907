"""`nonesuch models`: what the generator serves."""

from __future__ import annotations

import click

from protos import trainer_pb2
from services.client.commands import terminal
from services.client.commands.checkpoints import RunAtStep
from services.client.commands.following import percent
from services.client.nonesuch import PUBLISH_S, Nonesuch, publish_request
from services.client.writing import parse_model


@click.group()
def models() -> None:
    """Publish what was learned, take it back, delete it."""


@models.command("list")
@terminal.json_option
@click.pass_obj
def list_models(nonesuch: Nonesuch, as_json: bool) -> None:
    """List published models, newest version first.

    VERBATIM is how much of the samples of the run stood word for word in the posts when the version was saved.
    """
    found = list(nonesuch.models())
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            f"{version.model}@{version.version}",
            ", ".join([*version.aliases, *(["marked"] if version.marked else [])]),
            f"{version.run}@{version.step}" if version.run else "a base",
            f"{version.validation.bits_per_byte:.3f}" if version.HasField("validation") else "",
            percent(version.verbatim_share) if version.HasField("verbatim_share") else "",
            f"{version.num_parameters:,}",
            terminal.size(version.size_bytes),
            terminal.when(version.created_at),
        ]
        for model in found
        for version in model.versions
    ]
    headings = ["MODEL", "KEPT", "FROM", "BITS/BYTE", "VERBATIM", "PARAMETERS", "SIZE", "PUBLISHED"]
    terminal.table(headings, rows, right=["BITS/BYTE", "VERBATIM", "PARAMETERS", "SIZE"])


@models.command()
@click.argument("checkpoint", type=RunAtStep(), metavar="[RUN[@STEP]]", required=False)
@click.option("--base", default="", metavar="NAME", help="Publish a base model as it is, instead of a checkpoint.")
@click.option("--model", default="", metavar="NAME", help="Name of the model.  [default: the run's or the base's]")
@terminal.json_option
@click.pass_obj
def publish(
    nonesuch: Nonesuch, checkpoint: tuple[str, int | None] | None, base: str, model: str, as_json: bool
) -> None:
    """Publish a checkpoint as the next version of a model; without @STEP the newest one.

    The generator picks it up by itself within seconds. Of the model's older versions as many are kept as the run's
    keep_versions says, and those that are marked.
    """
    if (checkpoint is None) == (not base):
        raise click.UsageError("say what to publish: RUN, RUN@STEP or --base NAME")
    run, step = checkpoint or ("", None)
    with terminal.progress() as on_progress:
        on_progress("publishing", 0, 0)
        request = publish_request(run, step=step, base=base, model=model)
        answer = nonesuch.connection.trainer.PublishModel(request, timeout_s=PUBLISH_S)
    version = answer.version
    if as_json:
        terminal.print_json(version)
    else:
        terminal.say(f"published {version.model}@{version.version}{_origin(version)}")
        if answer.deleted_versions:
            gone = ", ".join(f"{version.model}@{number}" for number in answer.deleted_versions)
            terminal.note(f"deleted {gone}, as the run's keep_versions says; keep one with: nonesuch models mark")
        terminal.note(f"read a post: nonesuch generate --model {version.model}")


@models.command()
@click.argument("model")
@terminal.yes_option
@terminal.json_option
@click.pass_obj
def rollback(nonesuch: Nonesuch, model: str, yes: bool, as_json: bool) -> None:
    """Delete a model's newest version, so that the one before serves again."""
    terminal.confirm(f"Delete the newest version of {model}?", yes=yes)
    request = trainer_pb2.RollbackModelRequest(model=model)
    version = nonesuch.connection.trainer.RollbackModel(request, timeout_s=PUBLISH_S).version
    if as_json:
        terminal.print_json(version)
    else:
        terminal.say(f"{version.model}@{version.version}{_origin(version)} serves again")


@models.command()
@click.argument("model", metavar="MODEL[@VERSION]")
@terminal.yes_option
@click.pass_obj
def delete(nonesuch: Nonesuch, model: str, yes: bool) -> None:
    """Delete a model, or one version of it."""
    name, version, alias = parse_model(model)
    if alias:
        raise click.UsageError(f"{model!r}: give the version's number, such as {name}@1")
    terminal.confirm(f"Delete {model}{'' if version is not None else ' with all its versions'}?", yes=yes)
    nonesuch.connection.trainer.DeleteModel(trainer_pb2.DeleteModelRequest(model=name, version=version))
    terminal.say(f"model {model} deleted")


@models.command()
@click.argument("model", metavar="MODEL@VERSION")
@click.option("--off", is_flag=True, help="Take the mark away.")
@terminal.json_option
@click.pass_obj
def mark(nonesuch: Nonesuch, model: str, off: bool, as_json: bool) -> None:
    """Keep a version whatever the keep_versions of a run says."""
    name, number, _ = parse_model(model)
    if number is None:
        raise click.UsageError(f"{model!r}: give the version's number, such as {name}@1")
    version = nonesuch.mark_model(name, number, marked=not off)
    if as_json:
        terminal.print_json(version)
    else:
        terminal.say(f"{version.model}@{version.version} {'is kept' if version.marked else 'is no longer marked'}")


@models.command()
@click.argument("model")
@click.argument("alias")
@click.argument("version", type=click.IntRange(1, 10**9 - 1), required=False)
@click.option("--off", is_flag=True, help="Take the alias away.")
@terminal.json_option
@click.pass_obj
def alias(nonesuch: Nonesuch, model: str, alias: str, version: int | None, off: bool, as_json: bool) -> None:
    """Let a name mean one version: alias MODEL stable 3.

    Who names no version gets the one that `stable` means, where a model has it. The generator turns to the version
    once it is loaded, so that nothing waits; setting it to an older one is a rollback that deletes nothing.
    """
    if (version is None) != off:
        raise click.UsageError("give the version's number, or --off to take the alias away")
    request = trainer_pb2.SetModelAliasRequest(model=model, alias=alias, version=version)
    answer = nonesuch.connection.trainer.SetModelAlias(request)
    if as_json:
        terminal.print_json(answer)
    elif off:
        terminal.say(f"{model}@{alias} means nothing any more")
    else:
        terminal.say(f"{model}@{alias} means {model}@{answer.version.version}")


def _origin(version: trainer_pb2.ModelVersion) -> str:
    return f", from {version.run}@{version.step}" if version.run else ""

"""`nonesuch bases`: what runs can start from."""

from __future__ import annotations

from pathlib import Path

import click

from protos import trainer_pb2
from services.client.base_folder import import_base
from services.client.commands import terminal
from services.client.connection import pages
from services.client.nonesuch import Nonesuch


@click.group()
def bases() -> None:
    """List, import and delete the models that runs start from."""


@bases.command("list")
@terminal.json_option
@click.pass_obj
def list_bases(nonesuch: Nonesuch, as_json: bool) -> None:
    """List base models. Fresh ones start from random weights and a vocabulary of your posts."""
    found = list(pages(nonesuch.connection.trainer.ListBases, trainer_pb2.ListBasesRequest(), "bases"))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            base.name,
            "fresh" if base.fresh else "imported",
            f"{base.num_parameters:,}",
            f"{base.num_layers} x {base.width}",
            f"{base.context:,}",
            f"{base.vocabulary_size:,}",
        ]
        for base in found
    ]
    headings = ["NAME", "KIND", "PARAMETERS", "LAYERS", "CONTEXT", "VOCABULARY"]
    terminal.table(headings, rows, right=["PARAMETERS", "CONTEXT", "VOCABULARY"])


@bases.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", default="", metavar="NAME", help="What to call it.  [default: the folder's name]")
@terminal.json_option
@click.pass_obj
def import_folder(nonesuch: Nonesuch, folder: Path, name: str, as_json: bool) -> None:
    """Import a model in OpenAI's layout.

    FOLDER holds checkpoint, model.ckpt.* (or model-STEP.*), hparams.json, encoder.json and vocab.bpe.
    """
    with terminal.progress() as on_progress:
        base = import_base(nonesuch.connection, folder, name, on_progress)
    if as_json:
        terminal.print_json(base)
    else:
        terminal.say(f"base {base.name}: {base.num_parameters:,} parameters")
        terminal.note(f"start from it: nonesuch train --base {base.name}")


@bases.command()
@click.argument("base", metavar="NAME")
@terminal.yes_option
@click.pass_obj
def delete(nonesuch: Nonesuch, base: str, yes: bool) -> None:
    """Delete an imported base model."""
    terminal.confirm(f"Delete base model {base}?", yes=yes)
    nonesuch.connection.trainer.DeleteBase(trainer_pb2.DeleteBaseRequest(base=base))
    terminal.say(f"base {base} deleted")

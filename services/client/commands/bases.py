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
    """List, fetch, import and delete the models that runs start from."""


@bases.command("list")
@terminal.json_option
@click.pass_obj
def list_bases(nonesuch: Nonesuch, as_json: bool) -> None:
    """List base models: those that are here, and those that can be fetched by name.

    Fresh ones start from random weights and a vocabulary of your posts.
    """
    trainer = nonesuch.connection.trainer
    found = list(pages(trainer.ListBases, trainer_pb2.ListBasesRequest(), "bases"))
    fetches = list(pages(trainer.ListFetches, trainer_pb2.ListFetchesRequest(), "fetches"))
    known = list(pages(trainer.ListFetchableBases, trainer_pb2.ListFetchableBasesRequest(), "bases"))
    here, begun = {base.name for base in found}, {fetch.name: fetch for fetch in fetches}
    absent = [base for base in known if base.name not in here]
    others = [fetch for fetch in fetches if fetch.name not in here | {base.name for base in known}]
    if as_json:
        terminal.print_json([*found, *absent, *others])
        return
    rows = [
        [
            base.name,
            "fresh" if base.fresh else "here",
            f"{base.num_parameters:,}",
            f"{base.num_layers} x {base.width}",
            f"{base.context:,}",
            f"{base.vocabulary_size:,}",
        ]
        for base in found
    ]
    for base in absent:
        state = (
            _fetch_words(begun[base.name]) if base.name in begun else f"to fetch: {base.download_bytes / 1e9:.1f} GB"
        )
        size = f"{base.num_layers} x {base.width}"
        numbers = [f"{base.num_parameters:,}", size, f"{base.context:,}", f"{base.vocabulary_size:,}"]
        rows.append([base.name, state, *numbers])
    rows += [[fetch.name, _fetch_words(fetch), "", "", "", ""] for fetch in others]
    headings = ["NAME", "KIND", "PARAMETERS", "LAYERS", "CONTEXT", "VOCABULARY"]
    terminal.table(headings, rows, right=["PARAMETERS", "CONTEXT", "VOCABULARY"])


def _fetch_words(fetch: trainer_pb2.Fetch) -> str:
    """How far a fetch is, in a few words."""
    if fetch.state == trainer_pb2.FETCH_STATE_RUNNING and fetch.phase == trainer_pb2.FETCH_PHASE_DOWNLOADING:
        return f"fetching: {fetch.bytes_done / (fetch.bytes_total or 1):.0%}"
    words = {
        trainer_pb2.FETCH_STATE_PENDING: "waits to be fetched",
        trainer_pb2.FETCH_STATE_RUNNING: "fetching",
        trainer_pb2.FETCH_STATE_FAILED: "not fetched: failed",
        trainer_pb2.FETCH_STATE_CANCELLED: "not fetched: stopped",
    }
    return words.get(fetch.state, "fetched")


@bases.command()
@click.argument("base", metavar="BASE")
@click.option("--as", "name", default="", metavar="NAME", help="What to call it.  [default: BASE, with / as --]")
@click.option(
    "--from", "source", type=click.Choice(["hub", "openai"]), help="Where from.  [default: as the trainer is set]"
)
@terminal.json_option
@click.pass_obj
def fetch(nonesuch: Nonesuch, base: str, name: str, source: str | None, as_json: bool) -> None:
    """Fetch a model by name, from the Hugging Face hub or OpenAI's bucket.

    BASE is 124M, 355M, 774M, 1558M, distilgpt2, or <owner>/<name> of a GPT-2 on the hub. Ctrl-C stops; the same
    command goes on from what has come.
    """
    try:
        with terminal.progress() as on_progress:
            found = nonesuch.fetch_base(
                base,
                name=name,
                source=source or "",
                on_progress=on_progress,
                on_remark=terminal.note,
            )
    except KeyboardInterrupt:
        terminal.note("stopped; what has come is kept, and the same command goes on from it")
        raise
    if as_json:
        terminal.print_json(found)
    else:
        terminal.say(f"base {found.name}: {found.num_parameters:,} parameters")
        terminal.note(f"start from it: nonesuch train --base {found.name}")


@bases.command()
@click.argument("base", metavar="NAME")
@click.option("--discard", is_flag=True, help="Delete what has come.")
@click.pass_obj
def cancel(nonesuch: Nonesuch, base: str, discard: bool) -> None:
    """Stop a fetch. What has come is kept for the next time, unless it is to be discarded."""
    nonesuch.connection.trainer.CancelFetch(trainer_pb2.CancelFetchRequest(name=base, discard=discard))
    kept = "nothing is kept" if discard else f"go on with: nonesuch bases fetch {base}"
    terminal.say(f"the fetch of {base} is stopped; {kept}")


@bases.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", default="", metavar="NAME", help="What to call it.  [default: the folder's name]")
@terminal.json_option
@click.pass_obj
def import_folder(nonesuch: Nonesuch, folder: Path, name: str, as_json: bool) -> None:
    """Import a model in OpenAI's or Hugging Face's layout.

    FOLDER holds checkpoint, model.ckpt.* (or model-STEP.*), hparams.json, encoder.json and vocab.bpe, as OpenAI's
    and gpt-2-simple's do; or config.json, model.safetensors, vocab.json and merges.txt, as transformers' do.
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

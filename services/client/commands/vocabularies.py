"""`nonesuch vocabulary`: the vocabularies that text is turned into tokens with."""

from __future__ import annotations

import click

from protos import tokenizer_pb2
from services.client.commands import terminal
from services.client.commands.posts import corpus_option
from services.client.connection import pages
from services.client.nonesuch import Nonesuch

TRAIN_S = 6 * 3600.0  # on a large corpus


@click.group()
def vocabulary() -> None:
    """Train vocabularies, look at them, delete them."""


@vocabulary.command("list")
@terminal.json_option
@click.pass_obj
def list_vocabularies(nonesuch: Nonesuch, as_json: bool) -> None:
    """List vocabularies, those of base models included."""
    request = tokenizer_pb2.ListVocabulariesRequest()
    found = list(pages(nonesuch.connection.tokenizer.ListVocabularies, request, "vocabularies"))
    if as_json:
        terminal.print_json(found)
        return
    rows = [[entry.id, f"{entry.size:,}", _bytes_per_token(entry), terminal.when(entry.created_at)] for entry in found]
    terminal.table(["ID", "ENTRIES", "BYTES/TOKEN", "CREATED"], rows, right=["ENTRIES", "BYTES/TOKEN"])


@vocabulary.command()
@corpus_option
@click.option("--size", type=click.IntRange(min=257), required=True, help="Entries, bytes and end-of-text included.")
@terminal.json_option
@click.pass_obj
def train(nonesuch: Nonesuch, corpus: str, size: int, as_json: bool) -> None:
    """Train a vocabulary on the present posts. `dataset build` does this by itself when asked."""
    request = tokenizer_pb2.TrainVocabularyRequest(corpus=corpus, size=size)
    with terminal.progress() as on_progress:
        on_progress("training a vocabulary", 0, 0)
        entry = nonesuch.connection.tokenizer.TrainVocabulary(request, timeout_s=TRAIN_S).vocabulary
    if as_json:
        terminal.print_json(entry)
        return
    pairs = [("vocabulary", entry.id), ("entries", f"{entry.size:,}"), ("bytes per token", _bytes_per_token(entry))]
    terminal.facts(pairs)


@vocabulary.command()
@click.argument("vocabulary_id", metavar="VOCABULARY")
@terminal.yes_option
@click.pass_obj
def delete(nonesuch: Nonesuch, vocabulary_id: str, yes: bool) -> None:
    """Delete a vocabulary. Datasets hold copies and stay."""
    terminal.confirm(f"Delete vocabulary {vocabulary_id}?", yes=yes)
    request = tokenizer_pb2.DeleteVocabularyRequest(vocabulary=vocabulary_id)
    nonesuch.connection.tokenizer.DeleteVocabulary(request)
    terminal.say(f"vocabulary {vocabulary_id} deleted")


def _bytes_per_token(entry: tokenizer_pb2.Vocabulary) -> str:
    return f"{entry.bytes_per_token:.2f}" if entry.HasField("bytes_per_token") else "-"

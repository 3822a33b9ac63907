"""`nonesuch tokens`: text to token ids and back."""

from __future__ import annotations

import sys

import click

from protos import tokenizer_pb2
from services.client.commands import terminal
from services.client.connection import pages
from services.client.nonesuch import Nonesuch
from services.common.errors import InvalidRequest, NotFound

MAX_TEXT_BYTES = 4 << 20  # the tokenizer's limit per request

vocabulary_option = click.option(
    "--vocabulary",
    default="",
    metavar="NAME",
    help="A vocabulary or base model.  [default: the newest vocabulary]",
)


@click.group()
def tokens() -> None:
    """Turn text into token ids and back, or count them."""


@tokens.command()
@click.argument("text", required=False)
@vocabulary_option
@terminal.json_option
@click.pass_obj
def encode(nonesuch: Nonesuch, text: str | None, vocabulary: str, as_json: bool) -> None:
    """Print the token ids of TEXT, or of standard input."""
    given = _text(text)
    request = tokenizer_pb2.EncodeRequest(vocabulary=_vocabulary(nonesuch, vocabulary), text=given)
    response = nonesuch.connection.tokenizer.Encode(request)
    if as_json:
        terminal.print_json(response)
    else:
        terminal.say(" ".join(map(str, response.ids)))


@tokens.command()
@click.argument("ids", nargs=-1)
@vocabulary_option
@terminal.json_option
@click.pass_obj
def decode(nonesuch: Nonesuch, ids: tuple[str, ...], vocabulary: str, as_json: bool) -> None:
    """Print the text of token IDS, or of those on standard input."""
    words = " ".join(ids or [sys.stdin.read()]).replace(",", " ").strip("[] \n").split()
    wrong = next((word for word in words if not (word.isascii() and word.isdigit() and int(word) < 1 << 31)), None)
    if wrong is not None:
        raise click.UsageError(f"{wrong!r} is not a token id: expected whole numbers")
    request = tokenizer_pb2.DecodeRequest(vocabulary=_vocabulary(nonesuch, vocabulary), ids=map(int, words))
    response = nonesuch.connection.tokenizer.Decode(request)
    if as_json:
        terminal.print_json(response)
    else:
        terminal.say(response.text)


@tokens.command()
@click.argument("text", required=False)
@vocabulary_option
@terminal.json_option
@click.pass_obj
def count(nonesuch: Nonesuch, text: str | None, vocabulary: str, as_json: bool) -> None:
    """Count the tokens of TEXT, or of standard input."""
    given = _text(text)
    request = tokenizer_pb2.CountTokensRequest(vocabulary=_vocabulary(nonesuch, vocabulary), text=given)
    response = nonesuch.connection.tokenizer.CountTokens(request)
    if as_json:
        terminal.print_json(response)
    else:
        terminal.say(f"{response.num_tokens} tokens, {response.num_bytes} bytes")


def _text(argument: str | None) -> str:
    """The argument, or standard input when there is none or it is `-`."""
    if argument is None or argument == "-":
        content = sys.stdin.buffer.read()
    else:
        content = argument.encode(errors="surrogateescape")
    if len(content) > MAX_TEXT_BYTES:
        raise InvalidRequest(f"the text has {terminal.size(len(content))}; send at most 4 MiB at a time", field="text")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the text is not UTF-8 at byte {error.start}; convert it first", field="text") from None


def _vocabulary(nonesuch: Nonesuch, name: str) -> str:
    """The name, or that of the vocabulary made last."""
    if name:
        return name
    request = tokenizer_pb2.ListVocabulariesRequest()
    found = list(pages(nonesuch.connection.tokenizer.ListVocabularies, request, "vocabularies"))
    if not found:
        raise NotFound("there is no vocabulary yet; make one with `nonesuch dataset build`, or `nonesuch bases import`")
    newest = max(found, key=lambda entry: (not entry.from_base, entry.created_at.ToNanoseconds(), entry.id))
    terminal.note(f"vocabulary {newest.id}")
    return str(newest.id)

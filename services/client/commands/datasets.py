"""`nonesuch dataset`: a corpus as token ids, ready to be learned from."""

from __future__ import annotations

from pathlib import Path

import click

from protos import tokenizer_pb2, trainer_pb2
from services.client import bases, exchange, preparing
from services.client.commands import terminal
from services.client.commands.plain import enum_name
from services.client.commands.posts import corpus_option
from services.client.connection import pages
from services.client.nonesuch import Nonesuch
from services.common.errors import FailedPrecondition, Unavailable

LARGEST_SIZE = 2**31 - 1  # that the wire holds; the tokenizer's own limit is lower


class VocabularyChoice(click.ParamType):
    """`own`, `own:SIZE` or a name; a size stands for `own`, 0 for the size that the default base asks for."""

    name = "own[:SIZE]|NAME"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Return a size to train, or a name."""
        if isinstance(value, int):
            return value
        kind, separator, size = value.partition(":")
        if kind != "own":
            return value
        if not separator:
            return 0
        if not (size.isascii() and size.isdigit() and 0 < int(size) <= LARGEST_SIZE):
            self.fail(f"{value!r}: expected own:SIZE, such as own:4096", param, ctx)
        return int(size)


format_option = click.option(
    "--format",
    "form",
    type=click.Choice(exchange.FORMATS),
    help="  [default for import: the files' ending]",
)


@click.group()
def dataset() -> None:
    """Build datasets, export and import them, look at them, delete them."""


@dataset.command()
@corpus_option
@click.option(
    "--vocabulary",
    type=VocabularyChoice(),
    default="own",
    show_default=True,
    help="Train one on the corpus, or take that of a base model or an earlier one.",
)
@click.option("--validation-fraction", type=float, help="Share of documents held out.  [default: 0.1]")
@click.option("--header/--no-header", default=None, help="Write title, tags and date in front of each document.")
@terminal.json_option
@click.pass_obj
def build(
    nonesuch: Nonesuch,
    corpus: str,
    vocabulary: str | int,
    validation_fraction: float | None,
    header: bool | None,
    as_json: bool,
) -> None:
    """Build a dataset from the present posts. `train` does this by itself when it must."""
    if vocabulary == 0:  # so that `train` finds this dataset
        vocabulary = bases.find_base(nonesuch.connection, bases.DEFAULT_BASE).vocabulary_size
    with terminal.progress() as on_progress:
        built = preparing.build_dataset(
            nonesuch.connection,
            corpus=corpus,
            vocabulary=vocabulary,
            validation_fraction=validation_fraction,
            header=header,
            on_progress=on_progress,
        )
    _print(built, as_json)


@dataset.command("list")
@terminal.json_option
@click.pass_obj
def list_datasets(nonesuch: Nonesuch, as_json: bool) -> None:
    """List datasets, newest first."""
    found = list(pages(nonesuch.connection.tokenizer.ListDatasets, tokenizer_pb2.ListDatasetsRequest(), "datasets"))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            entry.id,
            enum_name(entry, "state"),
            entry.corpus,
            entry.vocabulary,
            f"{entry.num_documents:,}",
            f"{entry.num_tokens:,}",
            terminal.when(entry.created_at),
        ]
        for entry in found
    ]
    headings = ["ID", "STATE", "CORPUS", "VOCABULARY", "DOCUMENTS", "TOKENS", "CREATED"]
    terminal.table(headings, rows, right=["DOCUMENTS", "TOKENS"])


@dataset.command()
@click.argument("dataset_id", metavar="DATASET")
@terminal.json_option
@click.pass_obj
def show(nonesuch: Nonesuch, dataset_id: str, as_json: bool) -> None:
    """Show a dataset."""
    request = tokenizer_pb2.GetDatasetRequest(dataset=dataset_id)
    _print(nonesuch.connection.tokenizer.GetDataset(request).dataset, as_json)


@dataset.command()
@click.argument("dataset_id", metavar="DATASET")
@terminal.yes_option
@click.pass_obj
def delete(nonesuch: Nonesuch, dataset_id: str, yes: bool) -> None:
    """Delete a dataset. Runs that learned from it can still be published, but not resumed or repeated without it."""
    users = _learned_from(nonesuch, dataset_id)
    active = [run.name for run in users if run.state in (trainer_pb2.RUN_STATE_PENDING, trainer_pb2.RUN_STATE_RUNNING)]
    if active:
        raise FailedPrecondition(
            f"{', '.join(active)} {'learns' if len(active) == 1 else 'learn'} from dataset {dataset_id}: "
            "stop first, or wait",
            metadata={"dataset": dataset_id},
        )
    if users:
        names = ", ".join(run.name for run in users)
        terminal.note(f"{names}: published as before, but not resumed or repeated without this dataset")
    terminal.confirm(f"Delete dataset {dataset_id}?", yes=yes)
    nonesuch.connection.tokenizer.DeleteDataset(tokenizer_pb2.DeleteDatasetRequest(dataset=dataset_id))
    terminal.say(f"dataset {dataset_id} deleted")


def _learned_from(nonesuch: Nonesuch, dataset_id: str) -> list[trainer_pb2.Run]:
    """The runs of a dataset; none where the trainer is down: it does not train then."""
    try:
        return [run for run in nonesuch.runs() if run.dataset == dataset_id]
    except Unavailable:
        return []


@dataset.command("export")
@click.argument("dataset_id", metavar="DATASET")
@format_option
@click.option("--to", "folder", type=click.Path(path_type=Path), help="New folder.  [default: DATASET-FORMAT]")
@terminal.json_option
@click.pass_obj
def export_files(nonesuch: Nonesuch, dataset_id: str, form: str | None, folder: Path | None, as_json: bool) -> None:
    """Write a dataset as files that other tools read.

    \b
      npz    nshepperd/gpt-2 and gpt-2-simple: token ids
      bin    nanoGPT: 16-bit token ids
      jsonl  a JSON object a line: id, path, title, tags, date, text, split
      txt    the documents, a line <|endoftext|> behind each
      csv    gpt-2-simple: one column (which reads at most 131,072 characters a row)

    In txt and csv an author's own <|endoftext|> is written with a zero-width space in it, which the import takes out.
    """
    if not form:
        raise click.UsageError(f"say --format {'|'.join(exchange.FORMATS)}")
    target = folder or Path(f"{dataset_id}-{form}")
    with terminal.progress() as on_progress:
        done = exchange.export_dataset(nonesuch.connection, dataset_id, form, target, on_progress)
    if as_json:
        terminal.print_json(done)
    else:
        terminal.say(f"{target}: {done.num_documents:,} documents, {done.num_tokens:,} tokens")


@dataset.command("import", short_help="Make a dataset from the files of other tools.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@format_option
@click.option(
    "--vocabulary",
    type=VocabularyChoice(),
    help="That of the token ids, or to encode with; own:SIZE trains one on the text.  "
    "[default: the one beside the files, or own]",
)
@click.option("--corpus", default="", help="Name of the corpus that it is said to be of.  [default: imported]")
@click.option("--validation-fraction", type=float, help="Share held out where the files do not tell.  [default: 0.1]")
@click.option(
    "--header/--no-header",
    default=None,
    help="jsonl: write title, tags and date in front of each document. "
    "Others: whether they stand there already.  [default: write; find out]",
)
@terminal.json_option
@click.pass_obj
def import_files(
    nonesuch: Nonesuch,
    paths: tuple[Path, ...],
    form: str | None,
    vocabulary: str | int | None,
    corpus: str,
    validation_fraction: float | None,
    header: bool | None,
    as_json: bool,
) -> None:
    """Make a dataset from FILEs of other tools, or from a folder of them.

    Files called train and val say which documents are held out. Token ids (npz, bin) need the vocabulary that they
    were made with.
    """
    files, form = exchange.find_files(paths, form or "")
    if vocabulary is None and form in exchange.TOKEN_FORMATS:
        vocabulary = exchange.vocabulary_beside(nonesuch.connection, files)
        if not vocabulary:
            raise click.UsageError("token ids need the vocabulary that they were made with: say --vocabulary NAME")
    if vocabulary in (None, 0):
        vocabulary = bases.find_base(nonesuch.connection, bases.DEFAULT_BASE).vocabulary_size
    with terminal.progress() as on_progress:
        response = exchange.import_dataset(
            nonesuch.connection,
            files,
            form,
            corpus=corpus,
            vocabulary=vocabulary,
            validation_fraction=validation_fraction,
            header=header,
            on_progress=on_progress,
        )
    if response.num_empty_documents:
        terminal.note(f"{terminal.count(response.num_empty_documents, 'document')} without text left out")
    _print(response.dataset, as_json)


def _print(entry: tokenizer_pb2.Dataset, as_json: bool) -> None:
    if as_json:
        terminal.print_json(entry)
        return
    terminal.facts(
        [
            ("dataset", entry.id),
            ("state", enum_name(entry, "state")),
            ("error", entry.error),
            ("corpus", entry.corpus),
            ("snapshot", entry.snapshot),
            (
                "vocabulary",
                f"{entry.vocabulary} ({entry.vocabulary_size:,} entries)" if entry.vocabulary else "",
            ),
            ("header", entry.header_format),
            ("documents", f"{entry.num_documents:,}"),
            (
                "tokens",
                f"{entry.num_tokens:,} ({entry.num_train_tokens:,} to learn from, "
                f"{entry.num_validation_tokens:,} held out)",
            ),
            ("created", terminal.when(entry.created_at)),
        ]
    )

"""`nonesuch samples`: what a run wrote while it learned."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import click

from protos import trainer_pb2
from services.client import post as posts
from services.client.commands import terminal
from services.client.commands.following import percent
from services.client.nonesuch import Nonesuch
from services.common.errors import AlreadyExists, NonesuchError, NotFound

step_option = click.option("--step", type=int, help="Of this step only.")


@click.group()
def samples() -> None:
    """Read what a run wrote while it learned."""


@samples.command("list")
@click.argument("run")
@terminal.json_option
@click.pass_obj
def list_samples(nonesuch: Nonesuch, run: str, as_json: bool) -> None:
    """List a run's samples with their first words.

    VERBATIM is how much of a sample stands word for word in the posts, LONGEST its longest run of them in tokens.
    """
    found = list(nonesuch.samples(run))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            *(f"{sample.step:,}", str(sample.index), f"{sample.temperature:g}", sample.prompt),
            f"{len(sample.text.split()):,}",
            percent(sample.verbatim_share) if sample.HasField("verbatim_share") else "",
            f"{sample.longest_run_tokens:,}" if sample.HasField("longest_run_tokens") else "",
            _beginning(sample.text),
        ]
        for sample in found
    ]
    headings = ["STEP", "SAMPLE", "TEMPERATURE", "PROMPT", "WORDS", "VERBATIM", "LONGEST", "BEGINS"]
    terminal.table(headings, rows, right=["STEP", "SAMPLE", "TEMPERATURE", "WORDS", "VERBATIM", "LONGEST"])


def _beginning(text: str) -> str:
    parsed = posts.parse(text)
    words = " ".join((parsed.title or parsed.body).split())
    return words if len(words) <= 60 else words[:59] + "…"


@samples.command()
@click.argument("run")
@step_option
@click.option("--index", type=int, help="This sample of the step only, from 1.")
@terminal.json_option
@click.pass_obj
def show(nonesuch: Nonesuch, run: str, step: int | None, index: int | None, as_json: bool) -> None:
    """Show the samples of a step; without --step, of the newest."""
    found = list(nonesuch.samples(run))
    if step is None and found:
        step = found[-1].step
    chosen = [sample for sample in found if sample.step == step and index in (None, sample.index)]
    if not chosen:
        raise _none(run, step, found)
    if as_json:
        terminal.print_json(chosen)
        return
    for sample in chosen:
        terminal.print_sample(sample, with_title=len(chosen) > 1)
    terminal.note(f"{run}, step {step:,}")


@samples.command()
@click.argument("run")
@step_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.  [default: RUN-samples]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["txt", "md"]),
    default="txt",
    show_default=True,
    help="txt: a file per step, as the 2019 script wrote them. md: a Markdown post per sample.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@terminal.json_option
@click.pass_obj
def export(
    nonesuch: Nonesuch, run: str, step: int | None, output: Path | None, form: str, force: bool, as_json: bool
) -> None:
    """Write a run's samples to files."""
    found = list(nonesuch.samples(run))
    chosen = [sample for sample in found if step in (None, sample.step)]
    if not chosen:
        raise _none(run, step, found)
    folder = output or Path(f"{run}-samples")
    contents = _as_posts(chosen) if form == "md" else _as_2019(chosen)
    taken = [folder / name for name in contents if (folder / name).exists()]
    if taken and not force:
        raise AlreadyExists(f"{taken[0]} is there already; give another --output, or --force to replace it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise NonesuchError(f"cannot write to {folder}: {error.strerror}; give another --output") from error
    if as_json:
        terminal.print_json([str(folder / name) for name in contents])
    else:
        terminal.say(f"{terminal.count(len(chosen), 'sample')} in {terminal.count(len(contents), 'file')} in {folder}")


def _as_2019(chosen: list[trainer_pb2.Sample]) -> dict[str, str]:
    """A file per step in train.py's layout."""
    return {
        f"samples-{step}": "".join(f"======== SAMPLE {sample.index} ========\n{sample.text}\n" for sample in group)
        for step, group in groupby(chosen, key=lambda sample: sample.step)
    }


def _as_posts(chosen: list[trainer_pb2.Sample]) -> dict[str, str]:
    """A file per sample, with its header as front matter."""
    return {f"sample-{sample.step}-{sample.index}.md": posts.as_markdown(posts.parse(sample.text)) for sample in chosen}


def _none(run: str, step: int | None, found: list[trainer_pb2.Sample]) -> NotFound:
    if not found:
        return NotFound(f"{run} has written no sample yet; `nonesuch train --sample-every N` says how often it does")
    steps = ", ".join(str(known) for known in sorted({sample.step for sample in found}))
    return NotFound(f"{run} has no such sample at step {step}; it has samples of step {steps}")

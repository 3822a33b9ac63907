"""`nonesuch generate`: read new posts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import click

from services.client import writing
from services.client.commands import terminal
from services.client.commands.writer import WAIT_S, Writer
from services.client.connection import Service
from services.client.nonesuch import Nonesuch
from services.common import rpc
from services.common.errors import Busy, InvalidRequest, Unavailable

FOREVER_S = 3600.0  # --forever outlasts a full queue or a restart of the generator


def _address(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        rpc.split_address(value or "x:1")
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


generator_option = click.option(
    "--generator", default="", metavar="ADDRESS", callback=_address, help="Ask the generator at HOST:PORT."
)


def _biases(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[int, float]:
    biases = {}
    for value in values:
        token_id, _, bias = value.partition("=")
        try:
            biases[int(token_id)] = float(bias)
        except ValueError:
            raise click.BadParameter(f"{value!r}: expected ID=VALUE, such as 198=-100") from None
    return biases


# Field of GenerateRequest or SamplingParameters, option, type, help.
_OPTIONS: tuple[tuple[str, str, Any, str], ...] = (
    ("max_new_tokens", "--length", int, "Most tokens to write.  [default: what the context leaves]"),
    ("min_new_tokens", "--min-length", int, "Fewest tokens to write."),
    (
        "temperature",
        "--temperature",
        float,
        "Above 1 is wilder, below 1 tamer, 0 always the likeliest.  [default: 1]",
    ),
    ("top_k", "--top-k", int, "Choose among the K likeliest tokens; 0 among all.  [default: 40]"),
    ("top_p", "--top-p", float, "Choose among the likeliest tokens that make up P.  [default: 1]"),
    ("min_p", "--min-p", float, "Drop tokens less likely than P times the likeliest."),
    ("typical_p", "--typical-p", float, "Locally typical sampling with this mass."),
    ("repetition_penalty", "--repetition-penalty", float, "Above 1 makes tokens seen before less likely."),
    ("presence_penalty", "--presence-penalty", float, "Subtracted once for a token already written."),
    ("frequency_penalty", "--frequency-penalty", float, "Subtracted for each time a token was written."),
    ("no_repeat_ngram", "--no-repeat-ngram", int, "Never write the same N tokens twice."),
    ("seed", "--seed", int, "Same seed, same text. With --forever each round adds 1."),
    ("best_of", "--best-of", int, "Write this many and keep the likeliest."),
    ("slide_keep", "--slide-keep", int, "Tokens of the prompt that stay when sliding."),
    ("logprobs", "--logprobs", int, "With --json: log-probabilities, and so many alternatives."),
    (
        "max_verbatim_tokens",
        "--max-verbatim-tokens",
        int,
        "Longest run of tokens that may stand in the corpus.",
    ),
)


def _parameter_options(command: Callable[..., None]) -> Callable[..., None]:
    for name, option, kind, help_text in reversed(_OPTIONS):
        command = click.option(option, name, type=kind, help=help_text)(command)
    return command


@click.command(short_help="Write new posts, or go on from a prompt.")
@click.argument("prompt", required=False)
@click.option("-n", "num_samples", type=click.IntRange(min=1), default=1, show_default=True, help="Samples to write.")
@click.option("--forever", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--interactive", is_flag=True, help="Ask for a prompt, write, and ask again.")
@click.option("--stream", "as_stream", is_flag=True, help="Print the text while it is written.")
@click.option("--model", default="", metavar="NAME[@VERSION]", help="Which model.  [default: the one published last]")
@_parameter_options
@click.option("--stop", multiple=True, metavar="TEXT", help="End the sample before this text. May be repeated.")
@click.option("--stop-id", "stop_ids", multiple=True, type=int, metavar="ID", help="End the sample at this token id.")
@click.option("--logit-bias", multiple=True, metavar="ID=VALUE", callback=_biases, help="Added to a token's logit.")
@click.option("--ignore-end-of-text", is_flag=True, help="Never end a sample by itself.")
@click.option("--slide", is_flag=True, help="Go on when the context is full, forgetting the oldest half.")
@click.option("--echo", is_flag=True, help="Begin the text with the prompt.")
@click.option(
    "--originality", is_flag=True, help="Say what stands word for word in the posts it learned, and colour it."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the samples to a new file samples-<N> in this folder, a header line before each.",
)
@click.option("--min-words", type=click.IntRange(min=1), metavar="N", help="Draw again until a sample has N words.")
@click.option("--wait", is_flag=True, help=f"Wait up to {WAIT_S:.0f} s for a model that was just published.")
@generator_option
@terminal.json_option
@click.pass_obj
def generate(
    nonesuch: Nonesuch,
    /,
    prompt: str | None,
    num_samples: int,
    forever: bool,
    interactive: bool,
    as_stream: bool,
    min_words: int | None,
    out: Path | None,
    wait: bool,
    generator: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Write new posts, or go on from PROMPT (`-` reads it from standard input)."""
    if forever and interactive:
        raise click.UsageError("--forever and --interactive do not go together")
    if interactive and prompt is not None:
        raise click.UsageError("--interactive asks for the prompt; leave PROMPT out")
    if as_stream and options["best_of"] is not None:
        raise click.UsageError("--best-of chooses among whole samples; leave --stream out")
    if min_words and (as_stream or num_samples > 1 or interactive):
        raise click.UsageError(
            "--min-words draws whole samples, one at a time; leave --stream, --interactive and -n out"
        )
    if generator:
        nonesuch.connection.generator = Service("generator", generator)
    if out is not None and (interactive or as_stream):
        raise click.UsageError("--out writes whole samples to a file; leave --interactive and --stream out")
    given = _prompt(prompt)
    flags = {name: value or None for name, value in options.items() if isinstance(value, bool)}
    options |= flags
    try:
        request = writing.make_request(given, n=num_samples, **options)
    except ValueError as error:  # a number too large for the field
        raise click.UsageError(str(error)) from None
    writer = Writer(nonesuch, request, as_stream=as_stream, as_json=as_json, wait=wait, out=out)
    writer.min_words = min_words or 0
    if interactive:
        _converse(writer)
    elif forever:
        _go_on(writer)
    else:
        writer.write()


def _go_on(writer: Writer) -> None:
    """Rounds until Ctrl-C, each with its own seed, over full queues and restarts."""
    writer.is_numbered = True
    first_seed = writer.request.seed if writer.request.HasField("seed") else None
    for number in count():
        if first_seed is not None:
            writer.request.seed = (first_seed + number * writer.num_parts) % (1 << 64)
        writing.patiently(lambda: _one_round(writer), FOREVER_S if number else writer.patience_s)


def _one_round(writer: Writer) -> None:
    """One round; a generator that went away in the middle of it is worth another try."""
    try:
        writer.write(as_line=True)
    except (Busy, Unavailable) as error:
        if writer.num_written and error.retry_after_s is None:
            terminal.note(f"{error.message}; trying again")
            error.retry_after_s = 2.0
        raise


def _converse(writer: Writer) -> None:
    """Prompts from the terminal or from standard input, one a line, until the end of input."""
    while True:
        line = _read_line()
        if line is None:
            return
        if not line.strip():
            continue
        writer.request.prompt = line
        try:
            writer.write(as_line=True)
        except InvalidRequest as error:
            terminal.complain(error)  # such as a prompt that is too long: the next one may be fine
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            terminal.note("given up")


def _read_line() -> str | None:
    """A line without its end, or None at the end of input."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    try:
        if sys.stdout.isatty():
            import readline  # noqa: F401 - gives input() line editing and history

            return input("> ")
        terminal.err().print("> ", end="")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except EOFError:
        terminal.say()
        return None


def _prompt(argument: str | None) -> str:
    if argument != "-":
        return argument or ""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        message = f"the prompt is not UTF-8 at byte {error.start}; convert it first"
        raise InvalidRequest(message, field="prompt") from None

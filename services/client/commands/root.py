"""`nonesuch`: the top of the command, its help, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from services.client import settings
from services.client.commands import terminal
from services.client.commands.bases import bases
from services.client.commands.checkpoints import checkpoints
from services.client.commands.corpus import corpus
from services.client.commands.datasets import dataset
from services.client.commands.generate import generate
from services.client.commands.models import models
from services.client.commands.post import post
from services.client.commands.posts import posts
from services.client.commands.runs import runs
from services.client.commands.samples import samples
from services.client.commands.shelf import shelf
from services.client.commands.status import status
from services.client.commands.tokens import tokens
from services.client.commands.train import train
from services.client.commands.vocabularies import vocabulary
from services.client.nonesuch import Nonesuch
from services.common.errors import InvalidRequest, NonesuchError
from services.common.settings import SettingsError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE

_SECTIONS = {
    "From posts to a model": ("posts", "corpus", "dataset", "bases", "train", "runs", "checkpoints", "samples"),
    "From a model to posts": ("models", "generate", "post", "shelf"),
    "Around it": ("vocabulary", "tokens", "status"),
}


class Root(click.Group):
    """A group that lists its commands by purpose and turns errors into messages and exit statuses."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their headings."""
        for heading, names in _SECTIONS.items():
            with formatter.section(heading):
                rows = [(name, self.commands[name].get_short_help_str(limit=90)) for name in names]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every foreseen failure ends here."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except NonesuchError as error:
            terminal.complain(error)
            raise SystemExit(1) from None
        except UnicodeEncodeError as error:
            if not any(error.object in argument for argument in sys.argv):
                raise  # not for what was typed: the terminal cannot show a character
            terminal.complain(InvalidRequest(f"{error.object!r} is not UTF-8; convert it first"))
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader left. Python would complain when it flushes at exit: give it somewhere to write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(PIPE_CLOSED) from None
        return result


@click.group(
    cls=Root,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        # The 2019 scripts spelled options with underscores; fingers remember.
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
)
@click.pass_context
def root(context: click.Context) -> None:
    """Learn a person's voice from their posts, and write posts that do not exist.

    \b
      nonesuch posts add ~/blog/_posts      bring in the posts
      nonesuch train --follow               learn from them; Ctrl-C stops, the same command goes on
      nonesuch models publish run1          let the generator serve what was learnt
      nonesuch generate                     read a new post

    Every command has --help, and --json where a script would want it.
    """
    if not isinstance(context.obj, Nonesuch):
        try:
            context.obj = Nonesuch(settings.from_environment())
        except (SettingsError, ValueError) as error:
            raise click.UsageError(str(error)) from None
    context.call_on_close(context.obj.close)


for command in (
    *(posts, corpus, dataset, bases, train, runs, checkpoints, samples),
    *(models, generate, post, shelf, vocabulary, tokens, status),
):
    root.add_command(command)

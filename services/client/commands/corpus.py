"""`nonesuch corpus`: what corpora there are, how their posts are cleaned and chosen, their snapshots."""

from __future__ import annotations

import click

from protos import corpus_pb2
from services.client.commands import terminal
from services.client.commands.corpus_report import report
from services.client.commands.posts import corpus_option
from services.client.connection import pages
from services.client.nonesuch import Nonesuch
from services.client.rules import RULES, change_rule, rule_choices, rule_words
from services.client.uploading import set_rules


@click.group()
def corpus() -> None:
    """Look at corpora, and say how their posts are cleaned and chosen."""


corpus.add_command(report)


@corpus.command("list")
@terminal.json_option
@click.pass_obj
def list_corpora(nonesuch: Nonesuch, as_json: bool) -> None:
    """List corpora by name."""
    found = list(pages(nonesuch.connection.corpus.ListCorpora, corpus_pb2.ListCorporaRequest(), "corpora"))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            entry.name,
            f"{entry.num_posts:,}",
            f"{entry.num_documents:,}",
            f"{entry.num_words:,}",
            terminal.when(entry.updated_at),
        ]
        for entry in found
    ]
    headings = ["NAME", "POSTS", "DOCUMENTS", "WORDS", "CHANGED"]
    terminal.table(headings, rows, right=["POSTS", "DOCUMENTS", "WORDS"])


@corpus.command()
@corpus_option
@terminal.json_option
@click.pass_obj
def show(nonesuch: Nonesuch, corpus: str, as_json: bool) -> None:
    """Show how much a corpus holds."""
    found = nonesuch.connection.corpus.GetCorpus(corpus_pb2.GetCorpusRequest(corpus=corpus)).corpus
    if as_json:
        terminal.print_json(found)
        return
    terminal.facts(
        [
            ("corpus", found.name),
            ("posts", f"{found.num_posts:,}"),
            ("left out", f"{found.num_posts - found.num_documents:,}"),
            ("documents", f"{found.num_documents:,}"),
            ("words", f"{found.num_words:,}"),
            ("changed", terminal.when(found.updated_at)),
        ]
    )


@corpus.command()
@corpus_option
@click.option(
    "--set", "changes", multiple=True, metavar="RULE=VALUE", help="Change a rule; lists are parted by commas."
)
@click.option("--reset", is_flag=True, help="Give every rule its default first.")
@terminal.json_option
@click.pass_obj
def rules(nonesuch: Nonesuch, corpus: str, changes: tuple[str, ...], reset: bool, as_json: bool) -> None:
    """Show how a corpus's posts are cleaned and chosen, or change it.

    \b
      nonesuch corpus rules --set keep_code=false --set exclude_tags=work,links
      nonesuch corpus rules --set exclude_tags=     back to its default
      nonesuch corpus rules --reset                 all back to their defaults
    """
    found = nonesuch.connection.corpus.GetCorpus(corpus_pb2.GetCorpusRequest(corpus=corpus)).corpus
    if changes or reset:
        wanted = corpus_pb2.CleaningRules() if reset else found.rules
        for words in changes:
            change_rule(wanted, words)
        before = _taken(nonesuch, corpus)
        set_rules(nonesuch.connection, corpus, wanted)
        after = _taken(nonesuch, corpus)
        found = nonesuch.connection.corpus.GetCorpus(corpus_pb2.GetCorpusRequest(corpus=corpus)).corpus
        if not as_json:
            came, went = terminal.count(len(after - before), "post"), terminal.count(len(before - after), "post")
            documents, words = terminal.count(found.num_documents, "document"), terminal.count(found.num_words, "word")
            terminal.say(f"{came} came in, {went} went out; corpus {corpus}: {documents}, {words}")
            return
    if as_json:
        terminal.print_json(found.rules)
        return
    rows = []
    for name, rule in RULES.items():
        choices = rule_choices(name)
        meaning = f"{rule.meaning} One of {', '.join(choices)}." if choices else rule.meaning
        rows.append([name, rule_words(found.rules, name), rule.default, meaning])
    terminal.table(["RULE", "VALUE", "DEFAULT", "MEANING"], rows)
    if found.cutoff_date:
        terminal.say(f"\nposts dated after {found.cutoff_date} are future ones")


def _taken(nonesuch: Nonesuch, corpus: str) -> set[str]:
    return {post.path for post in nonesuch.posts(corpus) if post.included}


@corpus.command()
@corpus_option
@terminal.json_option
@click.pass_obj
def snapshots(nonesuch: Nonesuch, corpus: str, as_json: bool) -> None:
    """List a corpus's snapshots, newest first."""
    request = corpus_pb2.ListSnapshotsRequest(corpus=corpus)
    found = list(pages(nonesuch.connection.corpus.ListSnapshots, request, "snapshots"))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [entry.digest, f"{entry.num_documents:,}", f"{entry.num_words:,}", terminal.when(entry.created_at)]
        for entry in found
    ]
    terminal.table(["DIGEST", "DOCUMENTS", "WORDS", "TAKEN"], rows, right=["DOCUMENTS", "WORDS"])


@corpus.command()
@corpus_option
@terminal.yes_option
@click.pass_obj
def delete(nonesuch: Nonesuch, corpus: str, yes: bool) -> None:
    """Delete a corpus with its posts and snapshots. Your own files and datasets built from it stay."""
    terminal.confirm(f"Delete corpus {corpus} with its posts and snapshots?", yes=yes)
    nonesuch.connection.corpus.DeleteCorpus(corpus_pb2.DeleteCorpusRequest(corpus=corpus))
    terminal.say(f"corpus {corpus} deleted")

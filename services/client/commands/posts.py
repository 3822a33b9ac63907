"""`nonesuch posts`: bring posts in, look at them, take them out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import click

from protos import corpus_pb2
from services.client.commands import terminal
from services.client.commands.before_after import print_before_after
from services.client.commands.plain import enum_name
from services.client.nonesuch import Nonesuch
from services.client.preparing import DEFAULT_CORPUS
from services.common.errors import NonesuchError

MAX_LISTED = 20  # reasons shown one by one; the rest is counted

corpus_option = click.option(
    "--corpus", default=DEFAULT_CORPUS, show_default=True, metavar="NAME", help="Which corpus."
)


@click.group()
def posts() -> None:
    """Bring posts in, look at them, take them out."""


@posts.command(short_help="Bring in folders, posts, archives and exports.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@corpus_option
@click.option("--prune", is_flag=True, help="Remove the corpus's posts that are not among PATHS.")
@click.option("--watch", is_flag=True, help="Stay, and bring in what changes, until Ctrl-C.")
@terminal.json_option
@click.pass_obj
def add(nonesuch: Nonesuch, paths: tuple[Path, ...], corpus: str, prune: bool, watch: bool, as_json: bool) -> None:
    """Bring in folders of posts, single posts, archives (zip, tar) and exports of Ghost and WordPress.

    Only what is new or changed is sent. Hidden files are ignored; what is no post is left out, and you are
    told why.
    """
    if watch:
        from services.client.commands.watching_posts import watch_posts

        watch_posts(nonesuch, paths, corpus=corpus, prune=prune, as_json=as_json)
        return
    with terminal.progress() as on_progress:
        report = nonesuch.add_posts(*paths, corpus=corpus, prune=prune, on_progress=on_progress)
    if as_json:
        terminal.print_json(report)
        return
    print_report(report)
    if not report.num_documents:
        raise NonesuchError("the corpus holds no document, so there is nothing to learn from; add a folder of posts")


def print_report(report: corpus_pb2.ImportReport) -> None:
    """What an import did, post by post where something is to be told."""
    parts = [
        f"{number:,} {word}"
        for number, word in (
            (report.num_added, "added"),
            (report.num_changed, "changed"),
            (report.num_unchanged, "unchanged"),
            (report.num_removed, "removed"),
        )
        if number
    ]
    terminal.say(f"posts: {', '.join(parts) or 'none'}")
    _print_reasons("left out", report.skipped)
    _print_reasons("mended", report.notes)
    documents, words = (
        terminal.count(report.num_documents, "document"),
        terminal.count(report.num_words, "word"),
    )
    terminal.say(f"corpus {report.corpus}: {documents}, {words}")


def _print_reasons(heading: str, reasons: Iterable[corpus_pb2.PostReason]) -> None:
    """One line per post; files of other kinds (pictures, scripts) are only counted."""
    others = [entry for entry in reasons if entry.reason.code == corpus_pb2.REASON_CODE_UNKNOWN_KIND]
    listed = [entry for entry in reasons if entry.reason.code != corpus_pb2.REASON_CODE_UNKNOWN_KIND]
    for entry in listed[:MAX_LISTED]:
        terminal.say(f"  {heading}: {entry.path}: {entry.reason.message}")
    if len(listed) > MAX_LISTED:
        terminal.say(f"  {heading}: {terminal.count(len(listed) - MAX_LISTED, 'more post')}; --json lists them all")
    if others:
        kinds = Counter(PurePosixPath(entry.path).suffix or "no suffix" for entry in others)
        names = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(5))
        rest = ", …" if len(kinds) > 5 else ""
        terminal.say(f"  {heading}: {terminal.count(len(others), 'file')} of another kind ({names}{rest})")


@posts.command("list")
@corpus_option
@terminal.json_option
@click.pass_obj
def list_posts(nonesuch: Nonesuch, corpus: str, as_json: bool) -> None:
    """List the posts of a corpus, those left out included."""
    found = list(nonesuch.posts(corpus))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [post.path, post.date, f"{post.num_words:,}" if post.included else "", post.title, _state(post)]
        for post in found
    ]
    terminal.table(["PATH", "DATE", "WORDS", "TITLE", "STATE"], rows, right=["WORDS"])


def _state(post: corpus_pb2.Post) -> str:
    kinds = ", ".join(enum_name(reason, "code").lower().replace("_", " ") for reason in post.reasons)
    return kinds if post.included else f"left out: {kinds or 'unknown'}"


@posts.command()
@click.argument("path")
@corpus_option
@click.option("--source", is_flag=True, help="Print the author's file, byte for byte, instead of the document.")
@click.option(
    "--before-after", is_flag=True, help="Print the author's text, then the document, then what each rule changed."
)
@terminal.json_option
@click.pass_obj
def show(nonesuch: Nonesuch, path: str, corpus: str, source: bool, before_after: bool, as_json: bool) -> None:
    """Show what a post became: its metadata and its cleaned text."""
    if source and before_after and not as_json:
        raise click.UsageError("--source prints the file alone and --before-after more than that; choose one of them")
    request = corpus_pb2.GetPostRequest(
        corpus=corpus, path=path, include_source=source or before_after, include_effects=before_after
    )
    found = nonesuch.connection.corpus.GetPost(request)
    if as_json:
        terminal.print_json(found)
    elif source:
        sys.stdout.flush()
        sys.stdout.buffer.write(found.source)
    else:
        post = found.post
        terminal.facts(
            [
                ("path", post.path),
                ("title", post.title),
                ("date", post.date),
                ("tags", ", ".join(post.tags)),
                ("words", f"{post.num_words:,}" if post.included else ""),
                *[("note" if post.included else "left out", reason.message) for reason in post.reasons],
            ]
        )
        if before_after:
            print_before_after(found)
        elif found.HasField("document"):
            terminal.say()
            terminal.print_post(found.document.text)


@posts.command()
@click.argument("paths", nargs=-1, required=True)
@corpus_option
@terminal.json_option
@click.pass_obj
def remove(nonesuch: Nonesuch, paths: tuple[str, ...], corpus: str, as_json: bool) -> None:
    """Take posts out of a corpus, by their paths in `posts list`. Your own files stay."""
    request = corpus_pb2.DeletePostsRequest(corpus=corpus, paths=paths)
    response = nonesuch.connection.corpus.DeletePosts(request)
    if as_json:
        terminal.print_json(response)
    else:
        terminal.say(f"{terminal.count(response.num_removed, 'post')} removed from corpus {corpus}")


@posts.command(short_help="Take posts in, whatever the rules say.")
@click.argument("paths", nargs=-1, required=True)
@corpus_option
@terminal.json_option
@click.pass_obj
def take(nonesuch: Nonesuch, paths: tuple[str, ...], corpus: str, as_json: bool) -> None:
    """Take posts in whatever the rules say, such as a draft or a duplicate."""
    _override(nonesuch, paths, corpus, corpus_pb2.OVERRIDE_INCLUDE, as_json)


@posts.command("leave-out", short_help="Leave posts out, whatever the rules say.")
@click.argument("paths", nargs=-1, required=True)
@corpus_option
@terminal.json_option
@click.pass_obj
def leave_out(nonesuch: Nonesuch, paths: tuple[str, ...], corpus: str, as_json: bool) -> None:
    """Leave posts out of what is learned from, whatever the rules say."""
    _override(nonesuch, paths, corpus, corpus_pb2.OVERRIDE_EXCLUDE, as_json)


@posts.command()
@click.argument("paths", nargs=-1, required=True)
@corpus_option
@terminal.json_option
@click.pass_obj
def reset(nonesuch: Nonesuch, paths: tuple[str, ...], corpus: str, as_json: bool) -> None:
    """Give posts back to the rules after `take` or `leave-out`."""
    _override(nonesuch, paths, corpus, corpus_pb2.OVERRIDE_UNSPECIFIED, as_json)


def _override(
    nonesuch: Nonesuch, paths: tuple[str, ...], corpus: str, word: corpus_pb2.Override, as_json: bool
) -> None:
    request = corpus_pb2.OverridePostsRequest(corpus=corpus, paths=paths, override=word)
    found = nonesuch.connection.corpus.OverridePosts(request).posts
    if as_json:
        terminal.print_json(list(found))
        return
    for post in found:
        reasons = "; ".join(reason.message for reason in post.reasons)
        state = "taken" if post.included else "left out"
        terminal.say(f"{post.path}: {state}{f': {reasons}' if reasons else ''}")

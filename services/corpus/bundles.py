"""Bundles: files that hold many posts, archives and exports, and what the catalogue keeps of them.

A bundle's posts go by `<path of the bundle>/<their path in it>`. Of the bundle itself only the hash is kept, so that
an unchanged one costs no more than that, with the members that it brought and those that it left out.
Members are opened in opening.py and come in through imports.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from services.corpus.catalogue import Catalogue
from services.corpus.reasons import Code, Reason

# Raised by one whenever the same bundle would bring other posts; bundles are then opened anew.
OPENING_VERSION = 1


def digests(catalogue: Catalogue, corpus: str) -> dict[str, str]:
    """SHA-256 by path of the bundles whose posts are all there as the bundle brought them."""
    with catalogue.database.reading() as connection:
        rows = connection.execute(
            "SELECT path, sha256 FROM bundles WHERE corpus = ? AND sha256 <> '' AND opening = ?",
            (corpus, OPENING_VERSION),
        )
        return {row["path"]: row["sha256"] for row in rows}


def members(catalogue: Catalogue, corpus: str, bundle: str) -> dict[str, str]:
    """SHA-256 of the posts that a bundle brought, by path."""
    with catalogue.database.reading() as connection:
        rows = connection.execute(
            "SELECT path, source FROM bundle_members JOIN posts USING (corpus, path) WHERE corpus = ? AND bundle = ?",
            (corpus, bundle),
        )
        return {row["path"]: row["source"] for row in rows}


def left_out(catalogue: Catalogue, corpus: str, bundle: str) -> dict[str, Reason]:
    """What a bundle holds that was left out when it was opened, by path."""
    with catalogue.database.reading() as connection:
        rows = connection.execute(
            "SELECT path, code, message FROM bundle_left_out WHERE corpus = ? AND bundle = ?", (corpus, bundle)
        )
        return {row["path"]: Reason(Code(row["code"]), row["message"]) for row in rows}


def is_whole(catalogue: Catalogue, corpus: str, bundle: str) -> bool:
    """Whether none of the sources that a bundle brought got lost on the volume."""
    return all(catalogue.sources.has(source) for source in members(catalogue, corpus, bundle).values())


def write(
    connection: sqlite3.Connection,
    corpus: str,
    opened: Mapping[str, str],
    brought: Iterable[tuple[str, str]],
    refused: Iterable[tuple[str, str, Reason]],
) -> None:
    """Record bundles that were opened, within the import's transaction and after its posts.

    Args:
        opened: SHA-256 of each bundle by path.
        brought: bundle and path of each post that came from one.
        refused: bundle, path and reason of each member that was left out.
    """
    # What they brought before is forgotten with them: a post that vanished from its archive is nobody's.
    connection.executemany("DELETE FROM bundles WHERE corpus = ? AND path = ?", [(corpus, path) for path in opened])
    connection.executemany(
        "INSERT INTO bundles VALUES (?, ?, ?, ?)",
        [(corpus, path, digest, OPENING_VERSION) for path, digest in opened.items()],
    )
    connection.executemany(
        "INSERT INTO bundle_members VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bundle = excluded.bundle",
        [(corpus, path, bundle) for bundle, path in brought],
    )
    connection.executemany(
        "INSERT INTO bundle_left_out VALUES (?, ?, ?, ?, ?)",
        [(corpus, bundle, path, reason.code, reason.message) for bundle, path, reason in refused],
    )


def forget_all_but(connection: sqlite3.Connection, corpus: str, kept: set[str]) -> None:
    """Forget the bundles that vanished; their posts are the business of pruning."""
    rows = connection.execute("SELECT path FROM bundles WHERE corpus = ?", (corpus,)).fetchall()
    doomed = [(corpus, row["path"]) for row in rows if row["path"] not in kept]
    connection.executemany("DELETE FROM bundles WHERE corpus = ? AND path = ?", doomed)

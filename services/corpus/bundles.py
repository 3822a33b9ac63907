"""Bundles: files that hold many posts, archives and exports, and what the catalogue keeps of them.

A bundle's posts go by `<path of the bundle>/<their path in it>`. Of the bundle itself only the hash is kept, so that
an unchanged one costs no more than that, with the members that it brought and those that it left out.
Members are opened in opening.py and come in through imports.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

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


def members(catalogue: Catalogue, corpus: str, bundle: str) -> Iterator[tuple[str, str]]:
    """Path and SHA-256 of each post that a bundle brought."""
    with catalogue.database.reading() as connection:
        rows = connection.execute(
            "SELECT path, source FROM bundle_members JOIN posts USING (corpus, path) WHERE corpus = ? AND bundle = ?",
            (corpus, bundle),
        )
        for row in rows:
            yield row["path"], row["source"]


def left_out(catalogue: Catalogue, corpus: str, bundle: str) -> Iterator[tuple[str, Reason]]:
    """What a bundle holds that was left out when it was opened, by path."""
    with catalogue.database.reading() as connection:
        rows = connection.execute(
            "SELECT path, code, message FROM bundle_left_out WHERE corpus = ? AND bundle = ?", (corpus, bundle)
        )
        for row in rows:
            yield row["path"], Reason(Code(row["code"]), row["message"])


def is_whole(catalogue: Catalogue, corpus: str, bundle: str) -> bool:
    """Whether none of the sources that a bundle brought got lost on the volume."""
    return all(catalogue.sources.has(source) for _, source in members(catalogue, corpus, bundle))


def write(connection: sqlite3.Connection, corpus: str, opened: Mapping[str, str]) -> None:
    """Record bundles that were opened, within the import's transaction, which sees its ledger, and after its posts.

    Args:
        opened: SHA-256 of each bundle by path.
    """
    # What they brought before is forgotten with them: a post that vanished from its archive is nobody's.
    connection.executemany("DELETE FROM bundles WHERE corpus = ? AND path = ?", [(corpus, path) for path in opened])
    connection.executemany(
        "INSERT INTO bundles VALUES (?, ?, ?, ?)",
        [(corpus, path, digest, OPENING_VERSION) for path, digest in opened.items()],
    )
    connection.execute(
        "INSERT INTO bundle_members SELECT ?, path, bundle FROM came.paths WHERE bundle IS NOT NULL AND NOT is_refused "
        "ON CONFLICT DO UPDATE SET bundle = excluded.bundle",
        (corpus,),
    )
    connection.execute(
        "INSERT INTO bundle_left_out SELECT ?, bundle, path, skipped_code, skipped_message FROM came.paths "
        "WHERE bundle IS NOT NULL AND is_refused",
        (corpus,),
    )


def forget_all_but(connection: sqlite3.Connection, corpus: str, kept: set[str]) -> None:
    """Forget the bundles that vanished; their posts are the business of pruning."""
    rows = connection.execute("SELECT path FROM bundles WHERE corpus = ?", (corpus,)).fetchall()
    doomed = [(corpus, row["path"]) for row in rows if row["path"] not in kept]
    connection.executemany("DELETE FROM bundles WHERE corpus = ? AND path = ?", doomed)

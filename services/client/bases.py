"""What a run can start from, as a client sees it: found, fetched where it is not here, and the vocabulary it needs.

In: a word, as StartRunRequest.base has it. Out: a Base. Builds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from protos import trainer_pb2
from services.client.connection import Connection, pages
from services.client.fetching import fetch_base, say_nothing
from services.client.progress import Progress, silent
from services.common.errors import NotFound

DEFAULT_BASE = "nano"
ELSEWHERE = ("fresh/", "runs/", "models/")  # what a word for something else than a base begins with
START_S = 120.0  # the trainer may verify a base of 6 GB before it answers


def find_base(connection: Connection, name: str) -> trainer_pb2.Base:
    """Return the base model called `name`, or what else a run can start from; raise NotFound listing the bases."""
    if name.startswith(ELSEWHERE):
        asked: trainer_pb2.Base = connection.trainer.GetBase(
            trainer_pb2.GetBaseRequest(base=name), timeout_s=START_S
        ).base
        return asked
    bases = list(pages(connection.trainer.ListBases, trainer_pb2.ListBasesRequest(), "bases"))
    for base in bases:
        if base.name == name:
            return base
    known = ", ".join(base.name for base in bases)
    raise NotFound(
        f"no base model {name!r}; there are {known}, `nonesuch bases fetch` brings others by name, "
        "and `nonesuch bases import FOLDER` brings any",
        metadata={"base": name},
    )


def find_or_fetch_base(
    connection: Connection,
    name: str,
    on_progress: Progress = silent,
    on_remark: Callable[[str], None] = say_nothing,
) -> trainer_pb2.Base:
    """Return the base model called `name`, fetched first where it is not here.

    Raises:
        NotFound: it is neither here nor known by name; lists those that are here.
        FailedPrecondition: it could not be fetched; says why.
    """
    try:
        return find_base(connection, name)
    except NotFound as unknown:
        if name.startswith(ELSEWHERE):
            raise
        try:
            fetched = fetch_base(connection, name, on_progress=on_progress, on_remark=on_remark)
        except NotFound:
            raise unknown from None
        return find_base(connection, fetched)


def foresee_base(connection: Connection, name: str) -> tuple[trainer_pb2.Base, str | int]:
    """Return the base model called `name`, for a plan: one that is not here but known by name as it will be.

    Returns:
        the base, and the vocabulary to count its tokens with: its own where it is here, else that of another base
        with as many entries, else one of the default base's size.

    Raises:
        NotFound: it is neither here nor is its shape known before it is fetched; lists those that are here.
    """
    try:
        base = find_base(connection, name)
    except NotFound:
        if name.startswith(ELSEWHERE) or (known := _fetchable(connection, name)) is None:
            raise
    else:
        return base, vocabulary_of(base)
    absent = trainer_pb2.Base(
        name=known.name,
        num_parameters=known.num_parameters,
        vocabulary_size=known.vocabulary_size,
        context=known.context,
        num_layers=known.num_layers,
        width=known.width,
    )
    here = pages(connection.trainer.ListBases, trainer_pb2.ListBasesRequest(), "bases")
    alike = [base.name for base in here if not base.fresh and base.vocabulary_size == known.vocabulary_size]
    return absent, alike[0] if alike else vocabulary_of(find_base(connection, DEFAULT_BASE))


def vocabulary_of(base: trainer_pb2.Base) -> str | int:
    """The vocabulary that a dataset for this base is encoded with: its own by name, or the size of a new one."""
    return int(base.vocabulary_size) if base.fresh else base.name


def _fetchable(connection: Connection, name: str) -> trainer_pb2.FetchableBase | None:
    for base in pages(connection.trainer.ListFetchableBases, trainer_pb2.ListFetchableBasesRequest(), "bases"):
        if name.lower() in (other.lower() for other in (base.name, base.repository, *base.aliases)):
            found: trainer_pb2.FetchableBase = base
            return found
    return None

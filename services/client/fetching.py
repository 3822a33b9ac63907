"""Has the trainer fetch a base model, and waits for it: over broken connections, and with its progress told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from protos import trainer_pb2
from services.client.connection import Connection
from services.client.progress import Progress, silent
from services.client.watching import watch_fetch
from services.common.errors import FailedPrecondition, NonesuchError

_STAGES = {
    trainer_pb2.FETCH_PHASE_UNSPECIFIED: "waiting to fetch {name}",
    trainer_pb2.FETCH_PHASE_ASKING: "asking {url}",
    trainer_pb2.FETCH_PHASE_DOWNLOADING: "fetching {name}",
    trainer_pb2.FETCH_PHASE_CHECKING: "checking {name}",
    trainer_pb2.FETCH_PHASE_CONVERTING: "converting {name}",
}


def say_nothing(remark: str) -> None:
    """Ignore a remark."""


def fetch_base(
    connection: Connection,
    base: str,
    *,
    name: str = "",
    source: str = "",
    on_progress: Progress = silent,
    on_remark: Callable[[str], None] = say_nothing,
) -> str:
    """Fetch a base model, wait until it is complete, and return its name; one that is here is not fetched.

    A KeyboardInterrupt meanwhile cancels the fetch; what has come is kept, and the same call goes on from it.

    Args:
        base: `124M`, `distilgpt2`, `<owner>/<name>` …; see FetchBaseRequest.
        name: what to call it; empty is its own name.
        source: `hub` or `openai` alone; empty is as the trainer is set.
        on_progress: told the phase, and bytes where they are known.
        on_remark: told what was tried again or elsewhere.

    Raises:
        NotFound: nothing of that name can be fetched.
        FailedPrecondition: the service is offline, or it could not be fetched; says why and what to do.
    """
    request = trainer_pb2.FetchBaseRequest(
        base=base, name=name, source=f"FETCH_SOURCE_{(source or 'unspecified').upper()}"
    )
    fetch: trainer_pb2.Fetch = connection.trainer.FetchBase(request).fetch
    told: list[str] = []
    try:
        for update in watch_fetch(connection, fetch.name):
            fetch = update
            for remark in fetch.remarks:
                if remark not in told:
                    told.append(remark)
                    on_remark(remark)
            if fetch.state in (trainer_pb2.FETCH_STATE_PENDING, trainer_pb2.FETCH_STATE_RUNNING):
                stage = _STAGES.get(fetch.phase, "fetching {name}").format(name=fetch.name, url=fetch.url)
                on_progress(stage, fetch.bytes_done, fetch.bytes_total)
    except KeyboardInterrupt:
        with suppress(NonesuchError):
            connection.trainer.CancelFetch(trainer_pb2.CancelFetchRequest(name=fetch.name))
        raise
    if fetch.state != trainer_pb2.FETCH_STATE_SUCCEEDED:
        reason = fetch.error or "it was cancelled"
        raise FailedPrecondition(
            f"base {fetch.name} was not fetched: {reason}. To go on: nonesuch bases fetch {base}",
            metadata={"base": fetch.name},
        )
    return fetch.name

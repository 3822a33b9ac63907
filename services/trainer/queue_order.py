"""The places of the queue's runs, once someone has moved one: .queue.json beside the runs, written whole.

In: records in order. Out: places by ticket. Knows not which runs there are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from services.common.errors import Corrupt
from services.common.files import read_json, write_json
from services.trainer.run_record import RunRecord

log = logging.getLogger(__name__)
QUEUE_FILE = ".queue.json"


def ticket(record: RunRecord) -> str:
    """One stay in the queue: a run that comes back to it stands at its end again."""
    return f"{record.name} {record.queued_at}"


def read_order(runs: Path) -> dict[str, int]:
    """The places that runs were moved to, by ticket; none where the file is missing, and none where it is damaged.

    Args:
        runs: the folder of all runs.
    """
    path = runs / QUEUE_FILE
    if not path.exists():
        return {}
    try:
        return {str(found): place for place, found in enumerate(read_json(path)["order"])}
    except (Corrupt, KeyError, TypeError) as error:
        log.error("the order of the queue is lost, runs go by the time they were queued: %s", error)
        return {}


def write_order(runs: Path, records: Iterable[RunRecord]) -> dict[str, int]:
    """Replace the places by these records' order, and return them."""
    tickets = [ticket(record) for record in records]
    write_json(runs / QUEUE_FILE, {"kind": "queue", "order": tickets})
    return {found: place for place, found in enumerate(tickets)}

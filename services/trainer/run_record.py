"""One run as run.json of its folder holds it: what it was asked for, and what has become of it.

In: a folder. Out: a record. Changes nothing; runs.py does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt
from services.common.files import read_json
from services.trainer.run_settings import RunSettings, from_json

RECORD_FILE = "run.json"


class RunState(StrEnum):
    """The state of a run; see the drawing in runs.py."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ACTIVE = (RunState.PENDING, RunState.RUNNING)
RESUMABLE = (RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as run.json holds it. Times are ISO 8601, UTC."""

    name: str
    state: RunState
    error: str
    settings: RunSettings
    asked: dict[str, Any]
    """The settings that the request named, before defaults and fitting to the corpus."""
    num_parameters: int
    created_at: str
    updated_at: str
    queued_at: str
    """When it was queued: the earliest goes first, unless runs were moved."""
    dataset_facts: dict[str, Any] = field(default_factory=dict)
    """What is told of its dataset, so that it can be published when that is gone: `id`, `digest`, `corpus`,
    `header_format`, `vocabulary`, `vocabulary_digest`."""
    environment: dict[str, str] = field(default_factory=dict)
    """Where it first trained; empty before."""
    restarts: int = 0
    """How often its process was killed and it went on by itself."""
    tries: int = 0
    """Of those, the last in a row without a new checkpoint; a person who resumes the run begins anew."""
    tries_step: int = 0
    """Step of the newest checkpoint when the last of the tries was counted."""
    ended_because: str = ""
    """Why it ended when it did, in a sentence."""


def read_record(run_folder: Path) -> RunRecord:
    """Read a run's run.json; Corrupt names it when it is damaged."""
    path = run_folder / RECORD_FILE
    values = read_json(path)
    try:
        settings, asked = RunSettings(**from_json(values.pop("settings"))), from_json(values.pop("asked"))
        state = RunState(values.pop("state"))
        values.pop("kind")
        return RunRecord(**values, settings=settings, asked=asked, state=state)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise Corrupt(f"{path} does not describe a run ({error})", metadata={"file": str(path)}) from None


def to_json(record: RunRecord) -> dict[str, Any]:
    """What run.json holds."""
    return {"kind": "run", **asdict(record)}

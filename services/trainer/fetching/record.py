"""What is told of a fetch, and the file that lets it outlive the service: base/.fetch-<name>/fetch.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path

from services.common.errors import Corrupt
from services.common.files import read_json, write_json

FILE_NAME = "fetch.json"
RESULT = "model"  # the folder beside it of what is to become the base
MOST_REMARKS = 20


class FetchState(StrEnum):
    """What has become of a fetch."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ACTIVE = (FetchState.PENDING, FetchState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRecord:
    """One fetch. Times are ISO 8601, UTC.

    Args:
        name: the folder in base/ that it makes.
        asked: what was asked for, such as `124M` or `someone/gpt2-poems`.
        source: `hub` or `openai`; empty follows the settings.
        phase: `asking`, `downloading`, `checking` or `converting`; empty before it runs.
        url: where from; empty before it runs.
        file: on its way now.
        bytes_done, bytes_total: of the phase; 0 where not known.
        error: why it failed.
        remarks: what was tried again or elsewhere, the newest last.
    """

    name: str
    asked: str
    source: str = ""
    state: FetchState = FetchState.PENDING
    phase: str = ""
    url: str = ""
    file: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    error: str = ""
    remarks: tuple[str, ...] = ()
    created_at: str = ""
    updated_at: str = ""


def write_record(folder: Path, record: FetchRecord) -> None:
    """Keep what a fetch is, in its folder."""
    write_json(folder / FILE_NAME, asdict(record))


def read_record(folder: Path) -> FetchRecord:
    """Read what a fetch is; Corrupt names the file when it is missing or damaged."""
    path = folder / FILE_NAME
    values = read_json(path)
    try:
        known = {field.name for field in fields(FetchRecord)}
        values = {name: value for name, value in values.items() if name in known}
        values["state"], values["remarks"] = FetchState(values["state"]), tuple(values["remarks"])
        return FetchRecord(**values)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise Corrupt(f"{path} does not describe a fetch ({error})", metadata={"file": str(path)}) from None

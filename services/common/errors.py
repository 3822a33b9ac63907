"""Every error that a caller can cause or must handle, each with its gRPC status.

    NonesuchError
    ├── InvalidRequest      INVALID_ARGUMENT     a value is wrong whatever the state; names the field
    ├── NotFound            NOT_FOUND            no such post, dataset, run, model
    ├── AlreadyExists       ALREADY_EXISTS       the name is taken by something else
    ├── FailedPrecondition  FAILED_PRECONDITION  the request is fine, the state is not; says what to do first
    ├── Busy                RESOURCE_EXHAUSTED   a queue or a limit is full; says when to try again
    ├── Unavailable         UNAVAILABLE          starting, draining, or a peer is down; try again
    ├── Corrupt             DATA_LOSS            a file on the volume is damaged; names the file
    ├── Cancelled           CANCELLED            the caller gave up, or its deadline passed
    └── Unimplemented       UNIMPLEMENTED        on the wire, not built yet

Anything else that escapes a handler is a bug of ours: INTERNAL with a request id (see rpc.py).
The classes know nothing of grpc, so that pure modules can raise them.
"""

from __future__ import annotations

from typing import ClassVar


class NonesuchError(Exception):
    """An error with a status, a message for people and a few facts for programs.

    Args:
        message: what was wrong with which value, and what to do next.
        field: path of the offending request field, such as `sampling.top_p`.
        retry_after_s: seconds after which the same call may succeed.
        reason: UPPER_SNAKE_CASE word that programs can match on; defaults to the class's status.
        metadata: further facts, such as the name that was not found.
    """

    status: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.reason = reason or self.status
        self.metadata = metadata or {}


class InvalidRequest(NonesuchError):
    """A value is wrong whatever the state of the service."""

    status = "INVALID_ARGUMENT"


class NotFound(NonesuchError):
    """The thing that was named does not exist."""

    status = "NOT_FOUND"


class AlreadyExists(NonesuchError):
    """The name is taken by something else."""

    status = "ALREADY_EXISTS"


class FailedPrecondition(NonesuchError):
    """The request is fine, but something must be done first."""

    status = "FAILED_PRECONDITION"


class Busy(NonesuchError):
    """A queue or a limit is full."""

    status = "RESOURCE_EXHAUSTED"


class Unavailable(NonesuchError):
    """The service is starting or draining, or one that it needs is down."""

    status = "UNAVAILABLE"


class Corrupt(NonesuchError):
    """A file on the volume is damaged or incomplete."""

    status = "DATA_LOSS"


class Cancelled(NonesuchError):
    """The caller gave up, or its deadline passed."""

    status = "CANCELLED"


class Unimplemented(NonesuchError):
    """Part of the contract that this version does not provide."""

    status = "UNIMPLEMENTED"


BY_STATUS: dict[str, type[NonesuchError]] = {kind.status: kind for kind in NonesuchError.__subclasses__()}
"""The class of each status above, for who receives one."""

"""What came back over the wire, as an error of services/common/errors.py with words that a person can act on.

In: the grpc.RpcError of a call. Out: the error whose status it carries, with the google.rpc details
(BadRequest, RetryInfo, ErrorInfo) as its attributes. Knows the names and addresses of services, nothing of
rpcs.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.common import rpc
from services.common.errors import BY_STATUS, NonesuchError, Unavailable

DEADLINE = "DEADLINE_EXCEEDED"  # reason of the Unavailable that stands for a passed deadline
UNREACHABLE = "UNREACHABLE"  # reason of the Unavailable that stands for a service that nobody reached


def readable(error: grpc.RpcError, service: str, address: str) -> NonesuchError:
    """Turn a failed call into an error of ours.

    Args:
        error: what the call raised.
        service: name of the service called, such as `trainer`.
        address: where it was looked for.

    Returns:
        The error of the status's class. A deadline that passed and a service that was not reached are
        Unavailable with reason DEADLINE_EXCEEDED and UNREACHABLE. A status outside our tree is the bare
        NonesuchError with the status as its reason.
    """
    code = error.code().name
    message = error.details() or code
    if code == DEADLINE:
        return Unavailable(
            f"the {service} at {address} did not answer in time; look at `nonesuch status`, then try again",
            reason=DEADLINE,
        )
    if code == "UNAVAILABLE" and not _was_answered(error):
        return Unavailable(
            f"the {service} does not answer at {address}; start the services with `make run` or "
            f"`docker compose up`, or say where it is in NONESUCH_{service.upper()}_ADDRESS",
            reason=UNREACHABLE,
        )
    if code == "UNIMPLEMENTED" and not _was_answered(error):
        message = f"the {service} at {address} does not know this call; it is older than this client: update it"
    facts = _details(error)
    kind = BY_STATUS.get(code, NonesuchError)
    return kind(
        message,
        field=facts.get("field"),
        retry_after_s=facts.get("retry_after_s"),
        reason=facts.get("reason", code),
        metadata=facts.get("metadata"),
    )


def _was_answered(error: grpc.RpcError) -> bool:
    """Whether a service of ours ended the call: it always sends the request's id back."""
    return any(key == rpc.REQUEST_ID_KEY for key, _ in error.trailing_metadata() or ())


def _details(error: grpc.RpcError) -> dict[str, Any]:
    """The google.rpc details of a status that we know what to do with."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # details that contradict the status; the status stands
        status = None
    facts: dict[str, Any] = {}
    for packed in status.details if status is not None else ():
        if packed.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = error_details_pb2.BadRequest()
            packed.Unpack(request)
            if request.field_violations:
                facts["field"] = request.field_violations[0].field
        elif packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            packed.Unpack(retry)
            facts["retry_after_s"] = retry.retry_delay.ToMilliseconds() / 1000
        elif packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            packed.Unpack(info)
            facts["reason"] = info.reason
            facts["metadata"] = dict(info.metadata)
    return facts

"""Who a caller is, for sharing places fairly, and why one is gone."""

from __future__ import annotations

import grpc

CALLER_KEY = "x-nonesuch-caller"
MAX_CHARACTERS = 128


def caller_of(context: grpc.ServicerContext) -> str:
    """The caller's name: what its metadata says, or the address that it calls from, without the port.

    A gateway that calls for many people names each of them.
    """
    given = dict(context.invocation_metadata()).get(CALLER_KEY, "")
    if isinstance(given, str) and given.isascii() and given.isprintable() and 0 < len(given) <= MAX_CHARACTERS:
        return given
    peer: str = context.peer()  # such as ipv4:127.0.0.1:50000
    return peer.rpartition(":")[0] if peer.startswith("ipv") else peer


def why_gone(context: grpc.ServicerContext) -> str:
    """Why a rpc has ended before its answer was complete."""
    remaining = context.time_remaining()
    return "deadline" if remaining is not None and remaining <= 0 else "caller"

"""Prometheus metrics: the ones every service has, and the endpoint that shows them.

A service declares its own beside the code that counts, with prometheus_client directly.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram, start_http_server

from services.common.rpc import split_address

REQUESTS = Counter("nonesuch_rpc_total", "Finished rpcs.", ["method", "code"])
SECONDS = Histogram(
    "nonesuch_rpc_seconds",
    "Duration of rpcs, streams included.",
    ["method"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
)


def record_rpc(method: str, code: str, seconds: float) -> None:
    """Count a finished rpc: what `rpc.serve` takes as its observer."""
    REQUESTS.labels(method, code).inc()
    SECONDS.labels(method).observe(seconds)


def start_endpoint(listen: str) -> int:
    """Serve `/metrics` over HTTP at `host:port` (port 0: any) and return the port.

    Raises:
        OSError: the address is taken or not ours; the message names it.
    """
    host, port = split_address(listen)
    try:
        server, _ = start_http_server(port, host)
    except OSError as error:
        raise OSError(f"cannot serve metrics at {listen}: {error.strerror or error}") from None
    return int(server.server_port)

"""A service as a process: what every `python -m services.<name>` does between its first and its last line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

import grpc

from services.common import logs, metrics, rpc
from services.common.settings import CommonSettings

log = logging.getLogger(__name__)


def run(
    service: str,
    common: CommonSettings,
    *,
    listen: str,
    metrics_listen: str,
    services: Sequence[str],
    worker_threads: int = rpc.WORKER_THREADS,
    register: Callable[[grpc.Server], None],
    started: Callable[[rpc.Server], None] = lambda server: None,
    draining: Callable[[], None] = lambda: None,
    stopped: Callable[[], None] = lambda: None,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit status: 0, or 1 when an address is taken.

    Args:
        service: short name, for the log and the `ready` line.
        listen, metrics_listen: `host:port`; port 0 takes any free one.
        services: full names of the gRPC services, for health and reflection.
        worker_threads: rpcs that run at once; more wait for a thread.
        register: adds the servicers to the server.
        started: called once the server answers.
        draining: called on the signal, before running calls are waited for: end long streams here.
        stopped: called after the last call has ended: save state here.
    """
    logs.configure(service, log_format=common.log_format, level=common.log_level)
    try:
        metrics.start_endpoint(metrics_listen)
        server = rpc.start(
            listen, register, services=services, observe=metrics.record_rpc, worker_threads=worker_threads
        )
    except (OSError, ValueError) as error:
        print(f"{service}: {error}", file=sys.stderr)
        return 1
    started(server)
    rpc.announce(service, listen, server.port)
    name = rpc.wait_for_signal()
    log.info("%s: finishing what runs", name)
    draining()
    server.stop()
    stopped()
    return 0

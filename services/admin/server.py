"""gunicorn around the page: one worker with many threads, because the jobs and the streams live in one
process.

The parent process holds the listening socket and restarts the worker if it dies. Connections to the services
are made in the worker, after the fork. On SIGTERM the streams end at once, and what else runs gets GRACE_S.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from services.admin.app import create_app
from services.admin.context import EXTENSION
from services.admin.keys import Keys
from services.admin.settings import AdminSettings
from services.client.connection import Connection
from services.common import metrics, rpc
from services.common.settings import CommonSettings

GRACE_S = 20
BACKLOG = 128


def listen(address: str) -> socket.socket:
    """Bind `host:port`, port 0 meaning any.

    Raises:
        ValueError: it is not an address.
        OSError: it is taken or not this machine's; the message names it.
    """
    host, port = rpc.split_address(address)
    try:
        return socket.create_server((host or "0.0.0.0", port), backlog=BACKLOG)
    except OSError as error:
        raise OSError(
            f"cannot listen on {address} ({os.strerror(error.errno or 0)}): "
            "stop what uses it, or set NONESUCH_ADMIN_LISTEN"
        ) from None


class Server(BaseApplication):
    """gunicorn's way of being started from a program.

    Args:
        listener: the bound socket.
        keys: for the address that is printed.
    """

    def __init__(
        self, settings: AdminSettings, common: CommonSettings, keys: Keys, listener: socket.socket
    ) -> None:
        self._settings = settings
        self._common = common
        self._keys = keys
        self._host, self._port = listener.getsockname()[:2]
        self._descriptor = listener.detach()  # gunicorn closes it
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn how to run."""
        options: dict[str, Any] = {
            "bind": f"fd://{self._descriptor}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": self._settings.threads,
            "preload_app": False,
            "timeout": 60,
            "graceful_timeout": GRACE_S,
            "keepalive": 5,
            "loglevel": "warning",
            "control_socket_disable": True,  # it would want a writable folder outside our volumes
            "post_worker_init": self._worker_started,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the app, in the worker."""
        return create_app(self._settings, Connection(self._common))

    def _worker_started(self, worker: Any) -> None:
        try:
            metrics.start_endpoint(self._settings.metrics_listen)
        except (OSError, ValueError) as error:
            print(f"admin: {error}", file=sys.stderr, flush=True)
            sys.exit(Arbiter.APP_LOAD_ERROR)  # the parent gives up instead of trying again for ever
        stopping = worker.wsgi.extensions[EXTENSION].stopping
        begin_to_stop = signal.getsignal(signal.SIGTERM)

        def stop(number: int, frame: FrameType | None) -> None:
            stopping.set()
            if callable(begin_to_stop):
                begin_to_stop(number, frame)

        signal.signal(signal.SIGTERM, stop)
        signal.siginterrupt(signal.SIGTERM, False)
        rpc.announce("admin", f"{self._host}:{self._port}", self._port)
        print(f"Open http://{_reachable(self._host)}:{self._port}/?token={self._keys.token}", flush=True)


def _reachable(host: str) -> str:
    """The name under which a browser on this machine finds what listens on `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host

"""Starts the five services as local processes, restarts one that dies, stops them all.

It only supervises: each service is `python -m services.<name>`, configured by the environment as in a
container. Not thread-safe: the thread that starts the services must be the one that checks and stops them,
because the kernel ends a child when the thread that made it ends.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from services.admin.health import answers
from services.common.child import die_with
from services.common.health import is_serving

# In the order of starting; stopped in reverse. Ports: the service's own, and that of its metrics.
SERVICES = {
    "corpus": (50051, 9101),
    "tokenizer": (50052, 9102),
    "trainer": (50053, 9103),
    "generator": (50054, 9104),
    "admin": (8080, 9105),
}
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 90.0  # a training run saves a checkpoint first
MAX_RESTARTS = 5  # in a row
STEADY_S = 60.0  # one that ends after so long is not failing to start


class ServiceError(Exception):
    """A service did not start, or keeps dying; the message holds the end of its log."""


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    num_restarts: int = 0
    started_s: float = field(default_factory=time.monotonic)


@dataclass
class Supervisor:
    """The five services as child processes.

    Args:
        environ: what the services see; `address`, data and cache folders are read from it or filled in.
        free_ports: take any free ports instead of the documented ones.
    """

    environ: Mapping[str, str]
    free_ports: bool = False
    _children: dict[str, _Child] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Settle the addresses and folders that all services are told."""
        environ = dict(self.environ)
        for name, ports in SERVICES.items():
            for variable, port in zip(("LISTEN", "METRICS_LISTEN"), ports, strict=True):
                chosen = _free_port() if self.free_ports else port
                environ.setdefault(f"NONESUCH_{name.upper()}_{variable}", f"127.0.0.1:{chosen}")
            if name != "admin":
                environ.setdefault(f"NONESUCH_{name.upper()}_ADDRESS", environ[f"NONESUCH_{name.upper()}_LISTEN"])
        self._data = Path(environ.setdefault("NONESUCH_DATA", "data"))
        cache = Path(environ.setdefault("NONESUCH_CACHE", "cache"))
        environ.setdefault("NONESUCH_ADMIN_STATE", str(self._data / "admin"))
        environ.setdefault("NUMBA_CACHE_DIR", str((cache / "numba").resolve()))
        environ["PYTHONUNBUFFERED"] = "1"
        self.environ = environ

    def address(self, name: str) -> str:
        """Where a service listens, as `host:port`."""
        return self.environ[f"NONESUCH_{name.upper()}_LISTEN"]

    @property
    def log_folder(self) -> Path:
        """The folder of all logs."""
        return self._data / "logs"

    def log_path(self, name: str) -> Path:
        """The file that holds a service's log."""
        return self.log_folder / f"{name}.log"

    def start(self, progress: Callable[[str], None]) -> None:
        """Start all services and wait until each answers.

        Args:
            progress: told a service's name when it answers.

        Raises:
            ServiceError: one of them ended or did not answer within START_TIMEOUT_S.
        """
        for name in SERVICES:
            self.log_path(name).parent.mkdir(parents=True, exist_ok=True)
            self.log_path(name).write_bytes(b"")
            self._children[name] = _Child(self._spawn(name))
        deadline = time.monotonic() + START_TIMEOUT_S
        waiting = list(SERVICES)
        while waiting:
            for name in list(waiting):
                if self._children[name].process.poll() is not None:
                    raise ServiceError(f"{name} ended at its start:\n{self._log_end(name)}")
                if self._answers(name):
                    waiting.remove(name)
                    progress(name)
            if time.monotonic() > deadline:
                raise ServiceError(f"{waiting[0]} does not answer:\n{self._log_end(waiting[0])}")
            time.sleep(0.05)

    def check(self) -> list[str]:
        """Start again each service that has ended, and return their names.

        Raises:
            ServiceError: one has ended more than MAX_RESTARTS times, each time within STEADY_S.
        """
        restarted = []
        for name, child in self._children.items():
            if child.process.poll() is None:
                continue
            num_restarts = child.num_restarts if time.monotonic() - child.started_s < STEADY_S else 0
            if num_restarts == MAX_RESTARTS:
                raise ServiceError(f"{name} ended {MAX_RESTARTS + 1} times; its log ends:\n{self._log_end(name)}")
            self._children[name] = _Child(self._spawn(name), num_restarts + 1)
            restarted.append(name)
        return restarted

    def stop(self) -> None:
        """Stop all services, last started first; kill what does not stop in time."""
        for child in reversed(self._children.values()):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in reversed(self._children.values()):
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self._children.clear()

    def page_url(self) -> str:
        """The page's address with its login token, as admin printed it; without it if it printed none."""
        log = self.log_path("admin").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"http://\S+token=\S+", log)
        return found[0] if found else f"http://{self.address('admin')}"

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        with self.log_path(name).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we tell the services
                preexec_fn=partial(_die_with, os.getpid()) if sys.platform == "linux" else None,
            )

    def _answers(self, name: str) -> bool:
        address = self.address(name)
        if name != "admin":
            return is_serving(address, timeout_s=1.0)
        return answers(address, timeout_s=1.0)

    def _log_end(self, name: str) -> str:
        return "\n".join(self.log_path(name).read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with(parent: int) -> None:
    """Ask the kernel for SIGTERM when the supervisor is gone."""
    if not die_with(parent, signal.SIGTERM):  # it went before we asked
        os.kill(os.getpid(), signal.SIGTERM)

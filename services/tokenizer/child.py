"""A child process that works for the service over a socket, and can be killed at any moment.

    child = Child("services.tokenizer.encoding_process", "folder")     started as `python -m MODULE FD folder`

The other side opens `connection(FD)` and ends when it is closed, so none outlives the service. Messages are bytes.
Does not know what the messages mean.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import services
from services.common.child import die_first

_ROOT = Path(services.__file__).parent.parent
LARGEST_MESSAGE = 1 << 30


class ChildEnded(Exception):
    """The child is gone. `status` is its exit status, or the number of the signal that ended it, negative."""

    def __init__(self, status: int) -> None:
        super().__init__(f"signal {-status}" if status < 0 else f"status {status}")
        self.status = status


class Child:
    """The service's end. Close it when done."""

    def __init__(self, module: str, *arguments: str) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", module, str(theirs.fileno()), *arguments]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=_ROOT, stdin=subprocess.DEVNULL)
        self._connection = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, message: bytes) -> None:
        """Send a message, waiting until the child takes it; ChildEnded if it is gone."""
        try:
            self._connection.send_bytes(message)
        except OSError:
            raise ChildEnded(self._status()) from None

    def receive(self) -> bytes:
        """The child's next message; waits for it. ChildEnded if it is gone."""
        try:
            return self._connection.recv_bytes(LARGEST_MESSAGE)
        except (EOFError, OSError):
            raise ChildEnded(self._status()) from None

    def _status(self) -> int:
        """How the child ended, once it has hung up."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=1)
        self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """End the child, whatever it does. A thread that waits for it gets ChildEnded."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill it and let go of the socket. No thread may be waiting for it any more."""
        self.kill()
        self._connection.close()


def connection(descriptor: int) -> Connection:
    """The child's end. The child ignores Ctrl-C, which is the service's, and goes first when memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_first()
    return Connection(descriptor)

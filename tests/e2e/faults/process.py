"""A service as a process of its own, on free ports, to be treated badly."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from services.common import rpc
from tests.e2e.system import ROOT
from tests.waiting import wait_for

END_S = 120.0  # for a process to end, or its children


class ServiceProcess:
    """`python -m services.NAME` on a data folder, leading a process group.

    Args:
        name: the service's.
        data: its NONESUCH_DATA.
        prefix: what to start it through, such as `unshare`.
        program: what to start; empty: the service.
        settings: environment variables.
    """

    def __init__(
        self, name: str, data: Path, *, prefix: Sequence[str] = (), program: Sequence[str] = (), **settings: str
    ) -> None:
        environ = {
            **os.environ,
            "NONESUCH_DATA": str(data),
            f"NONESUCH_{name.upper()}_LISTEN": "127.0.0.1:0",
            f"NONESUCH_{name.upper()}_METRICS_LISTEN": "127.0.0.1:0",
            **settings,
        }
        self.data = data
        data.parent.mkdir(parents=True, exist_ok=True)
        self.log = data.with_name(f"{data.name}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *(program or (sys.executable, "-m", f"services.{name}"))],
                cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        ready = self.process.stdout.readline().split()
        assert ready[:2] == ["ready", name], f"the service did not start: {self.log.read_text()}"
        self.address = ready[2]
        self.pid = self.process.pid
        self.channel = rpc.channel(self.address)

    def children(self) -> list[int]:
        """The processes that it has started and that live."""
        found: list[int] = []
        for file in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
                found += map(int, file.read_text().split())
        return [pid for pid in found if is_alive(pid)]

    def kill(self, *, group: bool = False) -> None:
        """`kill -9`: of the whole group at once, or of the service alone; its children must end by themselves."""
        children = self.children()
        if group:
            os.killpg(self.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait(END_S)
        self._close()
        wait_for(lambda: not any(map(is_alive, children)), "its children died with the service", END_S)

    def stop(self) -> None:
        """Tell it to end; it must end well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(END_S) == 0, self.log.read_text()
        finally:
            self.put_away()

    def put_away(self) -> None:
        """Whatever state it is in, leave nothing behind."""
        if self.process.poll() is None:
            self.kill(group=True)
        self._close()

    def _close(self) -> None:
        self.channel.close()
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None and self.process.poll() is None:
            self.stop()
        else:
            self.put_away()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False

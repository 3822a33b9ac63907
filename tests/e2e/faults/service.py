"""A corpus service as a process of its own, to be treated badly: killed, starved, asked after its health."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos import corpus_pb2_grpc
from services.client import Nonesuch
from services.common import rpc
from services.common.settings import CommonSettings
from tests.e2e.system import ROOT
from tests.waiting import wait_for

PROGRAM = (sys.executable, "-m", "services.corpus")
END_S = 120.0  # for a process to end, or its children
SLOW_FACTOR = 20.0


class CorpusProcess:
    """`python -m services.corpus` on a data folder, on a free port, leading a process group.

    Args:
        data: its NONESUCH_DATA.
        prefix: what to start it through, such as `unshare`.
        program: what to start.
        settings: environment variables.
    """

    def __init__(
        self, data: Path, *, prefix: Sequence[str] = (), program: Sequence[str] = PROGRAM, **settings: str
    ) -> None:
        environ = {
            **os.environ,
            "NONESUCH_DATA": str(data),
            "NONESUCH_CORPUS_LISTEN": "127.0.0.1:0",
            "NONESUCH_CORPUS_METRICS_LISTEN": "127.0.0.1:0",
            **settings,
        }
        data.parent.mkdir(parents=True, exist_ok=True)
        self.log = data.with_name(f"{data.name}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *program],
                cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        ready = self.process.stdout.readline().split()
        assert ready[:2] == ["ready", "corpus"], f"the service did not start: {self.log.read_text()}"
        self.address = ready[2]
        self.pid = self.process.pid
        self._channel = rpc.channel(self.address)
        self.stub = corpus_pb2_grpc.CorpusServiceStub(self._channel)

    def client(self) -> Nonesuch:
        """The library, pointed at it. Close it."""
        return Nonesuch(CommonSettings(corpus_address=self.address))

    def children(self) -> list[int]:
        """Its cleaning processes."""
        return children_of(self.pid)

    def bytes_written(self) -> int:
        """Bytes that it gave to write(2) so far: a measure of how far it is that no busy machine bends."""
        lines = Path(f"/proc/{self.pid}/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["wchar"])

    def memory_bytes(self) -> int:
        """Memory that it holds, its children's left out."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))

    def kill(self, *, group: bool) -> None:
        """`kill -9`: of the whole group at once, or of the service alone, whose children must end by themselves."""
        cleaning = self.children()
        if group:
            os.killpg(self.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait(END_S)
        self._close()
        wait_for(lambda: not any(is_alive(child) for child in cleaning), "the cleaning processes are gone", END_S)

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
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait(END_S)
        self._close()

    def _close(self) -> None:
        self._channel.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None and self.process.poll() is None:
            self.stop()
        else:
            self.put_away()


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def health_watched(service: CorpusProcess, within_s: float) -> Iterator[list[float]]:
    """While the block runs, ask after the service's health again and again; the answers must come in time.

    Half of them within `within_s`, and the last within SLOW_FACTOR times that: a machine may stand still for a moment,
    and a service that is held up answers nobody meanwhile. Yields the seconds that each answer took.
    """
    seconds: list[float] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def watch() -> None:
        with rpc.channel(service.address) as channel:
            checks = health_pb2_grpc.HealthStub(channel)
            while not (seconds and ended.is_set()):
                started = time.monotonic()
                try:
                    answer = checks.Check(health_pb2.HealthCheckRequest(), timeout=SLOW_FACTOR * within_s)
                    assert answer.status == health_pb2.HealthCheckResponse.SERVING
                except BaseException as error:  # noqa: BLE001 - told where the block ends
                    errors.append(error)
                seconds.append(time.monotonic() - started)
                ended.wait(0.05)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield seconds
    finally:
        ended.set()
        watching.join()
    assert not errors, f"{len(errors)} of {len(seconds)} checks failed, the first: {errors[0]}"
    median, most = statistics.median(seconds), max(seconds)
    assert median < within_s and most < SLOW_FACTOR * within_s, f"median {median}, most {most} s"

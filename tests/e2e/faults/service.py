"""A corpus service as a process of its own: killed, starved, asked after its health."""

import statistics
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
from tests.e2e.faults.process import ServiceProcess

SLOW_FACTOR = 20.0


class CorpusProcess(ServiceProcess):
    """A corpus service; its children clean posts."""

    def __init__(self, data: Path, *, prefix: Sequence[str] = (), program: Sequence[str] = (), **settings: str) -> None:
        super().__init__("corpus", data, prefix=prefix, program=program, **settings)
        self.stub = corpus_pb2_grpc.CorpusServiceStub(self.channel)

    def client(self) -> Nonesuch:
        """The library, pointed at it. Close it."""
        return Nonesuch(CommonSettings(corpus_address=self.address))

    def bytes_written(self) -> int:
        """Bytes that it gave to write(2) so far: a measure of how far it is that no busy machine bends."""
        lines = Path(f"/proc/{self.pid}/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["wchar"])

    def memory_bytes(self) -> int:
        """Memory that it holds, its children's left out."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


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

"""The generator under load: new versions, too many callers, an end in the middle, and ten minutes of all.

Each trial runs a generator as a process of its own, checks what it promises, and returns a sentence of figures.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import generator_pb2 as pb
from tests.e2e.load.callers import CONFIG, MODEL, QUEUE, SLOTS, GeneratorProcess, calling, read_stream, request
from tests.rpc.generator.serving import publish
from tests.waiting import PATIENCE_S, wait_for

CAPACITY = SLOTS + QUEUE
LONG = 1000  # tokens of a sample that slides


def new_versions(folder: Path, *, seconds: float, every_s: float) -> str:
    """A version every few seconds under full load, a damaged one among them: nothing fails, none mixes versions."""
    with GeneratorProcess(folder, NONESUCH_GENERATOR_MAX_MODELS="2") as service:
        with calling(service, SLOTS) as before:
            time.sleep(seconds / 3)
        newest, sound, damaged = 1, 1, 0
        with calling(service, SLOTS) as report:
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                time.sleep(every_s)
                newest += 1
                if newest == 3:
                    _publish_damaged(service, folder, newest)
                    damaged = newest
                else:
                    publish(service.models, MODEL, newest, config=CONFIG)
                    sound = newest
            wait_for(lambda: service.serves(sound), f"version {sound} is served")
            wait_for(lambda: any(each.version == sound for each in report.written), f"version {sound} writes")
        assert not report.failures and not before.failures, (report.failures + before.failures)[:3]
        seen = sorted({each.version for each in report.written})
        assert damaged not in seen, f"the damaged version {damaged} wrote"
        assert len(seen) >= 2, f"versions {seen} wrote"
        assert not (wrong := report.mixed_up(service)), wrong[:3]
        usual, disturbed = before.p99_s(), report.p99_s()
        return (
            f"{newest - 1} versions published, {seen} wrote {len(report.written)} samples; seconds per token at the "
            f"99th percentile {disturbed:.4f}, undisturbed {usual:.4f}: {disturbed / usual:.2f} times"
        )


def _publish_damaged(service: GeneratorProcess, folder: Path, version: int) -> None:
    made = publish(folder / "elsewhere", MODEL, version, config=CONFIG)
    path = made / "engine.litert"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    shutil.move(made, folder / "data" / "models" / ".arriving")
    (folder / "data" / "models" / ".arriving").rename(service.models / MODEL / str(version))


def overload(folder: Path, *, times: int) -> str:
    """Slots and queue are full, then many more callers ask at once: each is told at once, and the first end well."""
    with GeneratorProcess(folder) as service:
        first: list[int] = []
        refused: list[float] = []
        problems: list[str] = []

        def fill(number: int, tokens: int) -> None:
            wanted = _long(number)
            wanted.max_new_tokens = tokens
            try:
                first.append(tokens - len(read_stream(service, wanted).ids))
            except grpc.RpcError as error:
                problems.append(f"one of the first: {error.code().name}: {error.details()}")

        def ask(number: int) -> None:
            started = time.monotonic()
            try:
                service.generate(request(number))
                problems.append("one more was answered")
            except grpc.RpcError as error:
                refused.append(time.monotonic() - started)
                if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or not _says_when(error):
                    problems.append(f"{error.code().name}: {error.details()}")

        def begin(call: Callable[..., None], *args: int) -> threading.Thread:
            thread = threading.Thread(target=call, args=args, daemon=True)
            thread.start()
            return thread

        started = time.monotonic()
        writing = [begin(fill, number, 2 * LONG) for number in range(SLOTS)]
        wait_for(lambda: problems or _load(service) == (SLOTS, 0), "all slots are taken")
        waiting = [begin(fill, number, 48) for number in range(SLOTS, CAPACITY)]
        wait_for(lambda: problems or _load(service) == (SLOTS, QUEUE), "the queue is full")
        asking = [begin(ask, number) for number in range(times * CAPACITY)]
        for thread in asking:
            thread.join(PATIENCE_S)
        assert problems or _load(service) == (SLOTS, QUEUE), "the first ended while the others asked"
        for thread in (*writing, *waiting):
            thread.join(PATIENCE_S)
        assert not problems, problems[:3]
        assert len(refused) == times * CAPACITY, f"{len(refused)} of {times * CAPACITY} were refused"
        assert first == [0] * CAPACITY, f"tokens that the first lack: {first}"
        seconds = time.monotonic() - started
        wait_for(lambda: _is_idle(service), "all is over")
        return (
            f"{CAPACITY} callers had all the room, written to their end within {seconds:.2f} s; {times * CAPACITY} "
            f"more told within {statistics.median(refused):.3f} s at the median, {max(refused):.2f} s at most"
        )


def _says_when(error: grpc.RpcError) -> bool:
    status = rpc_status.from_call(error)
    return any(packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for packed in (status.details if status else ()))


def _load(service: GeneratorProcess) -> tuple[int, int]:
    """How many samples run, and how many wait."""
    info = service.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=PATIENCE_S)
    return info.num_running, info.num_queued


def _is_idle(service: GeneratorProcess) -> bool:
    return _load(service) == (0, 0)


def _long(number: int) -> pb.GenerateRequest:
    """A request that keeps its slot for seconds."""
    wanted = request(number, tokens=LONG)
    wanted.slide = True
    return wanted


def drain(folder: Path) -> str:
    """SIGTERM with streams open: each is written to its end, and the process ends well."""
    with GeneratorProcess(folder) as service:
        found: list[int] = []
        problems: list[str] = []
        begun = threading.Barrier(SLOTS + 1, timeout=PATIENCE_S)

        def call(number: int) -> None:
            ids: list[int] = []
            try:
                for delta in service.stub.GenerateStream(_long(number), timeout=PATIENCE_S):
                    ids.extend(delta.text.ids)
                    if delta.HasField("text") and len(ids) == len(delta.text.ids):
                        begun.wait()
            except grpc.RpcError as error:
                problems.append(f"{error.code().name}: {error.details()}")
                begun.abort()
            except threading.BrokenBarrierError:
                problems.append("another stream did not begin")
            found.append(len(ids))

        threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(SLOTS)]
        for thread in threads:
            thread.start()
        try:
            begun.wait()
        except threading.BrokenBarrierError:
            raise AssertionError(f"not all streams began: {problems}") from None
        num_running = _load(service)[0]
        assert num_running > 0, "the streams ended before SIGTERM could find them open"
        started = time.monotonic()
        os.kill(service.pid, signal.SIGTERM)
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not problems, problems
        status = service.process.wait(PATIENCE_S)
        seconds = time.monotonic() - started
        assert found == [LONG] * SLOTS, f"tokens of the streams: {found}"
        assert status == 0, f"the process ended with status {status}"
        return f"{num_running} open streams were written to their end, the process ended {seconds:.1f} s after SIGTERM"


def soak(folder: Path, *, seconds: float, seed: int, long: bool) -> str:
    """Mixed load: each kind of call gets through and open files stay as they are; if it is `long`, so does memory."""
    chance = random.Random(seed)
    memory: list[int] = []
    descriptors: list[int] = []
    with GeneratorProcess(folder) as service:
        ended = threading.Event()
        counts = {"stream": 0, "whole": 0, "score": 0, "left": 0, "late": 0, "refused": 0}
        problems: list[str] = []

        def call(caller: int) -> None:
            mine = random.Random(f"{seed}/{caller}")
            while not ended.is_set():
                kind = mine.choice(["stream", "whole", "score", "left", "late"])
                try:
                    _one(service, kind, mine)
                    counts[kind] += 1
                except grpc.RpcError as error:
                    counts["refused"] += 1
                    if error.code() not in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED):
                        problems.append(f"{kind} ended with {error.code().name}: {error.details()}")
                    ended.wait(0.05)

        threads = [threading.Thread(target=call, args=(caller,)) for caller in range(SLOTS + 2)]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            ended.wait(seconds / 60 * chance.uniform(0.5, 1.5))
            memory.append(service.memory_bytes)
            descriptors.append(service.num_descriptors)
        ended.set()
        for thread in threads:
            thread.join()
        assert not problems, problems[:3]
        wait_for(lambda: _is_idle(service), "all is over")
    for kind in ("stream", "whole", "score"):
        assert counts[kind] > 0, f"no {kind} got through: {counts}"
    # The first third is for caches to fill.
    third = len(memory) // 3
    early, late = statistics.median(memory[third : 2 * third]), statistics.median(memory[2 * third :])
    files_early, files_late = max(descriptors[third : 2 * third]), max(descriptors[2 * third :])
    # In seconds, memory still moves with what happens to run.
    if long:
        assert late <= early * 1.02 + (2 << 20), f"memory grew from {early / 1e6:.1f} to {late / 1e6:.1f} MB: {memory}"
    assert files_late <= files_early + 2, f"open files grew from {files_early} to {files_late}: {descriptors}"
    done = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return (
        f"{done}; memory {early / 1e6:.1f} MB in the second third, {late / 1e6:.1f} in the last; "
        f"open files at most {files_early} and {files_late}"
    )


def _one(service: GeneratorProcess, kind: str, chance: random.Random) -> None:
    """One call of a kind, as a caller might make it."""
    wanted = request(chance.randrange(1000), tokens=chance.randint(1, 120))
    if kind == "stream":
        read_stream(service, wanted)
    elif kind == "whole":
        wanted.n = chance.randint(1, 3)
        service.generate(wanted)
    elif kind == "score":
        text = "The owl sat on the roof. " * chance.randint(1, 9)
        service.stub.Score(pb.ScoreRequest(model=MODEL, text=text), timeout=PATIENCE_S)
    elif kind == "left":
        stream = service.stub.GenerateStream(wanted, timeout=PATIENCE_S)
        for _ in range(chance.randint(1, 5)):
            next(stream, None)
        stream.cancel()
    else:
        service.generate(wanted, timeout_s=chance.uniform(0.001, 0.1))

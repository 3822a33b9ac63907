"""What a training run costs those who wait for text: one stream's speed and the health's delay, with and without.

`python tests/bench/bench_contention.py` measures local processes; `--compose` the compose stack, built and started
for the purpose. Both halves are interleaved in one call; each figure is a median. One JSON object per line.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from services.client import Nonesuch
from services.common.health import is_serving
from services.common.settings import CommonSettings
from services.supervisor import Supervisor
from tests.e2e.system import QUICK, ROOT, SAMPLE_BLOG, Command, Stack, free_port, wait_for

ROUNDS = 3
STREAMS_PER_ROUND = 3
TOKENS = 400
LONG = ["--steps", "100000", "--sample-every", "0", "--validate-every", "0"]


@contextmanager
def local() -> Iterator[tuple[Command, str]]:
    """Local processes: the command, and the generator's address."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "NONESUCH_DATA": f"{folder}/data", "NONESUCH_CACHE": f"{folder}/cache"}
        supervisor = Supervisor(environ, free_ports=True)
        supervisor.start(progress=lambda name: None)
        try:
            command = Command([sys.executable, "-m", "services.client"], dict(supervisor.environ))
            command.run("posts", "add", str(SAMPLE_BLOG))
            yield command, supervisor.address("generator")
        finally:
            supervisor.stop()


@contextmanager
def compose() -> Iterator[tuple[Command, str]]:
    """The compose stack: the command in a container, and the generator's published address."""
    admin, generator = free_port(), free_port()
    environ = {**os.environ, "NONESUCH_ADMIN_PORT": str(admin), "NONESUCH_GENERATOR_PORT": str(generator)}
    stack = Stack("nonesuch-bench", environ, admin, generator)
    stack.compose("--profile", "command", "build", timeout=1800)
    try:
        stack.compose("up", "--detach", "--wait")
        stack.command("-v", f"{SAMPLE_BLOG}:/posts:ro").run("posts", "add", "/posts")
        yield stack.command(), f"127.0.0.1:{generator}"
    finally:
        stack.compose("--profile", "command", "down", "--volumes")


def stream_speed(nonesuch: Nonesuch) -> float:
    """Tokens per second of one stream, from its first text to its last."""
    begun, tokens = 0.0, 0
    options = {"max_new_tokens": TOKENS, "ignore_end_of_text": True, "slide": True}
    for delta in nonesuch.stream("", model="quick", **options):
        if delta.WhichOneof("delta") == "text":
            if not begun:
                begun, tokens = time.perf_counter(), 0
            else:
                tokens += len(delta.text.ids)
    return tokens / (time.perf_counter() - begun)


def health_seconds(address: str) -> float:
    """How long the health service takes to answer; infinite when it does not."""
    begun = time.perf_counter()
    return time.perf_counter() - begun if is_serving(address) else float("inf")


def measure(command: Command, address: str, where: str) -> None:
    """Alternate rounds with and without training, and print the medians."""
    command.run("train", "--run", "quick", "--follow", "--publish", "at-end", *QUICK)
    command.run("generate", "--model", "quick", "--wait", "--length", "5")
    nonesuch = Nonesuch(CommonSettings(generator_address=address))
    speeds: dict[bool, list[float]] = {False: [], True: []}
    delays: list[float] = []
    stream_speed(nonesuch)
    for _ in range(ROUNDS):
        speeds[False] += [stream_speed(nonesuch) for _ in range(STREAMS_PER_ROUND)]
        command.run("train", "--run", "long", *LONG)
        first = command.json("runs", "show", "long")["step"]
        wait_for(lambda first=first: command.json("runs", "show", "long")["step"] > first + 2, "training goes", 240)
        for _ in range(STREAMS_PER_ROUND):
            speeds[True].append(stream_speed(nonesuch))
            delays += [health_seconds(address) for _ in range(10)]
        command.run("runs", "stop", "long")
        wait_for(lambda: command.json("runs", "show", "long")["state"] == "CANCELLED", "training stops", 120)
    alone, beside = statistics.median(speeds[False]), statistics.median(speeds[True])
    line = {"bench": "contention", "case": f"{where}, 1 stream beside a training run"}
    print(json.dumps({**line, "metric": "decode tokens/s", "unit": "tokens/s", "ours": round(beside, 1),
                      "peer": "the same without training", "theirs": round(alone, 1),
                      "ratio": round(beside / alone, 3)}))  # fmt: skip
    print(json.dumps({**line, "metric": "health answer, slowest of " + str(len(delays)), "unit": "s",
                      "ours": round(max(delays), 4), "peer": "limit", "theirs": 1.0,
                      "ratio": round(1.0 / max(delays), 1)}), flush=True)  # fmt: skip


def main() -> None:
    """Measure where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compose", action="store_true", help="measure the compose stack")
    os.chdir(ROOT)
    if parser.parse_args().compose:
        with compose() as (command, address):
            measure(command, address, "compose")
    else:
        with local() as (command, address):
            measure(command, address, "local")


if __name__ == "__main__":
    main()

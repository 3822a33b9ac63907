"""What an import costs: words a second against the 2019 script's loop, a second import, and memory.

`python tests/bench/bench_corpus.py` writes a generated blog, starts the corpus service as a process, and imports with
the `nonesuch` command. The script's loop runs alone, in one process, before and after each cold import; each figure is
a median over the rounds. One JSON object per line. `--posts 1000 --small-posts 10000` takes a minute.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.generated_blog import write_blog

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "services.client", "posts", "add", "--json"]
WORDS = 800
SMALL_WORDS = 30  # of the posts that memory is measured with
SLICE = 1000  # posts that the loop reads each time
MIB = 1 << 20

# What the script of 2019 did with each post: two lines of metadata cut off, Markdown to HTML, HTML to text.
LOOP = """
import sys, time, warnings
from pathlib import Path
import markdown
from bs4 import BeautifulSoup
warnings.simplefilter("ignore")
bodies = [Path(name).read_text(encoding="utf-8").split("---\\n", 2)[2] for name in sys.stdin.read().split("\\n")]
begun, used = time.perf_counter(), time.process_time()
for body in bodies:
    BeautifulSoup(markdown.markdown(body), "html.parser").get_text()
words = sum(len(body.split()) for body in bodies)
print(words / (time.perf_counter() - begun), words / (time.process_time() - used))
"""


class Service:
    """The corpus service as a process, with a data folder of its own."""

    def __init__(self, data: Path) -> None:
        environ = {
            **os.environ,
            "NONESUCH_DATA": str(data),
            "NONESUCH_CORPUS_LISTEN": "127.0.0.1:0",
            "NONESUCH_CORPUS_METRICS_LISTEN": "127.0.0.1:0",
            "NONESUCH_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "services.corpus"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        _, _, address = self.process.stdout.readline().split()
        self.environ = {**environ, "NONESUCH_CORPUS_ADDRESS": address}

    def add(self, blog: Path) -> tuple[float, dict]:
        """Import a folder with the command; seconds from its start to its end, and the report."""
        begun = time.perf_counter()
        done = subprocess.run([*COMMAND, str(blog)], cwd=ROOT, env=self.environ, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
        assert done.returncode == 0, done.stderr
        return seconds, json.loads(done.stdout)

    def pss_bytes(self) -> int:
        """Memory of the service and its workers; what they share is counted once."""
        return sum(map(_pss_bytes, _with_children(self.process.pid)))

    def processor_s(self) -> float:
        """Processor time that the service and its workers used so far."""
        return sum(map(_processor_s, _with_children(self.process.pid)))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextmanager
def service() -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as data:
        running = Service(Path(data))
        try:
            yield running
        finally:
            running.stop()


@contextmanager
def peak_of(running: Service) -> Iterator[list[int]]:
    """The largest memory seen while the block ran, as the list's one entry."""
    peak = [running.pss_bytes()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            peak[0] = max(peak[0], running.pss_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def _with_children(process: int) -> list[int]:
    found = [process]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def _processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its own, and that of workers that ended


def _pss_bytes(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def loop_speed(files: list[Path]) -> tuple[float, float]:
    """Words a second of the 2019 loop, and words a second of processor time."""
    names = "\n".join(map(str, files))
    done = subprocess.run([sys.executable, "-c", LOOP], input=names, capture_output=True, text=True, check=True)
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def speed(blog: Path, rounds: int) -> None:
    """Print words a second of cold imports, and seconds of imports in which nothing changed."""
    files = sorted(blog.rglob("*.md"))
    words = sum(len(file.read_text(encoding="utf-8").split("---\n", 2)[2].split()) for file in files)
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    again: list[float] = []
    for number in range(rounds):
        part = files[number * SLICE % len(files) :][:SLICE]
        theirs.append(loop_speed(part))
        with service() as running:
            used = running.processor_s() + _commands_s()
            seconds, report = running.add(blog)
            used = running.processor_s() + _commands_s() - used
            assert (report["num_added"], len(report.get("skipped", []))) == (len(files), 0), report
            ours.append((words / seconds, words / used))
            seconds, report = running.add(blog)
            assert report["num_unchanged"] == len(files), report
            again.append(seconds)
        theirs.append(loop_speed(part))
    (our_wall, our_processor), (their_wall, their_processor) = _medians(ours), _medians(theirs)
    show(
        "cold_import",
        **{"posts": len(files), "words": words, "rounds": rounds, "words_per_s": round(our_wall)},
        **{"peer": "2019 loop, one process", "peer_words_per_s": round(their_wall)},
        ratio=round(our_wall / their_wall, 2),
        # On a busy machine, what counts is the processor time: the share of two processors that would do.
        ratio_of_two_idle_processors=round(2 * our_processor / their_processor, 2),
        target=1.0,
    )
    show("reimport_unchanged", posts=len(files), seconds=round(statistics.median(again), 2), limit_s=3.0)


def _commands_s() -> float:
    """Processor time of the commands that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def memory(folder: Path, few: int, many: int) -> None:
    """Print the peak memory of imports of few and of many small posts, each in a new service."""
    peaks = []
    for number in (few, many):
        blog = folder / f"small-{number}"
        write_blog(blog, number, SMALL_WORDS)
        with service() as running, peak_of(running) as peak:
            seconds, report = running.add(blog)
            assert report["num_added"] == number, {**report, "skipped": []}
            again, report = running.add(blog)
            assert report["num_unchanged"] == number, {**report, "skipped": []}
        peaks.append(peak[0] / MIB)
        figures = {"seconds": round(seconds, 1), "reimport_s": round(again, 1)}
        show("memory", posts=number, peak_pss_mib=round(peaks[-1], 1), limit_mib=450, **figures)
    show("memory_growth", posts=[few, many], growth_mib=round(peaks[1] - peaks[0], 1), limit_mib=60)


def show(case: str, **figures: object) -> None:
    print(json.dumps({"bench": "corpus", "case": case, **figures}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=10_000, help="posts of 800 words")
    parser.add_argument("--rounds", type=int, default=3, help="cold imports of them")
    parser.add_argument("--small-posts", type=int, default=100_000, help="small posts for memory; 0 leaves it out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.posts:
            blog = Path(folder, "blog")
            write_blog(blog, options.posts, WORDS)
            speed(blog, options.rounds)
        if options.small_posts:
            memory(Path(folder), min(1000, options.small_posts), options.small_posts)


if __name__ == "__main__":
    main()

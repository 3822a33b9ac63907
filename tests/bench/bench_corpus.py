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
from importlib.metadata import version
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


def speed(blog: Path, rounds: int, peers: bool) -> None:
    """Print words a second of cold imports, and seconds of imports in which nothing changed."""
    files = sorted(blog.rglob("*.md"))
    words = sum(len(file.read_text(encoding="utf-8").split("---\n", 2)[2].split()) for file in files)
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    again: list[float] = []
    for number in range(rounds):
        part = files[number * SLICE % len(files) :][:SLICE]
        if peers:
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
        if peers:
            theirs.append(loop_speed(part))
    our_wall, our_processor = _medians(ours)
    their_wall, their_processor = _medians(theirs) if peers else (None, None)
    show(
        *("cold import", "words/s", "words/s", round(our_wall), f"2019 script, markdown {version('markdown')}"),
        *(their_wall, their_wall and our_wall / their_wall),
        **{"posts": len(files), "words": words, "rounds": rounds},
        # On a busy machine, what counts is the processor time: the share of two processors that would do.
        ratio_of_two_idle_processors=their_processor and round(2 * our_processor / their_processor, 2),
    )
    took = statistics.median(again)
    show("re-import", "time", "s", round(took, 2), "limit", 3.0, 3.0 / took, posts=len(files))


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
        more = {"posts": number, "import_s": round(seconds, 1), "reimport_s": round(again, 1)}
        show("small posts", "peak memory", "MiB of PSS", round(peaks[-1], 1), "limit", 450, 450 / peaks[-1], **more)
    grown = peaks[1] - peaks[0]
    ratio = 60 / grown if grown > 0 else None
    show("small posts, growth", "peak memory", "MiB of PSS", round(grown, 1), "limit", 60, ratio, posts=[few, many])


def show(
    case: str, metric: str, unit: str, ours: float, peer: str, theirs: float | None, ratio: float | None, **more: object
) -> None:
    """Print one line; a ratio above 1 means that ours is better, or the limit is kept."""
    line = {"bench": "corpus", "case": case, "metric": metric, "unit": unit, "ours": ours, "peer": peer}
    line |= {"theirs": theirs and round(theirs, 1), "ratio": ratio and round(ratio, 2), **more}
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=10_000, help="posts of 800 words")
    parser.add_argument("--rounds", type=int, default=3, help="cold imports of them")
    parser.add_argument("--small-posts", type=int, default=100_000, help="small posts for memory; 0 leaves it out")
    parser.add_argument("--peers", choices=["yes", "no"], default="yes", help="run the script of 2019 too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.posts:
            blog = Path(folder, "blog")
            write_blog(blog, options.posts, WORDS)
            speed(blog, options.rounds, options.peers == "yes")
        if options.small_posts:
            memory(Path(folder), min(1000, options.small_posts), options.small_posts)


if __name__ == "__main__":
    main()

"""`make faults`: kill -9 during imports, at random moments. `python -m tests.e2e.faults.kills --help`.

Each trial kills a service in mid-import, starts it anew and holds it to this: the catalogue opens and is sound;
each corpus is as it was before or as it is after, never between; what the killed import left is gone; the same
import completes, and its snapshot has the digest of an undisturbed one.

Moments are spread evenly over an undisturbed import, measured first on this machine: half of them by time, half
by bytes written, which gives the short final transaction its share.
"""

import hashlib
import itertools
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from protos import corpus_pb2 as pb
from services.common.errors import NonesuchError
from tests.e2e.faults import blog, trials, uploads
from tests.e2e.faults.service import CorpusProcess
from tests.waiting import wait_for

NUM_POSTS = 120
IMPORT_S = 120.0
SWEEP_S = 60.0


@dataclass(frozen=True)
class Variant:
    """A kind of import: which corpora are there before, and which it brings in, all at the same time."""

    name: str
    before: tuple[str, ...]
    corpora: tuple[str, ...]


VARIANTS = (
    Variant("a first import", (), ("blog",)),
    Variant("an import of changes", ("blog", "other"), ("blog",)),
    Variant("two imports at once", ("blog", "other"), ("blog", "other")),
    Variant("an archive", (), ("packed",)),
)


@dataclass(frozen=True)
class Moment:
    """When to kill, as a fraction of an undisturbed import's seconds or bytes, and whom."""

    fraction: float
    by: str  # "time" or "bytes"
    group: bool  # the whole process group, or the service alone

    def __str__(self) -> str:
        return f"{self.fraction:6.1%} of {self.by:5}, {'all processes' if self.group else 'service alone'}"


@dataclass(frozen=True)
class Picture:
    """All that a service keeps, its clock and its snapshots apart.

    Args:
        corpora: of each corpus the digest of its documents, and its posts as the service lists them.
        files: what lies in its folder, the catalogue apart, with the SHA-256 of each.
        rows: how many rows each table of its catalogue has.
    """

    corpora: dict[str, tuple[str, ...]]
    files: dict[str, str]
    rows: dict[str, int]


@dataclass
class Ground:
    """What trials start from, and what undisturbed imports make of it.

    Args:
        before: the data folder that each trial gets a copy of.
        blogs: the folder to import into each corpus.
        pictures: by the corpora that were imported: what is there then.
        measured: by the same, what the imports took: seconds and bytes written.
    """

    before: Path
    blogs: dict[str, Path]
    pictures: dict[frozenset[str], Picture] = field(default_factory=dict)
    measured: dict[frozenset[str], tuple[float, int]] = field(default_factory=dict)


class Imports(threading.Thread):
    """Imports of corpora, all at the same time, seen from the client's side."""

    def __init__(self, service: CorpusProcess, blogs: dict[str, Path]) -> None:
        super().__init__(daemon=True)
        self.answered: set[str] = set()
        self.errors: dict[str, BaseException] = {}
        self._service = service
        self._blogs = blogs

    def run(self) -> None:
        running = [threading.Thread(target=self._bring, args=each, daemon=True) for each in self._blogs.items()]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(IMPORT_S)

    def _bring(self, corpus: str, folder: Path) -> None:
        client = self._service.client()
        try:
            client.add_posts(folder, corpus=corpus, prune=True)
            self.answered.add(corpus)
        except BaseException as error:  # noqa: BLE001 - looked at by those who wait
            self.errors[corpus] = error
        finally:
            client.close()

    def complete(self) -> float:
        """Run to the end, undisturbed, and return how many seconds it took."""
        started = time.monotonic()
        self.start()
        self.join()
        assert not self.errors, self.errors
        assert self.answered == self._blogs.keys()
        return time.monotonic() - started


def prepare(folder: Path, before: tuple[str, ...], corpora: tuple[str, ...]) -> Ground:
    """Make the ground of trials in an empty folder, where some corpora are there before."""
    blogs: dict[str, Path] = {}
    for seed, corpus in enumerate(corpora):
        write = blog.pack if corpus == "packed" else blog.write
        blogs[corpus] = write(folder / "new" / corpus, blog.posts(seed, NUM_POSTS, later=True))
    ground = Ground(folder / "before", blogs)
    with CorpusProcess(ground.before) as service:
        for seed, corpus in enumerate(before):
            old = blog.write(folder / "old" / corpus, blog.posts(seed, NUM_POSTS))
            Imports(service, {corpus: old}).complete()
        ground.pictures[frozenset()] = swept_picture(service, ground.before)
    for number in range(1, len(corpora) + 1):
        for imported in map(frozenset, itertools.combinations(corpora, number)):
            data = shutil.copytree(ground.before, folder / f"after-{'-'.join(sorted(imported))}")
            with CorpusProcess(data) as service:
                at_start = service.bytes_written()
                seconds = Imports(service, {corpus: blogs[corpus] for corpus in imported}).complete()
                ground.measured[imported] = (seconds, service.bytes_written() - at_start)
                ground.pictures[imported] = swept_picture(service, data)
    return ground


def swept_picture(service: CorpusProcess, data: Path) -> Picture:
    """What is there after a sweep, such as a start does, and a deletion."""
    service.stub.UploadPosts(uploads.parts({"a.md": b"short-lived"}, corpus="gone"))
    service.stub.DeleteCorpus(pb.DeleteCorpusRequest(corpus="gone"))
    return picture(service, data)


def moments(seed: int, number: int) -> Iterator[tuple[Variant, Moment]]:
    """Draw moments spread evenly over the whole, and deal them out to the variants and to ways to kill."""
    drawn = random.Random(seed)
    strata = drawn.sample(range(number), number)
    for index, stratum in enumerate(strata):
        way = index + index // len(VARIANTS)  # so that every variant meets every way
        moment = Moment((stratum + drawn.random()) / number, ("time", "bytes")[way % 2], group=way // 2 % 2 == 0)
        yield VARIANTS[index % len(VARIANTS)], moment


def trial(ground: Ground, corpora: tuple[str, ...], moment: Moment, data: Path) -> str:
    """Kill at a moment of an import of `corpora`, look at what is left, import again.

    Args:
        data: a folder to be made for it.

    Returns:
        A few words on what was seen.

    Raises:
        AssertionError: the service did not hold.
    """
    blogs = {corpus: ground.blogs[corpus] for corpus in corpora}
    whole = ground.pictures[frozenset(corpora)]
    seconds, num_bytes = ground.measured[frozenset(corpora)]
    shutil.copytree(ground.before, data)
    with CorpusProcess(data) as service:
        at_start = service.bytes_written()
        imports = Imports(service, blogs)
        started = time.monotonic()
        imports.start()
        if moment.by == "time":
            imports.join(moment.fraction * seconds)
        else:
            while imports.is_alive() and service.bytes_written() - at_start < moment.fraction * num_bytes:
                time.sleep(0.0002)
        killed_after = time.monotonic() - started
        service.kill(group=moment.group)
        imports.join()
    for corpus, error in imports.errors.items():
        assert isinstance(error, NonesuchError), f"the import of {corpus} met {error!r}, no error of ours"
    left = sum(1 for file in data.rglob("*") if file.is_file()) - len(ground.pictures[frozenset()].files)
    check_integrity(data)

    with CorpusProcess(data) as service:
        done = settled(ground, service, data)
        assert imports.answered <= done, f"the import of {imports.answered} was answered, but what is there is {done}"
        Imports(service, blogs).complete()
        assert corpora_of(service) == whole.corpora, "the next import's posts or digest are not the undisturbed one's"
    check_integrity(data)
    state = "as before" if not done else "as after" if done == set(corpora) else f"{'+'.join(done)} as after"
    answer = "" if imports.answered == done else ", not yet answered"
    return f"{killed_after:5.2f} s, {left:3} files more: {state}{answer}"


def settled(ground: Ground, service: CorpusProcess, data: Path) -> frozenset[str]:
    """The corpora whose import happened, each wholly; what the others left must be gone, or go soon."""
    now = picture(service, data)
    for done, expected in ground.pictures.items():
        if now.corpora == expected.corpora:
            with suppress(AssertionError):  # told below, with what it is that stays
                wait_for(lambda expected=expected: picture(service, data) == expected, "it is swept", SWEEP_S)
            now = picture(service, data)
            assert now.rows == expected.rows, f"rows left behind: {now.rows}, expected {expected.rows}"
            differing = sorted(dict(now.files.items() ^ expected.files.items()))
            assert not differing, f"{len(differing)} files left behind, lost or changed, such as {differing[:2]}"
            return done
    sizes = {corpus: len(listed) for corpus, listed in now.corpora.items()}
    raise AssertionError(f"what is there is neither before nor after; posts: {sizes}")


def picture(service: CorpusProcess, data: Path) -> Picture:
    """Look at all that a service keeps, while nobody writes."""
    files = {
        str(file.relative_to(data)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in data.rglob("*")
        if file.is_file() and not file.name.startswith("catalogue.db")
    }
    with catalogue_copy(data) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    kept = {name: number for name, number in rows.items() if "snapshot" not in name and "sqlite" not in name}
    return Picture(corpora_of(service), files, kept)


def corpora_of(service: CorpusProcess) -> dict[str, tuple[str, ...]]:
    """Of each corpus the digest of a snapshot, and its posts."""
    found = {}
    with service.client() as client:
        for corpus in [each.name for each in service.stub.ListCorpora(pb.ListCorporaRequest()).corpora]:
            digest = service.stub.CreateSnapshot(pb.CreateSnapshotRequest(corpus=corpus)).snapshot.digest
            found[corpus] = (
                digest,
                *(post.SerializeToString(deterministic=True).hex() for post in client.posts(corpus)),
            )
    return found


class catalogue_copy:
    """The catalogue of a folder as it lies there, opened from a copy, so that looking changes nothing."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> sqlite3.Connection:
        self._folder = tempfile.TemporaryDirectory()
        for file in (self._data / "corpora").glob("catalogue.db*"):
            shutil.copy(file, self._folder.name)
        self._connection = sqlite3.connect(Path(self._folder.name, "catalogue.db"))
        return self._connection

    def __exit__(self, *_) -> None:
        self._connection.close()
        self._folder.cleanup()


def check_integrity(data: Path) -> None:
    """SQLite finds no fault in the catalogue."""
    with catalogue_copy(data) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def run(folder: Path, seed: int, number: int) -> list[str]:
    """Run `number` trials in an empty folder, print a line for each, and return what failed."""
    print(
        f"{number} moments, seed {seed}; again with: make faults FAULTS='--seed {seed} --moments {number}'", flush=True
    )
    grounds = {
        (): prepare(folder / "empty", (), ("blog", "packed")),
        ("blog", "other"): prepare(folder / "full", ("blog", "other"), ("blog", "other")),
    }
    for variant in VARIANTS:
        seconds, num_bytes = grounds[variant.before].measured[frozenset(variant.corpora)]
        print(f"{variant.name} takes {seconds:.2f} s and writes {num_bytes:,} bytes", flush=True)
    failures = []
    for index, (variant, moment) in enumerate(moments(seed, number), start=1):
        told = f"{index:3} {variant.name:20} killed at {moment}"
        attempt = partial(trial, grounds[variant.before], variant.corpora, moment)
        failures += trials.hold(told, folder / f"trial-{index}", attempt)
    return failures


if __name__ == "__main__":
    sys.exit(trials.main("Kill the corpus service with -9 during imports.", run, moments=20))

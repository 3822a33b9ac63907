"""Opening: an archive or an export, spooled to disk -> the posts in it, by way of a process that may be killed.

See opening_process.py for the other side. All of a bundle comes, or none: its posts are handed on only after the
process has read it to its end and found it good.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import services
from services.common.errors import Busy
from services.corpus.reasons import Code, Reason

# A process may wait for a processor far longer than it uses one; only a stopped one takes this long.
_WALL_PER_PROCESSOR_SECOND = 20
_ROOT = Path(services.__file__).parent.parent


@dataclass(frozen=True, slots=True)
class OpeningLimits:
    """What a bundle may hold and cost.

    Args:
        max_posts: files in it.
        max_bytes: unpacked bytes of all that is read.
        max_post_bytes: of one post; a larger one is left out.
        max_archive_bytes: of an export inside an archive.
        processor_seconds: for opening it.
    """

    max_posts: int
    max_bytes: int
    max_post_bytes: int
    max_archive_bytes: int
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """A post in a bundle, or why something in it is none. `path` begins with the bundle's."""

    path: str
    content: bytes
    modified_at: float | None
    left_out: Reason | None


@contextmanager
def opened(file: IO[bytes], path: str, limits: OpeningLimits, folder: Path) -> Iterator[Iterator[Found] | Reason]:
    """Open a bundle; the block gets what is in it, in order, or the reason why none of it can be taken.

    Args:
        file: a real file with the whole bundle.
        path: of the bundle; its suffix tells the kind.
        folder: where what is in it may lie meanwhile, on a disk.

    Raises:
        Busy: the disk is full.
    """
    with tempfile.TemporaryFile(dir=folder) as spool, tempfile.TemporaryFile(dir=folder) as scratch:
        result = _run(file, spool, scratch, path, limits)
        if isinstance(result, Reason):
            yield result
        else:
            spool.seek(0)
            yield _read(spool, path, result)


def _run(file: IO[bytes], spool: IO[bytes], scratch: IO[bytes], path: str, limits: OpeningLimits) -> str | Reason:
    """Let a process do it; return the folder that all members share."""
    file.flush()
    file.seek(0)
    numbers = [file.fileno(), spool.fileno(), scratch.fileno()]
    request = json.dumps({"path": path, **asdict(limits)})
    command = [sys.executable, "-m", "services.corpus.opening.opening_process", *map(str, numbers), request]
    child = subprocess.Popen(
        command, pass_fds=numbers, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        answer, _ = child.communicate(timeout=limits.processor_seconds * _WALL_PER_PROCESSOR_SECOND)
    except subprocess.TimeoutExpired:
        answer = ""
    finally:
        child.kill()
        child.communicate()
    if child.returncode == 0:
        result = json.loads(answer)
        if "full" in result:
            raise Busy("the volume has no room to open an archive; make room and try again", retry_after_s=60)
        return Reason(Code(result["code"]), result["message"]) if "code" in result else str(result["top"])
    if child.returncode in (-signal.SIGPROF, -signal.SIGKILL):
        message = f"opening it took more than {limits.processor_seconds:g} s of processor time, or too much memory"
    else:
        message = f"opening it broke the process that did it (status {child.returncode})"
    return Reason(Code.BAD_ARCHIVE, message)


def _read(spool: IO[bytes], bundle: str, top: str) -> Iterator[Found]:
    """The records of the spool, without the folder that all share, and no two with one path."""
    prefix = f"{bundle}/{top}/"
    taken: set[str] = set()  # by what was left out: a refused path may be like one below the folder that all share
    while length := spool.read(4):
        header = json.loads(spool.read(int.from_bytes(length, "big")))
        path = header["path"]
        if top and path.startswith(prefix):
            path = f"{bundle}/{path[len(prefix) :]}"
        if "code" in header:
            number = 2
            plain = path
            while path in taken:
                path, number = f"{plain} ({number})", number + 1
            taken.add(path)
            yield Found(path, b"", None, Reason(Code(header["code"]), header["message"]))
        else:
            yield Found(path, spool.read(header["size"]), header["modified_at"], None)

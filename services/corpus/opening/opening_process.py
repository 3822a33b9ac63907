"""The opening process: a child of the service that opens one archive or export, and may die of it.

`python -m services.corpus.opening.opening_process BUNDLE SPOOL SCRATCH REQUEST`, started by opener.py alone: three
open files and a JSON object. What it finds goes into the spool, a record each: four bytes of length, a JSON object,
and a post's content. One line of JSON on standard output says how it ended, so that nothing is taken from a bundle that
turns out to be bad at its end.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

from services.corpus.child import confine
from services.corpus.kinds import POSTS, is_archive, is_bundle, unknown_kind
from services.corpus.opening import archives, exports
from services.corpus.reasons import Code, LeftOut, Reason

MAX_ADDRESS_SPACE_BYTES = 1 << 30
MAX_PATH_LENGTH = 1000  # of a post
MAX_SHOWN_LENGTH = 900  # of what is left out, with room for a number
_PIECE = 256 << 10


class Spool:
    """Where posts and reasons go, in order. Each has a path that can be a post's, and no two have the same."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._paths: dict[str, None] = {}  # one a record, in order

    @property
    def num_records(self) -> int:
        """How many posts and reasons are kept."""
        return len(self._paths)

    def post(self, path: str, content: bytes, modified_at: float | None) -> None:
        """Keep a post."""
        if len(path) > MAX_PATH_LENGTH:
            message = f"its path has more than {MAX_PATH_LENGTH} characters"
            self.skip(path, Reason(Code.BAD_MEMBER, message))
        elif path in self._paths:  # an archive may hold the file `a.json` and the folder `a.json/`
            self.skip(path, Reason(Code.BAD_MEMBER, "another post before it has the same path"))
        else:
            self._write({"path": path, "modified_at": modified_at, "size": len(content)})
            self._file.write(content)

    def skip(self, path: str, reason: Reason) -> None:
        """Keep the reason why something is no post, under its path or one like it that is not taken."""
        path = path if len(path) <= MAX_SHOWN_LENGTH else f"{path[:MAX_SHOWN_LENGTH]}…"
        plain, number = path, 2
        while path in self._paths:
            path, number = f"{plain} ({number})", number + 1
        self._write({"path": path, "code": reason.code, "message": reason.message})

    def place(self) -> tuple[int, int]:
        """Where the next record goes, for `go_back`."""
        return self._file.tell(), len(self._paths)

    def go_back(self, place: tuple[int, int]) -> None:
        """Forget what came after `place`."""
        self._file.seek(place[0])
        self._file.truncate()
        while len(self._paths) > place[1]:
            self._paths.popitem()

    def finish(self) -> None:
        """Hand everything to the operating system, which may have no room for the last of it."""
        self._file.flush()

    def _write(self, header: dict[str, Any]) -> None:
        line = json.dumps(header).encode()
        self._file.write(len(line).to_bytes(4, "big") + line)
        self._paths[header["path"]] = None


def open_archive(file: IO[bytes], spool: Spool, scratch: IO[bytes], request: dict[str, Any]) -> str:
    """Put the members of an archive into the spool; return the one folder that all lie in, or ""."""
    limits = archives.Limits(request["max_posts"], request["max_bytes"])
    tops: set[str] = set()
    for member in archives.read_members(file, request["path"], limits):
        if member.refused is not None or member.content is None:
            reason = member.refused or Reason(Code.BAD_MEMBER, "it cannot be read")
            spool.skip(f"{request['path']}/{archives.shown(member.path)} (refused)", reason)
            continue
        top, slash, _ = member.path.partition("/")
        tops.add(top if slash else "")
        try:
            _open_member(member, member.content, spool, scratch, request)
        except archives.BadMember as error:
            spool.skip(f"{request['path']}/{member.path}", Reason(Code.BAD_MEMBER, f"it is damaged: {error}"))
    top = tops.pop() if len(tops) == 1 else ""
    return "" if top.startswith("_") or top.lower() == "drafts" else top  # these names mean something


def _open_member(
    member: archives.Member, content: archives.Content, spool: Spool, scratch: IO[bytes], request: dict[str, Any]
) -> None:
    path = f"{request['path']}/{member.path}"
    suffix = Path(member.path).suffix.lower()
    most = request["max_archive_bytes"] if is_bundle(path) else request["max_post_bytes"]
    if is_archive(path):
        message = "an archive inside an archive is not opened; unpack it and add it by itself"
        spool.skip(path, Reason(Code.BAD_MEMBER, message))
    elif suffix not in POSTS and not is_bundle(path):
        spool.skip(path, Reason(Code.UNKNOWN_KIND, unknown_kind(member.path)))
    elif member.size_bytes > most:
        message = f"it has {member.size_bytes} bytes, more than the {most} that a post may have"
        spool.skip(path, Reason(Code.TOO_LARGE, message))
    elif suffix in POSTS:
        pieces = []
        while piece := content.read(_PIECE):
            pieces.append(piece)
        spool.post(path, b"".join(pieces), member.modified_at)
    else:
        scratch.seek(0)
        scratch.truncate()
        while piece := content.read(_PIECE):
            scratch.write(piece)
        scratch.seek(0)
        place = spool.place()
        try:
            open_export(scratch, path, spool, request)
        except LeftOut as error:
            spool.go_back(place)
            spool.skip(path, error.reason)


def open_export(file: IO[bytes], path: str, spool: Spool, request: dict[str, Any]) -> None:
    """Put the posts of an export into the spool."""
    names = exports.Names()
    num_posts = 0
    for entry in exports.read_entries(file, path, request["max_post_bytes"]):
        num_posts += 1
        if num_posts > request["max_posts"]:
            raise LeftOut(Code.BAD_ARCHIVE, f"it has more than {request['max_posts']:,} posts")
        if isinstance(entry, exports.Unread):
            spool.skip(f"{path}/{entry.name}" if entry.name else path, entry.reason)
            continue
        name = f"{path}/{names.name(entry)}"
        source = exports.source(entry)
        if len(source) > request["max_post_bytes"]:
            message = f"it has {len(source)} bytes, more than the {request['max_post_bytes']} that a post may have"
            spool.skip(name, Reason(Code.TOO_LARGE, message))
        else:
            spool.post(name, source, None)


def answer(file: IO[bytes], spool: Spool, scratch: IO[bytes], request: dict[str, Any]) -> dict[str, Any]:
    """Open the bundle and tell how it ended."""
    top = ""
    try:
        if is_archive(request["path"]):
            top = open_archive(file, spool, scratch, request)
        else:
            open_export(file, request["path"], spool, request)
        spool.finish()
    except LeftOut as error:
        return {"code": error.reason.code, "message": error.reason.message}
    except MemoryError:
        return {"code": Code.BAD_ARCHIVE, "message": "opening it takes more memory than it may have"}
    except RecursionError:
        return {"code": Code.BAD_ARCHIVE, "message": "it is nested too deeply"}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"full": True}
        raise
    if not spool.num_records:
        return {"code": Code.EMPTY, "message": "there is no post in it"}
    return {"top": top}


def main() -> None:
    """Open one bundle within limits of memory and processor time."""
    request = json.loads(sys.argv[4])
    confine(MAX_ADDRESS_SPACE_BYTES)
    # The default action of SIGPROF ends the process, whatever C code holds the interpreter.
    signal.setitimer(signal.ITIMER_PROF, request["processor_seconds"])
    with (
        os.fdopen(int(sys.argv[1]), "rb") as bundle,
        os.fdopen(int(sys.argv[2]), "w+b") as file,
        os.fdopen(int(sys.argv[3]), "w+b") as scratch,
    ):
        result = answer(bundle, Spool(file), scratch, request)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""One file from a server to the disk: resumed after a cut, begun anew when it has changed, checked at its end.

    FILE.part        what has come so far
    FILE.part.json   whose it is: the address, the checksum or size promised, the server's mark of the version
    FILE             the whole file, checked and durable; FILE.json says what was promised, and its SHA-256

A killed process leaves these, and the next one goes on from them.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from services.common.files import sync_folder, write_json
from services.trainer.fetching.remote import RemoteFile, digest
from services.trainer.fetching.web import Interrupted, Web, WrongAnswer, version_of

RETRIES = 5  # in a row without real progress
PROGRESS_BYTES = 1 << 20  # that make an attempt count as one with progress
LEAST_BYTES_PER_S = 1 << 10  # below this over a whole timeout the connection is begun anew
LONGEST_PAUSE_S = 30.0
PIECE_BYTES = 1 << 18

# What error pages and stand-ins begin with. Weights, JSON and merges never do.
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|error\b|!--)", re.IGNORECASE)
_LFS_POINTER = b"version https://git-lfs"

OnBytes = Callable[[int], None]  # bytes of the file on the disk
Remark = Callable[[str], None]


class Downloader:
    """Downloads files, one at a time.

    Args:
        timeout_s: the window over which LEAST_BYTES_PER_S is measured.
        pause: waits so many seconds before the next attempt.
        remark: told a sentence whenever something went wrong and is tried again.
    """

    def __init__(self, web: Web, timeout_s: float, *, pause: Callable[[float], None], remark: Remark) -> None:
        self._web, self._timeout_s = web, timeout_s
        self._pause, self._remark = pause, remark

    def fetch(self, file: RemoteFile, path: Path, on_bytes: OnBytes, on_check: Callable[[], None]) -> str:
        """Bring a file to `path` and return its SHA-256; one that is there already is not asked for again.

        Args:
            on_bytes: told how much there is, from what an earlier process left on.
            on_check: called before the content is checked.

        Raises:
            Interrupted: it could not be had in RETRIES attempts. What came is kept.
            WrongAnswer: what the server has is not this file.
            OSError: the disk.
        """
        done = _read_note(_note(path))
        if path.is_file() and done.get("promised") == _promised(file) and (file.identity or file.version):
            on_bytes(path.stat().st_size)
            return str(done["sha256"])
        part = path.with_name(path.name + ".part")
        for is_second in (False, True):
            self._bring(file, part, on_bytes)
            on_check()
            sha256, problem = digest(part, file)
            if not problem:
                break
            _discard(part)
            if is_second:
                raise WrongAnswer(
                    f"{file.url} {problem}, twice: it is not the file that was announced; try another source"
                )
            self._remark(f"{file.url} {problem}; it is fetched anew")
        with part.open("rb") as opened:
            os.fsync(opened.fileno())
        write_json(_note(path), {"promised": _promised(file), "sha256": sha256})
        part.replace(path)
        sync_folder(path.parent)
        _note(part).unlink(missing_ok=True)
        return sha256

    def _bring(self, file: RemoteFile, part: Path, on_bytes: OnBytes) -> None:
        """Attempt until the body is whole."""
        failures = 0
        while True:
            before = part.stat().st_size if part.is_file() else 0
            try:
                return self._attempt(file, part, on_bytes)
            except Interrupted as cut:
                after = part.stat().st_size if part.is_file() else 0
                failures = 1 if after - before >= PROGRESS_BYTES else failures + 1
                if failures > RETRIES:
                    raise Interrupted(f"{cut}; given up after {failures} attempts") from None
                pause_s = cut.retry_after_s
                if pause_s is None:
                    pause_s = min(LONGEST_PAUSE_S, 0.5 * 2**failures)
                self._remark(f"{cut}; trying again in {pause_s:.3g} s")
                self._pause(pause_s)

    def _attempt(self, file: RemoteFile, part: Path, on_bytes: OnBytes) -> None:
        """Make one request and write what it brings after what is there, or instead of it."""
        note = _read_note(_note(part))
        offset = part.stat().st_size if part.is_file() else 0
        version = str(note.get("version", ""))
        if note.get("promised") != _promised(file) or not (version or file.identity):
            offset = 0  # of another file, or nobody could say of which
        if file.size is not None and offset > file.size:
            offset = 0
        if offset and offset == file.size:
            return
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and version:
            headers["If-Range"] = version
        with self._web.open("GET", file.url, headers=headers, may_leave=bool(file.identity)) as response:
            encoded = response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
            if response.status_code == 416 or (response.status_code == 206 and encoded):
                _discard(part)
                raise Interrupted(f"{file.url} cannot go on from byte {offset:,}")
            if response.status_code == 206:
                problem = _mismatch(response, offset, file, version)
                if problem:
                    _discard(part)
                    raise Interrupted(f"{file.url} {problem}; it is fetched from its beginning")
            else:
                if offset:
                    self._remark(f"{file.url} comes from its beginning: it has changed, or the server cannot go on")
                offset = 0
            _refuse_pages(response, file)
            whole = _whole_size(response, offset, file, encoded)
            write_json(_note(part), {"promised": _promised(file), "version": version_of(response)})
            self._write(response, part, offset, whole, encoded, file, on_bytes)

    def _write(
        self,
        response: httpx2.Response,
        part: Path,
        offset: int,
        whole: int | None,
        encoded: bool,
        file: RemoteFile,
        on_bytes: OnBytes,
    ) -> None:
        """Write the body from `offset` on. Raises Interrupted when it ends early or drips."""
        written = offset
        since, at_since = time.monotonic(), written
        pieces = response.iter_bytes(PIECE_BYTES) if encoded else response.iter_raw()
        with part.open("r+b" if part.is_file() else "wb") as opened:
            opened.truncate(offset)
            opened.seek(offset)
            for piece in pieces:
                if written == 0:
                    _refuse_page(piece, file)
                written += len(piece)
                if whole is not None and written > whole:
                    raise WrongAnswer(f"{file.url} sends more than the {whole:,} bytes that it should have")
                opened.write(piece)
                on_bytes(written)
                waited_s = time.monotonic() - since
                if waited_s >= self._timeout_s:
                    if written - at_since < LEAST_BYTES_PER_S * waited_s:
                        raise Interrupted(
                            f"{file.url} sends {(written - at_since) / waited_s:.0f} bytes a second, "
                            f"less than {LEAST_BYTES_PER_S:,}"
                        )
                    since, at_since = time.monotonic(), written
        if whole is not None and written < whole:
            raise Interrupted(f"{file.url} ended after {written:,} of {whole:,} bytes")


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _promised(file: RemoteFile) -> list[Any]:
    """What makes two downloads the same one: the content where it is known, else the address and its version."""
    return [file.identity or f"{file.url} {file.version}", file.size]


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _mismatch(response: httpx2.Response, offset: int, file: RemoteFile, version: str) -> str:
    """Why the rest that is offered does not belong to the beginning that is there; empty when it does."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if not found or int(found[1]) != offset:
        return f"does not go on from byte {offset:,}"
    if file.size is not None and found[3] not in ("*", str(file.size)):
        return f"has {int(found[3]):,} bytes now instead of {file.size:,}"
    now = version_of(response)
    if version and now and version != now:
        return f"has changed (version {now}, before {version})"
    return ""


def _whole_size(response: httpx2.Response, offset: int, file: RemoteFile, encoded: bool) -> int | None:
    """Bytes of the whole content, by announcement and by the answer, which must agree; None when none says."""
    length = response.headers.get("Content-Length", "")
    if response.status_code == 206:  # may be less than all of the rest; how much there is in all has been compared
        total = response.headers["Content-Range"].rpartition("/")[2]
        return int(total) if total.isdigit() else file.size
    if encoded or not length.isdigit():
        return file.size
    whole = offset + int(length)
    if file.size is not None and whole != file.size:
        raise WrongAnswer(
            f"{file.url} has {whole:,} bytes instead of {file.size:,}: an error page, or another file; "
            "check the address in a browser, or try another source"
        )
    return whole


def _refuse_pages(response: httpx2.Response, file: RemoteFile) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise WrongAnswer(_page_words(file, kind))


def _refuse_page(beginning: bytes, file: RemoteFile) -> None:
    if _PAGE.match(beginning):
        raise WrongAnswer(_page_words(file, beginning[:60].decode(errors="replace").strip()))
    if beginning.startswith(_LFS_POINTER):
        raise WrongAnswer(f"{file.url} is a pointer of Git LFS, not the file that it points to; try another source")


def _page_words(file: RemoteFile, seen: str) -> str:
    return (
        f"{file.url} answers with a page ({seen!r}) instead of {file.name}: an error, or a login of this network; "
        "open the address in a browser to see it, or try another source"
    )

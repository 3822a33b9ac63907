"""One file on a server: where it is, and what is known of it beforehand, against which its copy is checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to download. Checksums are hex digits; empty ones are not known.

    Args:
        name: of the copy.
        url: where it is.
        size: bytes; None when it is not known.
        sha256: of the content.
        git_id: Git's object id: SHA-1 of `blob`, the size and the content.
        md5: of the content.
        version: the server's mark of what it has now; empty when it gives none.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str = ""
    git_id: str = ""
    md5: str = ""
    version: str = ""

    @property
    def identity(self) -> str:
        """What tells this content from any other; empty when there is no checksum."""
        return self.sha256 or self.git_id or self.md5


def digest(path: Path, file: RemoteFile) -> tuple[str, str]:
    """Read a copy once; return its SHA-256, and what is wrong with it (empty: nothing that is known)."""
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    md5 = hashlib.md5(usedforsecurity=False)
    wanted = [sha256] + [git] * bool(file.git_id) + [md5] * bool(file.md5)
    with path.open("rb") as opened:
        while piece := opened.read(1 << 20):
            for running in wanted:
                running.update(piece)
    found = sha256.hexdigest()
    if file.size is not None and size != file.size:
        return found, f"has {size:,} bytes instead of {file.size:,}"
    for kind, expected, is_now in (
        ("SHA-256", file.sha256, found),
        ("Git object id", file.git_id, git.hexdigest()),
        ("MD5", file.md5, md5.hexdigest()),
    ):
        if expected and expected != is_now:
            return found, f"has {kind} {is_now} instead of {expected}"
    return found, ""

"""The login token and the session key: made once, kept in files that only their owner can read.

They survive a restart, so that a bookmark and a signed-in browser go on working. Deleting the files makes new
ones.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from services.common.files import write_atomic

TOKEN_BYTES = 24  # 192 bits: no counting of wrong guesses is needed
OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class Keys:
    """The two secrets of the page.

    Args:
        token: what a person signs in with.
        session: what cookies are signed with.
    """

    token: str
    session: str

    @property
    def fingerprint(self) -> str:
        """What a session remembers of the token: a new token signs everyone out."""
        return hashlib.sha256(self.token.encode()).hexdigest()[:16]

    @property
    def feed(self) -> str:
        """What opens the shelf's feed and nothing else, since readers keep it in an address; new with each token."""
        return self._derived("feed key").hex()[:32]

    @property
    def feed_id(self) -> uuid.UUID:
        """The feed's name for all time."""
        return uuid.UUID(bytes=hmac.digest(self.session.encode(), b"feed id", "sha256")[:16], version=4)

    def opens_feed(self, key: str) -> bool:
        """Whether `key` is the feed's, compared in constant time."""
        return secrets.compare_digest(key.encode(), self.feed.encode())

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self.session.encode(), f"{purpose}\n{self.token}".encode(), "sha256")

    def opens(self, token: str) -> bool:
        """Whether `token` is the login token, compared in constant time."""
        return secrets.compare_digest(token.encode(), self.token.encode())


def load_keys(folder: Path) -> Keys:
    """Read the keys in `folder`, or make them.

    Raises:
        OSError: the folder or a file in it cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Keys(token=_kept(folder / "token"), session=_kept(folder / "session-key"))


def _kept(path: Path) -> str:
    try:
        path.chmod(OWNER_ONLY)
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if not kept:
        kept = secrets.token_urlsafe(TOKEN_BYTES)
        write_atomic(path, f"{kept}\n".encode(), mode=OWNER_ONLY)
    return kept

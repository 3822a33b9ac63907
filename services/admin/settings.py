"""The page's settings, read from `NONESUCH_ADMIN_...`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.common.settings import setting

PREFIX = "NONESUCH_ADMIN_"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """Where the page answers and what it accepts. Prefix `NONESUCH_ADMIN_`."""

    listen: str = setting("127.0.0.1:8080", "Address of the page.")
    metrics_listen: str = setting("127.0.0.1:9105", "Address of the page's Prometheus metrics.")
    state: Path = setting(Path("data/admin"), "Folder for the login token, the session key and the game, mode 0600.")
    threads: int = setting(64, "Requests answered at once; each open page that watches a run holds one.", minimum=4)
    upload_limit_mib: int = setting(256, "Largest upload in MiB.", minimum=1)
    upload_limit_posts: int = setting(10_000, "Most files in one upload.", minimum=1)

"""Settings of the corpus service. Prefix `NONESUCH_CORPUS_`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.settings import setting

PREFIX = "NONESUCH_CORPUS_"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSettings:
    """Where the service answers, and how much it takes."""

    listen: str = setting("127.0.0.1:50051", "Where the service answers, host:port.")
    metrics_listen: str = setting("127.0.0.1:9101", "Where Prometheus finds its metrics, host:port.")
    cleaning_processes: int = setting(2, "Posts cleaned at a time, each in a process of its own.", minimum=1)
    cleaning_seconds: float = setting(5.0, "Processor time that the cleaning of one post may take.", minimum=0.1)
    max_post_bytes: int = setting(8 << 20, "Largest post; larger ones are left out.", minimum=1)
    max_archive_bytes: int = setting(2 << 30, "Largest archive or export, as it is sent.", minimum=1)
    opening_seconds: float = setting(
        180.0, "Processor time that the opening of one archive or export may take.", minimum=0.1
    )
    max_upload_posts: int = setting(100_000, "Most posts in one upload, those in archives included.", minimum=1)
    max_upload_bytes: int = setting(2 << 30, "Most bytes in one upload, archives unpacked.", minimum=1)
    max_uploads: int = setting(16, "Most uploads at a time; further ones are refused for the moment.", minimum=1)
    upload_patience_seconds: float = setting(
        300.0, "How long an upload may say nothing before it is given up.", minimum=0.1
    )
    max_shelf_posts: int = setting(10_000, "Most posts on the shelf; further ones are refused.", minimum=1)

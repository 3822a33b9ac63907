"""Settings of the tokenizer service. Prefix `NONESUCH_TOKENIZER_`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.settings import setting

PREFIX = "NONESUCH_TOKENIZER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """Where the service answers, and how much it takes."""

    listen: str = setting("127.0.0.1:50052", "Where the service answers, host:port.")
    metrics_listen: str = setting("127.0.0.1:9102", "Where Prometheus finds its metrics, host:port.")
    encoding_processes: int = setting(2, "Processes that encode a dataset's documents.", minimum=1)
    max_import_bytes: int = setting(8 << 30, "Most bytes in one import of a dataset.", minimum=1)

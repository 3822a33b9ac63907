"""Settings of the trainer service, read from `NONESUCH_TRAINER_*`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.settings import setting
from services.trainer.fetching.sources import Sources

PREFIX = "NONESUCH_TRAINER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """What the operator chooses; what a run's owner chooses is run_settings.py."""

    listen: str = setting("127.0.0.1:50053", "Address of the gRPC server.")
    metrics_listen: str = setting("127.0.0.1:9103", "Address of the metrics page.")
    nice: int = setting(10, "Added to the niceness of the training process, 0 to 19.", minimum=0)
    stop_grace_s: float = setting(
        60.0,
        "Seconds that a training process gets to finish its step and save when the service stops.",
        minimum=0,
    )
    fetch_sources: str = setting(
        "hub,openai",
        "Where base models are fetched from, in this order: the Hugging Face hub, OpenAI's bucket.",
        choices=("hub,openai", "openai,hub", "hub", "openai"),
    )
    fetch_offline: bool = setting(False, "Fetch nothing: base models are imported, or copied into `base/`.")
    fetch_timeout_s: float = setting(
        30.0,
        "Seconds without an answer, or with less than 1 KiB a second, after which a download is begun again.",
        minimum=1,
    )
    hub_url: str = setting("https://huggingface.co", "Address of the Hugging Face hub, or of a mirror of it.")
    hub_token: str = setting("", "Access token for private and gated repositories; sent to `hub_url` alone.")
    openai_url: str = setting(
        "https://openaipublic.blob.core.windows.net/gpt-2",
        "Address of OpenAI's bucket, or of a copy: what `models/` is in.",
    )

    @property
    def sources(self) -> Sources:
        """Where base models are fetched from."""
        return Sources(
            order=tuple(self.fetch_sources.split(",")),
            offline=self.fetch_offline,
            hub_url=self.hub_url,
            hub_token=self.hub_token,
            openai_url=self.openai_url,
            timeout_s=self.fetch_timeout_s,
        )

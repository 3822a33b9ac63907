"""Settings of the trainer service, read from `NONESUCH_TRAINER_*`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.settings import setting

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

"""What runs in training measure, for Prometheus: read from their metrics when someone asks, so never out of date.

In: the runs. Out: gauges by run; one that does not train has none. The training process has no port of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.common.errors import NonesuchError
from services.trainer.metrics_log import FILE_NAME, newest_lines
from services.trainer.run_record import RunState
from services.trainer.runs import Runs

log = logging.getLogger(__name__)
_STEP = {
    "step": ("step", "Last step done."),
    "loss": ("loss", "Loss of the last step, nats per token."),
    "avg": ("average_loss", "Average loss, by train.py's definition."),
    "learning_rate": ("learning_rate", "Learning rate of the last step."),
    "gradient_norm": ("gradient_norm", "Norm of the last step's gradient before clipping."),
    "tokens_per_second": ("tokens_per_second", "Tokens trained on per second, over the last steps."),
    "mfu": ("mfu", "Share of the machine's measured matrix rate that the last steps reached."),
    "remaining_seconds": ("remaining_seconds", "Seconds until the last step at this pace."),
    "memory_bytes": ("memory_bytes", "Most memory that the training process has held."),
    "epoch": ("epoch", "Passes over the training documents so far."),
}
_VALIDATION = {
    "validation_loss": ("validation_loss", "Loss of the newest validation, nats per token."),
    "bits_per_byte": ("validation_bits_per_byte", "Bits per byte of the newest validation."),
    "token_accuracy": ("validation_token_accuracy", "Token accuracy of the newest validation, 0 to 1."),
}
_ORIGINALITY = {
    "verbatim_share": ("verbatim_share", "Share of the newest samples that stands in the posts word for word, 0 to 1."),
    "longest_run_tokens": ("longest_run_tokens", "Tokens of the longest run that the newest samples have from a post."),
}


class RunGauges(Collector):
    """The gauges of the runs that train now; register it once per process."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The gauges without values."""
        yield from self._families().values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges as they are now."""
        families = self._families()
        for record in self._runs.all():
            if record.state != RunState.RUNNING:
                continue
            try:
                newest = newest_lines(self._runs.folder(record.name) / FILE_NAME)
            except (NonesuchError, OSError) as error:  # one damaged run must not hide the others
                log.warning("run %s has no gauges: %s", record.name, error)
                continue
            for name, value in {
                **(newest.originality or {}),
                **(newest.validation or {}),
                **(newest.step or {}),
            }.items():
                if name in families:
                    families[name].add_metric([record.name], value)
        yield from families.values()

    def _families(self) -> dict[str, GaugeMetricFamily]:
        return {
            name: GaugeMetricFamily(f"nonesuch_trainer_run_{suffix}", documentation, labels=["run"])
            for name, (suffix, documentation) in {**_STEP, **_VALIDATION, **_ORIGINALITY}.items()
        }

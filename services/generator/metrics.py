"""What the generator shows to Prometheus, by model."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

RUNNING = Gauge("nonesuch_generator_running", "Samples being written.", ["model"])
WAITING = Gauge("nonesuch_generator_queue", "Samples waiting for a slot.", ["model"])
PROMPT_TOKENS = Counter("nonesuch_generator_prompt_tokens_total", "Tokens of prompts.", ["model"])
TOKENS = Counter("nonesuch_generator_tokens_total", "Tokens written.", ["model"])
SAMPLES = Counter("nonesuch_generator_samples_total", "Samples that ended, by reason.", ["model", "finish"])
REJECTED = Counter(
    "nonesuch_generator_rejected_total",
    "Requests that were refused for lack of room, by reason; without a model when none was looked for.",
    ["model", "reason"],
)
CANCELLED = Counter("nonesuch_generator_cancelled_total", "Samples that were given up, by reason.", ["model", "reason"])
FIRST_TOKEN = Histogram(
    "nonesuch_generator_first_token_seconds", "From request to first token.", ["model"], buckets=_SECONDS
)
LOAD_SECONDS = Histogram("nonesuch_generator_load_seconds", "Loading and warming a model.", buckets=_SECONDS)
LOAD_FAILURES = Counter("nonesuch_generator_load_failures_total", "Model versions that could not be loaded.")
VERSION = Gauge("nonesuch_generator_model_version", "Newest version that is served.", ["model"])


def set_load(model: str, running: int, waiting: int) -> None:
    """How much a model has to do."""
    RUNNING.labels(model).set(running)
    WAITING.labels(model).set(waiting)


def observe_first_token(model: str, seconds: float) -> None:
    """Time from a request's arrival to its first token."""
    FIRST_TOKEN.labels(model).observe(seconds)


def count_rejected(model: str, reason: str) -> None:
    """A request was refused for lack of room."""
    REJECTED.labels(model, reason).inc()


def count_cancelled(model: str, reason: str) -> None:
    """A sample, or a text to measure, is not waited for any more."""
    CANCELLED.labels(model, reason).inc()


def count_sample(model: str, finish: str, num_tokens: int) -> None:
    """A sample has ended."""
    SAMPLES.labels(model, finish).inc()
    TOKENS.labels(model).inc(num_tokens)

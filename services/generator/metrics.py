"""What the generator shows to Prometheus, by model; the load by version too."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STEP_SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)

RUNNING = Gauge("nonesuch_generator_running", "Samples being written.", ["model", "version"])
WAITING = Gauge("nonesuch_generator_queue", "Samples waiting for a slot.", ["model", "version"])
CACHE_USE = Gauge(
    "nonesuch_generator_cache_use", "Part of the cache that running samples hold, 0 to 1.", ["model", "version"]
)
PROMPT_TOKENS = Counter("nonesuch_generator_prompt_tokens_total", "Tokens of prompts.", ["model"])
SHARED_TOKENS = Counter(
    "nonesuch_generator_shared_tokens_total", "Tokens of prompts that the cache held already.", ["model"]
)
TOKENS = Counter("nonesuch_generator_tokens_total", "Tokens written.", ["model"])
DRAFTED = Counter("nonesuch_generator_drafted_tokens_total", "Tokens that drafts proposed.", ["model"])
ACCEPTED = Counter("nonesuch_generator_accepted_tokens_total", "Drafted tokens that were written.", ["model"])
SAMPLES = Counter("nonesuch_generator_samples_total", "Samples that ended, by reason.", ["model", "finish"])
REJECTED = Counter(
    "nonesuch_generator_rejected_total",
    "Requests that were refused for lack of room, by reason; without a model when none was looked for.",
    ["model", "reason"],
)
CANCELLED = Counter("nonesuch_generator_cancelled_total", "Samples that were given up, by reason.", ["model", "reason"])
QUEUE = Histogram("nonesuch_generator_queue_seconds", "From request to slot.", ["model"], buckets=_SECONDS)
FIRST_TOKEN = Histogram(
    "nonesuch_generator_first_token_seconds", "From request to first token.", ["model"], buckets=_SECONDS
)
TOKEN = Histogram(
    "nonesuch_generator_token_seconds",
    "A step that writes: what each running sample waits for its next token.",
    ["model"],
    buckets=_STEP_SECONDS,
)
BATCH = Histogram("nonesuch_generator_batch", "Samples computed in one step.", ["model"], buckets=_BATCH)
LOAD_SECONDS = Histogram("nonesuch_generator_load_seconds", "Loading and warming a model.", buckets=_SECONDS)
LOAD_FAILURES = Counter("nonesuch_generator_load_failures_total", "Model versions that could not be loaded.")
VERSION = Gauge("nonesuch_generator_model_version", "Newest version that is served.", ["model"])


def count_rejected(model: str, reason: str) -> None:
    """A request was refused for lack of room."""
    REJECTED.labels(model, reason).inc()


def forget(model: str, version: int) -> None:
    """A version is unloaded: it has no load any more."""
    for gauge in (RUNNING, WAITING, CACHE_USE):
        gauge.remove(model, str(version))


class LoopMetrics:
    """What one version's loop counts; its labels are looked up once, since it counts at every step.

    The load is shown by version, since two may run at once; the rest adds up by model.
    """

    def __init__(self, model: str, version: int) -> None:
        self._model = model
        self._running, self._waiting = RUNNING.labels(model, version), WAITING.labels(model, version)
        self._cache_use = CACHE_USE.labels(model, version)
        self._tokens, self._shared_tokens = TOKENS.labels(model), SHARED_TOKENS.labels(model)
        self._drafted, self._accepted = DRAFTED.labels(model), ACCEPTED.labels(model)
        self._queue, self._first_token = QUEUE.labels(model), FIRST_TOKEN.labels(model)
        self._token, self._batch = TOKEN.labels(model), BATCH.labels(model)

    def set_load(self, running: int, waiting: int, cache_use: float) -> None:
        """How much there is to do, and how much of the cache is held."""
        self._running.set(running)
        self._waiting.set(waiting)
        self._cache_use.set(cache_use)

    def count_step(self, num_sequences: int, num_tokens: int, seconds: float) -> None:
        """A step is over: how many sequences it computed, how many tokens it wrote, and how long it took."""
        self._batch.observe(num_sequences)
        if num_tokens:
            self._tokens.inc(num_tokens)
            self._token.observe(seconds)

    def count_drafts(self, num_drafted: int, num_accepted: int) -> None:
        """Drafts of so many tokens were checked, and so many of them written."""
        if num_drafted:
            self._drafted.inc(num_drafted)
            self._accepted.inc(num_accepted)

    def count_shared(self, num_tokens: int) -> None:
        """So many prompt tokens need not be computed."""
        self._shared_tokens.inc(num_tokens)

    def observe_queue(self, seconds: float) -> None:
        """Time from a request's arrival to its first slot."""
        self._queue.observe(seconds)

    def observe_first_token(self, seconds: float) -> None:
        """Time from a request's arrival to its first token."""
        self._first_token.observe(seconds)

    def count_sample(self, finish: str) -> None:
        """A sample has ended."""
        SAMPLES.labels(self._model, finish).inc()

    def count_cancelled(self, reason: str) -> None:
        """A sample, or a text to measure, is not waited for any more."""
        CANCELLED.labels(self._model, reason).inc()

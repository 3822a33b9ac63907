"""Settings of the generator. Prefix `NONESUCH_GENERATOR_`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.settings import setting

PREFIX = "NONESUCH_GENERATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings:
    """What an operator may choose."""

    listen: str = setting("127.0.0.1:50054", "Where the service listens; port 0 takes any free one.")
    metrics_listen: str = setting("127.0.0.1:9104", "Where Prometheus metrics are shown.")
    slots: int = setting(8, "Samples that one model writes at once; each holds cache memory.", minimum=1)
    queue_limit: int = setting(32, "Samples that may wait for a slot, per model.", minimum=0)
    caller_queue_limit: int = setting(16, "Samples of one caller that may wait, per model.", minimum=0)
    max_samples: int = setting(16, "Most samples of one request, best_of included.", minimum=1)
    max_new_tokens: int = setting(4096, "Most tokens of one sample.", minimum=1)
    prefill_tokens: int = setting(
        256, "Most tokens that a step computes while prompts are read; each running stream has one of them.", minimum=1
    )
    max_stall_ms: int = setting(
        100,
        "Milliseconds that running streams may wait while prompts are read; prompts are cut to fit.",
        minimum=1,
    )
    max_requests: int = setting(48, "Requests answered or queued at once, over all models.", minimum=1)
    messages_per_s: int = setting(
        80,
        "Messages per second to all streams of a model, 4 to 20 to each; a message brings several tokens.",
        minimum=1,
    )
    unread_limit: int = setting(
        2048, "Tokens of one request that may wait to be read; a slower reader is cancelled.", minimum=1
    )
    max_models: int = setting(4, "Model versions in memory; others are loaded when asked for.", minimum=1)
    poll_s: float = setting(1.0, "Seconds between looks for new models.", minimum=0.01)
    engine: str = setting(
        "auto",
        "What computes; auto: tensorflow where an NVIDIA card and its libraries are, else litert.",
        choices=("auto", "litert", "tensorflow"),
    )
    precision: str = setting(
        "auto",
        "Of matrix products and cache: int8 or float32 on litert, float32 or bfloat16 on tensorflow; "
        "auto: on litert that of the engine file, on tensorflow float32.",
        choices=("auto", "int8", "float32", "bfloat16"),
    )
    cache_mb: int = setting(
        1024, "Megabytes of cache that one model may have on litert; fewer slots where they do not fit.", minimum=1
    )
    drafts: bool = setting(
        True,
        "Guess from the corpus what a text goes on with, and let the engine litert check it; changes speed alone.",
    )
    threads: int = setting(0, "CPU threads of a step; 0: one if the model is small, else all cores.", minimum=0)

    def __post_init__(self) -> None:
        fits = {"litert": ("auto", "int8", "float32"), "tensorflow": ("auto", "float32", "bfloat16")}
        if self.engine != "auto" and self.precision not in fits[self.engine]:
            raise ValueError(
                f"{PREFIX}PRECISION is {self.precision}; engine {self.engine} computes in "
                f"{' or '.join(fits[self.engine][1:])}"
            )

"""Numbers, sizes, times and states as a person reads them: the filters of the templates."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask
from markupsafe import Markup, escape

from protos import generator_pb2, shelf_pb2, trainer_pb2
from services.admin import corpus_words, diffs
from services.admin.problems import sentence

_RUN_STATES: dict[int, tuple[str, str]] = {
    trainer_pb2.RUN_STATE_PENDING: ("waiting", "wait"),
    trainer_pb2.RUN_STATE_RUNNING: ("training", "live"),
    trainer_pb2.RUN_STATE_SUCCEEDED: ("finished", "good"),
    trainer_pb2.RUN_STATE_FAILED: ("failed", "bad"),
    trainer_pb2.RUN_STATE_CANCELLED: ("stopped", "wait"),
}
_MODEL_STATES: dict[int, tuple[str, str]] = {
    generator_pb2.MODEL_STATE_AVAILABLE: ("ready when asked for", "wait"),
    generator_pb2.MODEL_STATE_LOADING: ("loading", "live"),
    generator_pb2.MODEL_STATE_SERVING: ("ready to write", "good"),
    generator_pb2.MODEL_STATE_DRAINING: ("making way for a newer version", "wait"),
    generator_pb2.MODEL_STATE_FAILED: ("could not be loaded", "bad"),
}
_SHELF_STATES: dict[int, tuple[str, str]] = {
    shelf_pb2.SHELF_STATE_WAITING: ("waits for you", "wait"),
    shelf_pb2.SHELF_STATE_APPROVED: ("approved", "good"),
    shelf_pb2.SHELF_STATE_REJECTED: ("rejected", "bad"),
    shelf_pb2.SHELF_STATE_RELEASED: ("released", "live still"),
}
_FINISH: dict[int, str] = {
    generator_pb2.FINISH_REASON_END_OF_TEXT: "The model ended the text itself.",
    generator_pb2.FINISH_REASON_STOP: "It came to your stop text.",
    generator_pb2.FINISH_REASON_LENGTH: "It reached the length you asked for.",
    generator_pb2.FINISH_REASON_CONTEXT: "It is as long as the model can keep in view.",
    generator_pb2.FINISH_REASON_CANCELLED: "It was stopped.",
}


def run_state(state: int) -> tuple[str, str]:
    """The word for a run's state, and the tone it is shown in: wait, live, good or bad."""
    return _RUN_STATES.get(state, ("unknown", "wait"))


def model_state(state: int) -> tuple[str, str]:
    """The words for a model's state in the generator, and their tone."""
    return _MODEL_STATES.get(state, ("unknown", "wait"))


def shelf_state(state: int) -> tuple[str, str]:
    """The words for how far a post on the shelf is, and their tone."""
    return _SHELF_STATES.get(state, ("unknown", "wait"))


def finish(code: int) -> str:
    """Why a text ended, as a sentence."""
    return _FINISH.get(code, "")


def number(value: float) -> str:
    """12345 as `12,345`."""
    return f"{value:,.0f}"


def short_number(value: float) -> str:
    """12345678 as `12.3 million`."""
    for size, word in ((1e9, " billion"), (1e6, " million")):
        if value >= size:
            return f"{value / size:.3g}{word}"
    return number(value)


def percent(value: float) -> str:
    """0.384 as `38 %`."""
    return f"{100 * value:.0f} %"


def size(num_bytes: float) -> str:
    """1234567 as `1.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000 or unit == "GB":
            break
        num_bytes /= 1000
    return f"{num_bytes:.0f} {unit}" if unit == "bytes" or num_bytes >= 10 else f"{num_bytes:.1f} {unit}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 post`, `1,234 posts`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """83 as `1 min 23 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def wish(sample: Any) -> str:
    """What a sample was asked for: `From nothing, temperature 0.8`."""
    begun = f"“{sample.prompt}”" if sample.prompt else "From nothing"
    return f"{begun}, temperature {sample.temperature:g}"


def recited(sample: Any) -> str:
    """What of a sample stands in the posts: `12 % recited, at most 31 tokens in a row`; empty where nobody knows."""
    if not sample.HasField("verbatim_share"):
        return ""
    longest = plural(sample.longest_run_tokens, "token")
    return f"{share(sample.verbatim_share)} recited, at most {longest} in a row"


def share(part: float) -> str:
    """0.123 as `12 %`."""
    return "less than 1 %" if 0 < part < 0.01 else f"{part * 100:.0f} %"


def ticks(text: str) -> Markup:
    """A sentence whose words in `ticks` are set as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 and place < len(parts) - 1 else part
        for place, part in enumerate(parts)
    )


def ago(timestamp: Any) -> str:
    """How long ago a protobuf Timestamp was."""
    if not timestamp.seconds:
        return "never"
    passed = max(0.0, time.time() - timestamp.seconds)
    for length, word in (
        (86400 * 365, "year"),
        (86400 * 30, "month"),
        (86400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ):
        if passed >= length:
            return f"{plural(int(passed // length), word)} ago"
    return "just now"


def exact(timestamp: Any) -> str:
    """A protobuf Timestamp as `2024-03-01 12:00 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(timestamp.seconds)) if timestamp.seconds else ""


def install(app: Flask) -> None:
    """Make these the app's filters."""
    for filter_ in (
        run_state,
        model_state,
        shelf_state,
        corpus_words.reason,
        corpus_words.language,
        corpus_words.rule,
        corpus_words.rule_value,
        number,
        short_number,
        percent,
        size,
        plural,
        ticks,
        diffs.lines,
        diffs.changes,
        duration,
        wish,
        recited,
        share,
        ago,
        exact,
        sentence,
    ):
        app.add_template_filter(filter_)

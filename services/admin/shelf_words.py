"""A post of the shelf in words: what it was written with, and its text cut where it borrows."""

from __future__ import annotations

from dataclasses import dataclass

from protos import shelf_pb2
from services.admin import borrowed, words

Pieces = list[tuple[str, int | None]]

NUMBER = f"/<int(max={2**63 - 1}):number>"  # of a post in an address: what the shelf's protos hold

_ALWAYS = ("temperature", "top_k", "top_p")
# Other fields of SamplingParameters, and the value with which they do nothing.
_NEUTRAL = {
    "min_p": 0, "typical_p": 1, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0,
    "no_repeat_ngram": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Marked:
    """Title and body in pieces, each with the number of the run that it stands in."""

    title: Pieces
    body: Pieces


def marked(post: shelf_pb2.ShelfPost) -> Marked:
    """Where a post borrows. Originality tells of `text`, in which title and body stand."""
    answer = post.response
    body = answer.body.strip("\n")
    plain = Marked([(answer.title, None)] if answer.title else [], [(body, None)])
    if not answer.HasField("originality"):
        return plain
    head, at = "title: ", answer.text.rfind(body)
    has_title = bool(answer.title) and answer.text.startswith(f"{head}{answer.title}\n")
    told = answer.originality
    return Marked(
        borrowed.pieces(told, answer.text, len(head), len(head) + len(answer.title)) if has_title else plain.title,
        borrowed.pieces(told, answer.text, at, at + len(body)) if at >= 0 else plain.body,
    )


def settings(post: shelf_pb2.ShelfPost) -> list[tuple[str, str]]:
    """What a post was written with: names and values."""
    asked, answer = post.request, post.response
    used = answer.effective.sampling
    shown = [("Seed", str(answer.effective.seed))]
    for name in (*_ALWAYS, *_NEUTRAL):
        if used.HasField(name) and getattr(used, name) != _NEUTRAL.get(name):
            shown.append((name.replace("_", " ").capitalize(), f"{getattr(used, name):g}"))
    if used.logit_bias:
        shown.append(("Biases", words.plural(len(used.logit_bias), "token")))
    if asked.HasField("max_new_tokens"):
        shown.append(("Longest post", words.plural(asked.max_new_tokens, "token")))
    if asked.HasField("max_verbatim_tokens"):
        shown.append(("Longest quotation", words.plural(asked.max_verbatim_tokens, "token")))
    given = [name for name in ("title", "tags", "date") if getattr(asked, name)]
    given += ["first words"] if asked.opening else []
    shown.append(("You gave", ", ".join(given) or "nothing"))
    return shown


def making(post: shelf_pb2.ShelfPost) -> str:
    """How long it is and took, and why it ended, in sentences."""
    answer = post.response
    spent = answer.timings.prefill.ToMilliseconds() + answer.timings.decode.ToMilliseconds()
    facts = words.plural(post.num_words, "word")
    if answer.usage.generated_tokens:
        facts += f", {words.plural(answer.usage.generated_tokens, 'token')}"
    if spent:
        facts += f" in {words.duration(spent / 1000) if spent >= 10_000 else f'{spent / 1000:.1f} s'}"
    return f"{facts}. {words.finish(answer.finish_reason)}".strip()


def nearest(post: shelf_pb2.ShelfPost) -> tuple[str, str] | None:
    """Corpus and path of the post that it borrows most from; None if it borrows nothing."""
    corpus, separator, path = post.response.originality.nearest_post.partition("/")
    return (corpus, path) if separator else None

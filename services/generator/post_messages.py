"""GeneratePost's messages: the order that a request is, a sample for each piece of the post, and the answer.

Knows no threads; the model is asked for ids alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from google.protobuf import json_format

from protos import corpus_pb2
from protos import generator_pb2 as pb
from services.blog.composing import Post, compose, path_of
from services.generator import messages
from services.generator.generation import Generation, Timings
from services.generator.loaded import LoadedModel
from services.generator.post import Piece, PostOrder, Written, WrittenPost
from services.generator.request import Limits, SampleRequest
from services.sampling.draw import new_seed
from services.tokens.header import compose_header

MARK = "generated_by"  # the field that says what wrote a post


def order_of(request: pb.GeneratePostRequest) -> PostOrder:
    """What is given of the post; InvalidRequest names a field out of range."""
    return PostOrder(
        title=request.title if request.HasField("title") else None,
        tags=tuple(request.tags),
        date=request.date if request.HasField("date") else None,
        opening=request.opening,
    )


@dataclass(slots=True)
class _Sums:
    """Over the pieces of a post."""

    num_written: int = 0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class Pieces:
    """The samples of one post: what each is asked for, and what they come to.

    Raises:
        InvalidRequest: a field does not fit the limits, or what is given the context; names it.
    """

    def __init__(self, request: pb.GeneratePostRequest, model: LoadedModel, limits: Limits) -> None:
        self._asked, self._model, self._limits = request, model, limits
        self._end_of_text = model.codec.vocabulary.end_of_text_id
        given = {"title": request.title, "tags": ", ".join(request.tags), "opening": request.opening}
        longest = max(given, key=lambda name: len(given[name]))
        model.encode(
            compose_header(request.title, request.tags, request.date) + request.opening,
            field=longest,
            most=limits.context - 3,
        )
        self._sums = _Sums()
        self._body = SampleRequest(
            prompt_ids=(self._end_of_text,),
            sampling=messages.sampling_of(request.sampling),
            max_new_tokens=request.max_new_tokens if request.HasField("max_new_tokens") else limits.max_new_tokens,
            seed=request.seed if request.HasField("seed") else new_seed(),
            slide=True,
            max_verbatim_tokens=request.max_verbatim_tokens if request.HasField("max_verbatim_tokens") else None,
        )
        self._body.validate(limits)

    def request_of(self, piece: Piece) -> SampleRequest:
        """What to write for a piece."""
        # Every post that the model learned stands behind an end-of-text.
        ids = (self._end_of_text, *self._encode(piece.text))
        num_kept = min(1 + len(self._encode(piece.text[: piece.num_kept])), self._limits.context // 2)
        if len(ids) >= self._limits.context:  # what was invented made it too long: as where a body goes on past it
            ids = ids[:num_kept] + ids[-(self._limits.context - num_kept) // 2 :]
        wanted = replace(self._body, prompt_ids=ids, seed=piece.seed(self._body.seed))
        if piece.is_line:
            return replace(wanted, max_new_tokens=min(piece.most, self._limits.max_new_tokens), stop=("\n",))
        # A limit may leave no token but end-of-text, which must be allowed then.
        least = 0 if wanted.max_verbatim_tokens is not None else min(piece.least, wanted.max_new_tokens)
        return replace(wanted, min_new_tokens=least, slide_keep=min(num_kept, len(ids)))

    def take(self, generation: Generation, written: Written) -> Written:
        """Count what a piece cost, and pass it on."""
        seconds, sums = generation.timings(), self._sums
        sums.num_written += generation.num_drawn
        sums.queue_s += seconds.queue_s
        sums.prefill_s += seconds.prefill_s
        sums.decode_s += seconds.decode_s
        return written

    def response(self, post: WrittenPost) -> pb.GeneratePostResponse:
        """The answer."""
        model, sums = self._model, self._sums
        file = Post(post.title, post.tags, post.date, post.body)
        per_token_s = sums.decode_s / sums.num_written if sums.num_written else 0.0
        return pb.GeneratePostResponse(
            title=post.title,
            tags=post.tags,
            date=post.date,
            body=post.body,
            markdown=compose(model.style, file, {MARK: f"Nonesuch {model.key.name}@{model.key.version}"}),
            path=path_of(model.style, file),
            style=json_format.ParseDict(model.style.as_json(), corpus_pb2.BlogStyle()),
            text=post.text,
            finish_reason=messages.finish_reason(post.finish),
            model=messages.model_reference(model),
            effective=messages.effective(self._body),
            usage=pb.Usage(
                prompt_tokens=len(self._encode(post.text.removesuffix(post.own))), generated_tokens=sums.num_written
            ),
            timings=messages.timings_message(Timings(sums.queue_s, sums.prefill_s, sums.decode_s, per_token_s)),
            originality=messages.originality(post.text, model.corpus) if self._asked.originality else None,
        )

    def _encode(self, text: str) -> list[int]:
        """The ids of a text that goes on with something else than white space."""
        # GPT-2's pattern leaves the last character of white space to what follows: a header's two line ends are two
        # tokens where a body comes behind them, and one where nothing does.
        rest = text[-1:] if text[-1:].isspace() else ""
        encode = self._model.codec.encode
        return [*encode(text.removesuffix(rest)), *encode(rest)]

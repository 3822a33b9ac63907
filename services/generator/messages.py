"""Wire messages to the service's own values and back. Knows no threads and no models' lifecycle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from google.protobuf import duration_pb2, timestamp_pb2

from protos import generator_pb2 as pb
from services.common.errors import InvalidRequest
from services.generator.choice import ModelStatus, State, Wish
from services.generator.corpus import Corpus
from services.generator.events import End, Finish, Logprob, Text
from services.generator.generation import Generation, Timings
from services.generator.loaded import LoadedModel
from services.generator.request import Limits, SampleRequest
from services.sampling.draw import new_seed
from services.sampling.parameters import NUMBERS, SamplingParameters
from services.tokens.codec import Codec
from services.tokens.originality import VerbatimRun, covering


def wish_of(request: pb.GenerateRequest | pb.GeneratePostRequest) -> Wish:
    """The version asked for, by number or alias; None: the default."""
    choice = request.WhichOneof("version_choice")
    if choice == "version":
        return int(request.version)
    return str(request.alias) or None


def sampling_of(message: pb.SamplingParameters) -> SamplingParameters:
    """Sampling parameters with the defaults filled in; not validated."""
    given = {name: getattr(message, name) for name in NUMBERS if message.HasField(name)}
    return SamplingParameters(logit_bias=tuple(sorted(message.logit_bias.items())), **given)


def sample_request(request: pb.GenerateRequest, model: LoadedModel, limits: Limits) -> SampleRequest:
    """The request for this model, nothing left open and validated.

    Raises:
        InvalidRequest: a field does not fit; names it.
    """
    if request.prompt and request.prompt_ids:
        raise InvalidRequest("give prompt or prompt_ids, not both", field="prompt_ids")
    if request.prompt:
        ids = tuple(model.encode(request.prompt, field="prompt", most=limits.context - 1))
    else:
        ids = tuple(request.prompt_ids) or (model.codec.vocabulary.end_of_text_id,)
    n = request.n if request.HasField("n") else 1
    room = max(1, limits.context - len(ids))
    wanted = SampleRequest(
        prompt_ids=ids,
        sampling=sampling_of(request.sampling),
        max_new_tokens=request.max_new_tokens
        if request.HasField("max_new_tokens")
        else min(room, limits.max_new_tokens),
        min_new_tokens=request.min_new_tokens if request.HasField("min_new_tokens") else 0,
        stop=tuple(request.stop),
        stop_ids=tuple(request.stop_ids),
        ignore_end_of_text=request.ignore_end_of_text,
        seed=request.seed if request.HasField("seed") else new_seed(),
        n=n,
        best_of=request.best_of if request.HasField("best_of") else n,
        slide=request.slide,
        slide_keep=request.slide_keep if request.HasField("slide_keep") else 0,
        logprobs=request.logprobs if request.HasField("logprobs") else None,
        max_verbatim_tokens=request.max_verbatim_tokens if request.HasField("max_verbatim_tokens") else None,
    )
    wanted.validate(limits)
    return wanted


def echo_of(request: pb.GenerateRequest, model: LoadedModel) -> str:
    """The text that goes before each sample: the prompt when echo was asked for."""
    if not request.echo:
        return ""
    return str(request.prompt) or model.codec.decode(request.prompt_ids)


def prompt_of(request: pb.GenerateRequest, model: LoadedModel) -> str:
    """What the prompt has of the document that a sample goes on with: of ids what is behind the last end-of-text."""
    if request.prompt or not request.prompt_ids:
        return str(request.prompt)
    ids, end = list(request.prompt_ids), model.codec.vocabulary.end_of_text_id
    return model.codec.decode(ids[len(ids) - ids[::-1].index(end) :] if end in ids else ids)


def effective(request: SampleRequest) -> pb.EffectiveParameters:
    """What was used of each parameter."""
    rules = {name: getattr(request.sampling, name) for name in NUMBERS}
    return pb.EffectiveParameters(
        sampling=pb.SamplingParameters(logit_bias=dict(request.sampling.logit_bias), **rules),
        max_new_tokens=request.max_new_tokens,
        min_new_tokens=request.min_new_tokens,
        seed=request.seed,
        n=request.n,
        best_of=request.best_of,
    )


def model_reference(model: LoadedModel) -> pb.ModelReference:
    """Which model answered."""
    return pb.ModelReference(name=model.key.name, version=model.key.version, engine=model.engine.name)


def usage(generation: Generation) -> pb.Usage:
    """Tokens read and written."""
    return pb.Usage(prompt_tokens=len(generation.request.prompt_ids), generated_tokens=generation.num_drawn)


def timings(generation: Generation) -> pb.Timings:
    """Where the time went."""
    return timings_message(generation.timings())


def timings_message(seconds: Timings) -> pb.Timings:
    """Where the time went."""
    return pb.Timings(
        queue=_duration(seconds.queue_s),
        prefill=_duration(seconds.prefill_s),
        decode=_duration(seconds.decode_s),
        per_token=_duration(seconds.per_token_s),
    )


def finish_reason(finish: Finish) -> pb.FinishReason:
    """The wire's word for why a sample ended."""
    return cast("pb.FinishReason", pb.FinishReason.Value(f"FINISH_REASON_{finish.name}"))


def text_delta(event: Text, codec: Codec) -> pb.GenerateDelta:
    """New text of a stream."""
    return pb.GenerateDelta(
        text=pb.TextDelta(
            index=event.index, text=event.text, ids=event.ids, logprobs=token_logprobs(event.logprobs, codec)
        )
    )


def sample_end(event: End) -> pb.GenerateDelta:
    """The end of one sample of a stream."""
    return pb.GenerateDelta(
        end=pb.SampleEnd(index=event.index, finish_reason=finish_reason(event.finish), stop=event.stop)
    )


def originality(text: str, corpus: Corpus, before: str = "") -> pb.Originality:
    """What a sample's text has from the corpus; `before` is its prompt."""
    found = corpus.measure(text, before)
    return pb.Originality(
        verbatim_share=found.verbatim_share,
        longest_run_tokens=found.longest_run,
        min_run_tokens=found.min_run,
        runs=[_verbatim_run(run, corpus) for run in covering(found.runs)],
        nearest_post="" if found.nearest is None else corpus.post(found.nearest).id,
    )


def _verbatim_run(run: VerbatimRun, corpus: Corpus) -> pb.VerbatimRun:
    post, shown = corpus.post(run.place.document), corpus.excerpt(run)
    return pb.VerbatimRun(
        start=run.start,
        end=run.end,
        num_tokens=run.num_tokens,
        num_places=run.num_places,
        post=post.id,
        title=post.title,
        post_start=shown.post_start,
        excerpt=shown.text,
        excerpt_start=shown.start,
        excerpt_end=shown.end,
    )


def token_logprobs(logprobs: Iterable[Logprob], codec: Codec) -> list[pb.TokenLogprob]:
    """Log-probabilities with each token's bytes."""
    return [
        pb.TokenLogprob(
            id=logprob.id,
            token=codec.decode_bytes([logprob.id]),
            logprob=logprob.logprob,
            alternatives=[
                pb.AlternativeToken(id=token_id, token=codec.decode_bytes([token_id]), logprob=value)
                for token_id, value in logprob.alternatives
            ],
        )
        for logprob in logprobs
    ]


def served_model(status: ModelStatus) -> pb.ServedModel:
    """A version and its state."""
    published, loaded = status.published, status.loaded
    message = pb.ServedModel(
        name=published.key.name,
        version=published.key.version,
        state=cast("pb.ModelState", pb.ModelState.Value(f"MODEL_STATE_{status.state.name}")),
        error=status.error,
        num_parameters=published.num_parameters,
        run=published.run,
        step=published.step,
        created_at=timestamp_pb2.Timestamp(seconds=max(0, int(published.created_at.timestamp()))),
        aliases=status.aliases,
    )
    if loaded is not None and status.state is not State.FAILED:
        message.engine = loaded.engine.name
        message.context = loaded.engine.context
        message.vocabulary_size = loaded.engine.vocabulary_size
    return message


def model_load(model: LoadedModel) -> pb.ModelLoad:
    """What a model in memory is doing."""
    loop = model.loop
    held, blocks = loop.blocks_held
    return pb.ModelLoad(
        name=model.key.name,
        version=model.key.version,
        num_running=loop.num_running,
        num_queued=loop.num_waiting,
        num_slots=loop.num_places,
        tokens_per_second=loop.tokens_per_second,
        cache_use=held / blocks,
    )


def _duration(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(round(max(0.0, seconds) * 1e9))
    return duration

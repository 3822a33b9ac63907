"""GeneratorService on the wire: finds the model, hands the request to its thread, sends what comes back."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import grpc
from google.protobuf import timestamp_pb2

import services
from protos import generator_pb2 as pb
from protos import generator_pb2_grpc
from services.common.errors import Busy, Cancelled, InvalidRequest
from services.generator import messages, metrics, peers, post_messages
from services.generator.choice import State, Wish
from services.generator.events import End, Finish, Text
from services.generator.generation import Generation
from services.generator.loaded import LoadedModel
from services.generator.measurement import Measurement
from services.generator.models import Models
from services.generator.post import Piece, Written, write_post
from services.generator.request import Limits, SampleRequest
from services.generator.scheduler import RETRY_AFTER_S
from services.generator.settings import GeneratorSettings

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name
LOAD_PATIENCE_S = 60.0  # a request waits so long for its model to be loaded
LATE_S = 1.0  # gRPC ends a late call itself, with the right status; after this much the scheduler does
CUT_OFF_S = 30.0  # a caller that read too slowly is told so when it reads on within this time
SPARE_THREADS = 16  # for rpcs that are refused, and those that only ask
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000


class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """See protos/generator.proto.

    Args:
        models: what is served.
        settings: the limits.
    """

    def __init__(self, models: Models, settings: GeneratorSettings) -> None:
        self._models = models
        self._settings = settings
        self._places = threading.BoundedSemaphore(settings.max_requests)
        self._started_at = timestamp_pb2.Timestamp()
        self._started_at.GetCurrentTime()

    def Generate(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        """Whole samples."""
        with self._begin(request, context) as (model, generation):
            codec = model.codec
            echo = messages.echo_of(request, model)
            samples = [pb.GeneratedSample(index=i, text=echo) for i in range(len(generation.writers))]
            pieces: list[list[str]] = [[echo] for _ in samples]
            for event in generation.events():
                sample = samples[event.index]
                if isinstance(event, Text):
                    pieces[event.index].append(event.text)
                    sample.ids.extend(event.ids)
                    sample.logprobs.extend(messages.token_logprobs(event.logprobs, codec))
                else:
                    _raise_if_cancelled(event)
                    sample.text = "".join(pieces[event.index])
                    sample.finish_reason = messages.finish_reason(event.finish)
                    sample.stop = event.stop
                    if request.originality:
                        text, prompt = sample.text.removeprefix(echo), messages.prompt_of(request, model)
                        sample.originality.CopyFrom(messages.originality(text, model.corpus, prompt))
            return pb.GenerateResponse(
                samples=[samples[index] for index in generation.likeliest()],
                model=messages.model_reference(model),
                effective=messages.effective(generation.request),
                usage=messages.usage(generation),
                timings=messages.timings(generation),
            )

    def GenerateStream(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateDelta]:
        """Samples as they are written."""
        if request.HasField("best_of") and request.best_of != (request.n if request.HasField("n") else 1):
            raise InvalidRequest(
                "best_of chooses among finished samples, so it cannot stream; use Generate", field="best_of"
            )
        with self._begin(request, context, self._settings.unread_limit) as (model, generation):
            yield pb.GenerateDelta(
                start=pb.StreamStart(
                    model=messages.model_reference(model), effective=messages.effective(generation.request)
                )
            )
            if echo := messages.echo_of(request, model):
                for index in range(len(generation.writers)):
                    yield messages.text_delta(Text(index, echo), model.codec)
            written = [""] * len(generation.writers)
            for event in generation.events():
                if isinstance(event, Text):
                    written[event.index] += event.text
                    yield messages.text_delta(event, model.codec)
                else:
                    _raise_if_cancelled(event)
                    delta = messages.sample_end(event)
                    if request.originality:
                        text, prompt = written[event.index], messages.prompt_of(request, model)
                        delta.end.originality.CopyFrom(messages.originality(text, model.corpus, prompt))
                    yield delta
            yield pb.GenerateDelta(
                done=pb.StreamEnd(usage=messages.usage(generation), timings=messages.timings(generation))
            )

    def GeneratePost(self, request: pb.GeneratePostRequest, context: grpc.ServicerContext) -> pb.GeneratePostResponse:
        """A whole post."""
        order = post_messages.order_of(request)
        with self._use(request.model, messages.wish_of(request), context) as model:
            if request.originality:
                _ = model.corpus  # told before anything is written when the model carries none
            pieces = post_messages.Pieces(request, model, self._limits(model, streams=False))

            def write(piece: Piece) -> Written:
                wanted, prompt = pieces.request_of(piece), piece.text.removesuffix(piece.own)
                with self._generate(model, wanted, context, prompt=prompt, own=piece.own) as generation:
                    return pieces.take(generation, _text_of(generation))

            post = write_post(order, write, has_headers=model.has_headers)
            return pieces.response(post)

    def Score(self, request: pb.ScoreRequest, context: grpc.ServicerContext) -> pb.ScoreResponse:
        """How likely a text is."""
        if not request.text:
            raise InvalidRequest("text is empty; there is nothing to measure", field="text")
        version = request.version if request.HasField("version") else None
        with self._use(request.model, version, context) as model:
            ids = model.encode(request.text, field="text", most=model.engine.context)
            measurement = Measurement(
                ids,
                model.codec.vocabulary.end_of_text_id,
                caller=peers.caller_of(context),
                timeout_s=_timeout(context),
            )
            self._submit(model, measurement, context)
            logprobs = [float(value) for value in measurement.result()]
            likelihood = math.fsum(logprobs)
            response = pb.ScoreResponse(
                log_likelihood=likelihood,
                perplexity=math.exp(min(-likelihood / len(ids), 700.0)),  # below the greatest float
                bits_per_byte=-likelihood / math.log(2) / len(request.text.encode()),
                num_tokens=len(ids),
                model=messages.model_reference(model),
            )
            if request.per_token:
                response.tokens.extend(
                    pb.TokenLogprob(id=i, token=model.codec.decode_bytes([i]), logprob=value)
                    for i, value in zip(ids, logprobs, strict=True)
                )
            return response

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        """A page of the models on the volume."""
        if not 0 <= request.page_size <= MAX_PAGE_SIZE:
            raise InvalidRequest(
                f"page_size is {request.page_size}; expected 0 (for {DEFAULT_PAGE_SIZE}) to {MAX_PAGE_SIZE}",
                field="page_size",
            )
        models = [messages.served_model(status) for status in self._models.statuses()]
        start = 0
        if request.page_token:
            # The token names the last model of the page before, so that new versions shift nothing.
            name, _, version = request.page_token.rpartition("/")
            if not name or not version.isdecimal():
                raise InvalidRequest("page_token is not one of ours; begin without one", field="page_token")
            last = (name, -int(version))
            start = sum((model.name, -model.version) <= last for model in models)
        end = start + (request.page_size or DEFAULT_PAGE_SIZE)
        page = models[start:end]
        more = f"{page[-1].name}/{page[-1].version}" if end < len(models) and page else ""
        return pb.ListModelsResponse(models=page, next_page_token=more)

    def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: grpc.ServicerContext
    ) -> pb.GetServerInfoResponse:
        """What is loaded, queued and running."""
        statuses = self._models.statuses()
        loops = [status.loaded.loop for status in statuses if status.loaded is not None]
        shown = [s for s in statuses if s.loaded is not None or s.state is State.LOADING]
        return pb.GetServerInfoResponse(
            server_version=services.__version__,
            models=[messages.served_model(status) for status in shown],
            num_running=sum(loop.num_running for loop in loops),
            num_queued=sum(loop.num_waiting for loop in loops),
            num_slots=self._settings.slots,
            queue_limit=self._settings.queue_limit,
            max_samples=self._settings.max_samples,
            max_new_tokens=self._settings.max_new_tokens,
            started_at=self._started_at,
            loads=[messages.model_load(s.loaded) for s in statuses if s.loaded is not None],
            caller_queue_limit=self._settings.caller_queue_limit,
            max_requests=self._settings.max_requests,
            unread_limit=self._settings.unread_limit,
        )

    @contextmanager
    def _begin(
        self, request: pb.GenerateRequest, context: grpc.ServicerContext, unread_limit: int | None = None
    ) -> Iterator[tuple[LoadedModel, Generation]]:
        """Queue a request at its model; its slots are free again once the block is left."""
        with self._use(request.model, messages.wish_of(request), context) as model:
            wanted = messages.sample_request(request, model, self._limits(model, streams=unread_limit is not None))
            if request.originality:
                _ = model.corpus  # told before anything is written when the model carries none
            prompt = messages.prompt_of(request, model)
            with self._generate(model, wanted, context, unread_limit=unread_limit, prompt=prompt) as generation:
                yield model, generation

    def _limits(self, model: LoadedModel, *, streams: bool) -> Limits:
        """What this model and server allow."""
        return Limits(
            context=model.engine.context,
            vocabulary_size=model.engine.vocabulary_size,
            max_new_tokens=self._settings.max_new_tokens,
            max_samples=min(self._settings.max_samples, model.loop.most_at_once),
            streams=streams,
        )

    @contextmanager
    def _generate(
        self,
        model: LoadedModel,
        wanted: SampleRequest,
        context: grpc.ServicerContext,
        *,
        unread_limit: int | None = None,
        prompt: str = "",
        own: str = "",
    ) -> Iterator[Generation]:
        """Queue samples at a model, to be given up when the block is left.

        Args:
            prompt, own: the text that they go on from, and what counts behind it, for `max_verbatim_tokens`.
        """
        limit = None
        if wanted.max_verbatim_tokens is not None:
            most = wanted.max_verbatim_tokens
            limit = partial(model.corpus.limit, most, stops=wanted.stop, prompt=prompt, own=own)
        generation = Generation(
            wanted,
            model.codec,
            model.engine.context,
            caller=peers.caller_of(context),
            timeout_s=_timeout(context),
            streams=unread_limit is not None,
            unread_limit=unread_limit,
            limit=limit,
            on_slow=lambda: cut_off.start(),
        )
        # The thread that sends may be stuck behind what is not read, and then cannot tell the status either.
        cut_off = threading.Timer(CUT_OFF_S, context.cancel)
        cut_off.daemon = True
        self._submit(model, generation, context)
        metrics.PROMPT_TOKENS.labels(model.key.name).inc(len(wanted.prompt_ids))
        try:
            yield generation
        finally:
            generation.cancel()
            cut_off.cancel()

    @contextmanager
    def _use(self, name: str, wish: Wish, context: grpc.ServicerContext) -> Iterator[LoadedModel]:
        """Yield a model to one of at most `max_requests` requests."""
        if not self._places.acquire(blocking=False):
            metrics.count_rejected("", "TOO_MANY_REQUESTS")
            raise Busy(
                f"{self._settings.max_requests} requests are being answered or wait; try again in a moment",
                reason="TOO_MANY_REQUESTS",
                retry_after_s=RETRY_AFTER_S,
            )
        try:
            if not context.add_callback(self._models.wake):
                raise Cancelled("the caller gave up before its request was begun")
            with self._models.use(name, wish, patience_s=_patience(context), is_awaited=context.is_active) as model:
                yield model
        finally:
            self._places.release()

    def _submit(self, model: LoadedModel, request: Generation | Measurement, context: grpc.ServicerContext) -> None:
        """Queue a request, to be given up when its rpc ends."""
        if not context.add_callback(lambda: request.cancel(peers.why_gone(context))):
            raise Cancelled("the caller gave up before its request was queued")
        model.loop.submit(request)


def _text_of(generation: Generation) -> Written:
    """The text of a request's one sample, once it has ended."""
    text = ""
    for event in generation.events():
        if isinstance(event, Text):
            text += event.text
        else:
            _raise_if_cancelled(event)
            return Written(text, event.finish)
    raise AssertionError("a sample ended without saying so")


def worker_threads(settings: GeneratorSettings) -> int:
    """How many rpcs the server must run at once so that what is too much is refused, not left waiting."""
    return settings.max_requests + SPARE_THREADS


def _timeout(context: grpc.ServicerContext) -> float | None:
    remaining = context.time_remaining()
    return None if remaining is None else remaining + LATE_S


def _patience(context: grpc.ServicerContext) -> float:
    remaining = context.time_remaining()
    return LOAD_PATIENCE_S if remaining is None else min(LOAD_PATIENCE_S, remaining)


def _raise_if_cancelled(event: End) -> None:
    if event.finish is Finish.CANCELLED:
        raise Cancelled("the caller gave up, the deadline passed, or the server is stopping")

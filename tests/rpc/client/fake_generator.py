"""A generator service that always writes the same post."""

from __future__ import annotations

import threading
import time

from protos import (
    generator_pb2,
    generator_pb2_grpc,
)
from services.common.errors import (
    Busy,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
)
from tests.rpc.client.answers import POST_TEXT, WAIT_S


class FakeGenerator(generator_pb2_grpc.GeneratorServiceServicer):
    def __init__(self):
        self.requests: list[generator_pb2.GenerateRequest] = []
        self.busy = 0  # refuse so many requests first
        self.unpublished = 0  # so many requests find no model
        self.max_samples = 16
        self.hold = False  # keep streams open until the caller leaves
        self.has_index = True  # tells originality
        self.answered = threading.Event()

    def _start(self, request):
        if self.unpublished:
            self.unpublished -= 1
            raise NotFound(f"no model {request.model!r}; publish one first")
        if self.busy:
            self.busy -= 1
            raise Busy("the queue is full; try again", retry_after_s=0.02)
        if request.sampling.HasField("top_p") and not 0 < request.sampling.top_p <= 1:
            raise InvalidRequest("must be above 0 and at most 1", field="sampling.top_p")
        self.requests.append(request)
        return generator_pb2.StreamStart(
            model=generator_pb2.ModelReference(name=request.model or "run1", version=request.version or 1),
            effective=generator_pb2.EffectiveParameters(max_new_tokens=10, n=request.n, seed=request.seed),
        )

    def _texts(self, request):
        return [f"{POST_TEXT} ({index})" for index in range(max(1, request.n))]

    def Generate(self, request, context):
        start = self._start(request)
        response = generator_pb2.GenerateResponse(model=start.model, effective=start.effective)
        for index, text in enumerate(self._texts(request)):
            ended = generator_pb2.FINISH_REASON_END_OF_TEXT
            response.samples.add(index=index, text=text, finish_reason=ended)
        response.usage.generated_tokens = 10
        if len(self.requests) >= 3:
            self.answered.set()
        return response

    def GenerateStream(self, request, context):
        yield generator_pb2.GenerateDelta(start=self._start(request))
        texts = self._texts(request)
        for place in range(max(map(len, texts))):
            for index, text in enumerate(texts):
                if place < len(text):
                    delta = generator_pb2.TextDelta(index=index, text=text[place], ids=[place])
                    yield generator_pb2.GenerateDelta(text=delta)
        self.answered.set()
        deadline = time.monotonic() + WAIT_S
        while self.hold and context.is_active() and time.monotonic() < deadline:
            time.sleep(0.01)
        for index in range(len(texts)):
            ended = generator_pb2.FINISH_REASON_END_OF_TEXT
            yield generator_pb2.GenerateDelta(end=generator_pb2.SampleEnd(index=index, finish_reason=ended))
        yield generator_pb2.GenerateDelta(done=generator_pb2.StreamEnd(usage={"generated_tokens": 10}))

    def GeneratePost(self, request, context):
        if request.originality and not self.has_index:
            raise FailedPrecondition("the model was published without an index", reason="NO_INDEX")
        self.requests.append(request)
        body = "It stood there all day.\n\nNobody asked it why."
        response = generator_pb2.GeneratePostResponse(
            title=request.title or "The heron",
            tags=request.tags or ["birds", "water"],
            date="2019-09-01",
            body=body,
            markdown=f"---\ntitle: The heron\n---\n\n{body}\n",
            text=POST_TEXT,
            path="_posts/2019-09-01-the-heron.md",
            model=generator_pb2.ModelReference(name=request.model or "run1", version=1, engine="litert"),
            effective=generator_pb2.EffectiveParameters(seed=request.seed or 5),
            finish_reason=generator_pb2.FINISH_REASON_END_OF_TEXT,
        )
        if request.originality:
            start = POST_TEXT.index("It stood")
            response.originality.verbatim_share = 0.5
            response.originality.runs.add(start=start, end=start + 8, num_tokens=12, num_places=1, title="Herons")
        return response

    def GetServerInfo(self, request, context):
        served = generator_pb2.ServedModel(name="run1", version=2, state=generator_pb2.MODEL_STATE_SERVING)
        load = generator_pb2.ModelLoad(
            name="run1", version=2, num_running=1, num_queued=2, num_slots=8, tokens_per_second=181.4, cache_use=0.06
        )
        return generator_pb2.GetServerInfoResponse(
            models=[served],
            num_running=1,
            num_queued=2,
            num_slots=8,
            queue_limit=32,
            caller_queue_limit=16,
            max_samples=self.max_samples,
            loads=[load],
        )

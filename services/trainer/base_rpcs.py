"""The rpcs of base models, and of fetching them: message in, one call of a pure module, message out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import grpc

from protos import trainer_pb2 as pb
from services.common.errors import Corrupt, FailedPrecondition, InvalidRequest
from services.gpt2.config import FRESH
from services.trainer import beginning, messages
from services.trainer.bases import Bases
from services.trainer.fetching.fetches import Fetches
from services.trainer.fetching.names import KNOWN
from services.trainer.run_record import ACTIVE
from services.trainer.runs import Runs
from services.trainer.volume import Volume

log = logging.getLogger(__name__)


class BaseRpcs:
    """The part of TrainerServicer that is about base models; each rpc's contract is its comment in the proto."""

    _volume: Volume
    _bases: Bases
    _fetches: Fetches
    _runs: Runs
    _stopping: threading.Event

    def ListBases(self, request: pb.ListBasesRequest, context: grpc.ServicerContext) -> pb.ListBasesResponse:
        """List fresh sizes, then the folders of base/ that can be read."""
        bases = [messages.base_message(name, config, fresh=True) for name, config in FRESH.items()]
        for name in self._bases.names():
            try:
                base = self._bases.describe(name)
            except Corrupt as error:
                log.warning("base %s is left out: %s", name, error.message)
                continue
            bases.append(
                messages.base_message(name, base.config, fresh=False, vocabulary_digest=base.vocabulary_digest)
            )
        found, token = messages.page(bases, request.page_size, request.page_token)
        return pb.ListBasesResponse(bases=found, next_page_token=token)

    def ImportBase(
        self, requests: Iterator[pb.ImportBaseRequest], context: grpc.ServicerContext
    ) -> pb.ImportBaseResponse:
        """Take a base's files and check them whole."""
        first = next(requests, None)
        if first is None or first.WhichOneof("part") != "name":
            raise InvalidRequest("the first message must name the base", field="name")
        base = self._bases.import_files(first.name, _files(requests))
        return pb.ImportBaseResponse(
            base=messages.base_message(base.name, base.config, fresh=False, vocabulary_digest=base.vocabulary_digest)
        )

    def DeleteBase(self, request: pb.DeleteBaseRequest, context: grpc.ServicerContext) -> pb.DeleteBaseResponse:
        """Delete a base that no active run starts from."""
        for record in self._runs.all():
            if record.settings.base == request.base and record.state in ACTIVE:
                raise FailedPrecondition(f"run {record.name!r} starts from base {request.base!r}: stop it first")
        self._bases.delete(request.base)
        return pb.DeleteBaseResponse()

    def GetBase(self, request: pb.GetBaseRequest, context: grpc.ServicerContext) -> pb.GetBaseResponse:
        """Say what a run would start from."""
        found = beginning.find(self._volume, self._bases, request.base)
        return pb.GetBaseResponse(
            base=messages.base_message(
                found.word, found.config, fresh=found.fresh, vocabulary_digest=found.vocabulary_digest
            )
        )

    def ListFetchableBases(
        self, request: pb.ListFetchableBasesRequest, context: grpc.ServicerContext
    ) -> pb.ListFetchableBasesResponse:
        """List what is known by name."""
        here = self._bases.names()
        found, token = messages.page(list(KNOWN), request.page_size, request.page_token)
        return pb.ListFetchableBasesResponse(
            bases=[messages.fetchable_message(known, is_here=known.name in here) for known in found],
            next_page_token=token,
        )

    def FetchBase(self, request: pb.FetchBaseRequest, context: grpc.ServicerContext) -> pb.FetchBaseResponse:
        """Queue a fetch, or find the one under way."""
        if not request.base:
            raise InvalidRequest("no base was named: give 124M, distilgpt2 or <owner>/<name>", field="base")
        record = self._fetches.ask(request.base, name=request.name, source=messages.fetch_source(request.source))
        return pb.FetchBaseResponse(fetch=messages.fetch_message(record))

    def WatchFetch(self, request: pb.WatchFetchRequest, context: grpc.ServicerContext) -> Iterator[pb.Fetch]:
        """Stream a fetch until it has ended."""
        for record in self._fetches.watch(request.name, stopping=self._stopping, listening=context.is_active):
            yield messages.fetch_message(record)

    def CancelFetch(self, request: pb.CancelFetchRequest, context: grpc.ServicerContext) -> pb.CancelFetchResponse:
        """End a fetch."""
        record = self._fetches.cancel(request.name, discard=request.discard)
        return pb.CancelFetchResponse(fetch=messages.fetch_message(record))

    def ListFetches(self, request: pb.ListFetchesRequest, context: grpc.ServicerContext) -> pb.ListFetchesResponse:
        """List fetches by name."""
        found, token = messages.page(self._fetches.all(), request.page_size, request.page_token)
        return pb.ListFetchesResponse(
            fetches=[messages.fetch_message(record) for record in found], next_page_token=token
        )


def _files(requests: Iterator[pb.ImportBaseRequest]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The files of an import, each with its chunks, which are taken before the next file is asked for."""
    message = next(requests, None)
    while message is not None:
        if message.WhichOneof("part") != "file":
            raise InvalidRequest("a chunk came before its file's name, or the base was named twice", field="file")
        following: list[pb.ImportBaseRequest | None] = [None]

        def chunks(following: list[pb.ImportBaseRequest | None] = following) -> Iterator[bytes]:
            for part in requests:
                if part.WhichOneof("part") != "chunk":
                    following[0] = part
                    return
                yield part.chunk

        yield message.file, chunks()
        message = following[0]

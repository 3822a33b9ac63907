"""The tokenizer service, which can be restarted, and a corpus service for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import corpus_pb2, corpus_pb2_grpc, tokenizer_pb2_grpc
from protos import tokenizer_pb2 as pb
from services.client.commands.root import root
from services.common import rpc
from services.tokenizer.datasets import Datasets
from services.tokenizer.peers import CorpusPeer
from services.tokenizer.servicer import SERVICE_NAME, TokenizerServicer
from services.tokenizer.vocabularies import Vocabularies
from tests.waiting import PATIENCE_S

DIGEST = "ab" * 32


@dataclass
class FakeCorpus(corpus_pb2_grpc.CorpusServiceServicer):
    """One corpus, `default`, of a dozen documents; `gate` holds the stream after its third document."""

    gate: threading.Event = field(default_factory=threading.Event)
    damaged: bool = False

    def __post_init__(self) -> None:
        self.gate.set()

    def ListCorpora(self, request: Any, context: Any) -> corpus_pb2.ListCorporaResponse:
        return corpus_pb2.ListCorporaResponse()

    def CreateSnapshot(self, request: Any, context: Any) -> corpus_pb2.CreateSnapshotResponse:
        self._check(request.corpus, context)
        return corpus_pb2.CreateSnapshotResponse(snapshot=self._snapshot(DIGEST))

    def ListSnapshots(self, request: Any, context: Any) -> corpus_pb2.ListSnapshotsResponse:
        self._check(request.corpus, context)
        if not request.page_token:
            return corpus_pb2.ListSnapshotsResponse(snapshots=[self._snapshot("00" * 32)], next_page_token="2")
        return corpus_pb2.ListSnapshotsResponse(snapshots=[self._snapshot(DIGEST)])

    def GetBlogStyle(self, request: Any, context: Any) -> corpus_pb2.GetBlogStyleResponse:
        self._check(request.corpus, context)
        style = corpus_pb2.BlogStyle(format="toml", path="%Y/{slug}.md")
        return corpus_pb2.GetBlogStyleResponse(style=style)

    def ListDocuments(self, request: Any, context: Any) -> Iterator[corpus_pb2.Document]:
        self._check(request.corpus, context)
        for n in range(12):
            if n == 3:
                while not self.gate.wait(0.05) and context.is_active():
                    pass
                if self.damaged:
                    context.abort(grpc.StatusCode.DATA_LOSS, "post 03.md is damaged")
            text = f"Post {n} is about tea, and about rain. <|endoftext|>\n" * (n + 1)
            yield corpus_pb2.Document(id=f"default/{n:02}.md", path=f"{n:02}.md", title=f"On tea {n}", text=text)

    def _snapshot(self, digest: str) -> corpus_pb2.Snapshot:
        return corpus_pb2.Snapshot(corpus="default", digest=digest, num_documents=12)

    def _check(self, corpus: str, context: Any) -> None:
        if corpus != "default":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no corpus {corpus!r}")


@dataclass
class House:
    """A corpus and a tokenizer service that can be restarted on the same folder."""

    data: Path
    corpus: FakeCorpus
    corpus_address: str

    def start(self) -> None:
        self.servicer = TokenizerServicer(Vocabularies(self.data), Datasets(self.data), CorpusPeer(self.corpus_address))
        self.server = rpc.start(
            "127.0.0.1:0",
            lambda server: tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(self.servicer, server),
            services=[SERVICE_NAME],
        )
        self.servicer.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.stub = tokenizer_pb2_grpc.TokenizerServiceStub(self.channel)

    def stop(self) -> None:
        self.servicer.drain()
        self.server.stop(2)
        self.servicer.stop()
        self.channel.close()

    def call(self, name: str, request: Any) -> Any:
        return getattr(self.stub, name)(request, timeout=PATIENCE_S)

    def build(self, **values: Any) -> pb.Dataset:
        values.setdefault("own_vocabulary_size", 300)
        return self.call("BuildDataset", pb.BuildDatasetRequest(**values)).dataset

    def finish(self, dataset: pb.Dataset) -> pb.Dataset:
        return list(self.call("WatchDataset", pb.WatchDatasetRequest(dataset=dataset.id)))[-1]

    def state(self, dataset: pb.Dataset) -> int:
        return self.call("GetDataset", pb.GetDatasetRequest(dataset=dataset.id)).dataset.state


def assert_refused(code: str, words: str, call: Callable[[], Any], field_name: str = "") -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        result = call()
        list(result) if isinstance(result, Iterator) else None
    assert refusal.value.code().name == code
    assert words in refusal.value.details()
    if field_name:
        status = rpc_status.from_call(refusal.value)
        bad_request = error_details_pb2.BadRequest()
        assert any(detail.Unpack(bad_request) for detail in status.details)
        assert bad_request.field_violations[0].field == field_name


def command(house: House, *arguments: str, status: int = 0) -> str:
    address = f"127.0.0.1:{house.server.port}"
    result = CliRunner().invoke(root, list(arguments), env={"NONESUCH_TOKENIZER_ADDRESS": address})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.output

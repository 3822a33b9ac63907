"""A tokenizer service that answers from memory."""

from __future__ import annotations

import hashlib

from protos import (
    tokenizer_pb2,
    tokenizer_pb2_grpc,
)
from services.common.errors import (
    NotFound,
    Unavailable,
)
from tests.rpc.client.answers import page


class FakeTokenizer(tokenizer_pb2_grpc.TokenizerServiceServicer):
    def __init__(self):
        self.datasets: dict[str, tokenizer_pb2.Dataset] = {}
        self.vocabularies = ["default-2048-aa"]
        self.build_error = ""
        self.breaks = 0  # WatchDataset ends this many times with UNAVAILABLE first
        self.corpus_tokens: dict[tuple[str, str], int] = {}  # by corpus and vocabulary

    def CountCorpusTokens(self, request, context):
        key = (request.corpus, request.vocabulary)
        if key not in self.corpus_tokens:
            raise Unavailable("starting; try again")
        return tokenizer_pb2.CountCorpusTokensResponse(num_tokens=self.corpus_tokens[key])

    def BuildDataset(self, request, context):
        name = request.vocabulary or f"own-{request.own_vocabulary_size}"
        key = f"{request.corpus}-{hashlib.sha256((request.snapshot + name).encode()).hexdigest()[:12]}"
        if key not in self.datasets:
            self.datasets[key] = tokenizer_pb2.Dataset(
                id=key,
                state=tokenizer_pb2.DATASET_STATE_RUNNING,
                corpus=request.corpus,
                snapshot=request.snapshot,
                vocabulary=name,
                vocabulary_size=request.own_vocabulary_size,
                num_documents=2,
            )
        return tokenizer_pb2.BuildDatasetResponse(dataset=self.datasets[key])

    def WatchDataset(self, request, context):
        dataset = self.datasets[request.dataset]
        yield dataset
        if self.breaks:
            self.breaks -= 1
            raise Unavailable("draining")
        dataset.num_documents_done = 2
        dataset.num_tokens = 100
        dataset.error = self.build_error
        failed = tokenizer_pb2.DATASET_STATE_FAILED
        dataset.state = failed if self.build_error else tokenizer_pb2.DATASET_STATE_SUCCEEDED
        yield dataset

    def ListDatasets(self, request, context):
        return page(list(self.datasets.values()), request, tokenizer_pb2.ListDatasetsResponse, "datasets")

    def GetDataset(self, request, context):
        if request.dataset not in self.datasets:
            raise NotFound(f"no dataset {request.dataset!r}")
        return tokenizer_pb2.GetDatasetResponse(dataset=self.datasets[request.dataset])

    def DeleteDataset(self, request, context):
        self.GetDataset(request, context)
        del self.datasets[request.dataset]
        return tokenizer_pb2.DeleteDatasetResponse()

    def ListVocabularies(self, request, context):
        entries = [
            tokenizer_pb2.Vocabulary(id=name, size=50257 if name == "124M" else 2048, created_at={"seconds": number})
            for number, name in enumerate(self.vocabularies)
        ]
        return page(entries, request, tokenizer_pb2.ListVocabulariesResponse, "vocabularies")

    def Encode(self, request, context):
        if request.vocabulary not in self.vocabularies:
            raise NotFound(f"no vocabulary {request.vocabulary!r}")
        return tokenizer_pb2.EncodeResponse(ids=list(request.text.encode()))

    def Decode(self, request, context):
        return tokenizer_pb2.DecodeResponse(text=bytes(request.ids).decode(errors="replace"))

    def CountTokens(self, request, context):
        size = len(request.text.encode())
        return tokenizer_pb2.CountTokensResponse(num_tokens=size, num_bytes=size)

"""The tokenizer service's rpcs: from the wire, one call into the pure modules, back to the wire."""

# ruff: noqa: D102 (protos/tokenizer.proto says what each rpc does)

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from protos import tokenizer_pb2 as pb
from protos import tokenizer_pb2_grpc
from services.common.errors import Cancelled, FailedPrecondition, InvalidRequest
from services.common.files import check_name
from services.tokenizer import building, messages, streams, upload
from services.tokenizer.building import Order
from services.tokenizer.builds import Builds
from services.tokenizer.counting import Counting
from services.tokenizer.datasets import Datasets, no_dataset
from services.tokenizer.encoding import Progress
from services.tokenizer.importing import ImportOrder, import_dataset
from services.tokenizer.peers import CorpusPeer
from services.tokenizer.settings import TokenizerSettings
from services.tokenizer.training import check_size
from services.tokenizer.vocabularies import Vocabularies
from services.tokens.header import HEADER_NONE, HEADER_V1

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["TokenizerService"].full_name
DEFAULT_CORPUS = "default"
IMPORTED = "imported"


class TokenizerServicer(tokenizer_pb2_grpc.TokenizerServiceServicer):
    """Answers from the volume and the corpus service; its errors become statuses in services.common.rpc."""

    def __init__(
        self,
        vocabularies: Vocabularies,
        datasets: Datasets,
        corpus: CorpusPeer,
        settings: TokenizerSettings | None = None,
    ) -> None:
        self._settings = settings or TokenizerSettings()
        self._vocabularies = vocabularies
        self._datasets = datasets
        self._corpus = corpus
        self._builds = Builds(datasets.folder, self._build)
        self._counting = Counting(vocabularies, datasets, self._settings.encoding_processes)
        self._working = threading.Lock()  # one training or build at a time: each uses all cores

    def start(self) -> None:
        """Take up builds that were interrupted."""
        self._builds.start()

    def drain(self) -> None:
        """End the streams."""
        self._builds.drain()

    def stop(self) -> None:
        """Put off what is being built until the next start."""
        self._builds.stop()
        self._corpus.close()

    def Encode(self, request: pb.EncodeRequest, context: grpc.ServicerContext) -> pb.EncodeResponse:
        return pb.EncodeResponse(ids=streams.encode(self._vocabularies.codec(request.vocabulary), request))

    def EncodeStream(
        self, request_iterator: Iterator[pb.EncodeStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.EncodeStreamResponse]:
        return streams.encode_stream(self._vocabularies, request_iterator)

    def Decode(self, request: pb.DecodeRequest, context: grpc.ServicerContext) -> pb.DecodeResponse:
        return pb.DecodeResponse(text=streams.decode(self._vocabularies.codec(request.vocabulary), request))

    def DecodeStream(
        self, request_iterator: Iterator[pb.DecodeStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.DecodeStreamResponse]:
        return streams.decode_stream(self._vocabularies, request_iterator)

    def CountTokens(self, request: pb.CountTokensRequest, context: grpc.ServicerContext) -> pb.CountTokensResponse:
        num_tokens, num_bytes = streams.count(self._vocabularies.codec(request.vocabulary), request.text)
        return pb.CountTokensResponse(num_tokens=num_tokens, num_bytes=num_bytes)

    def CountTokensStream(
        self, request_iterator: Iterator[pb.CountTokensStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.CountTokensStreamResponse]:
        return streams.count_stream(self._vocabularies, request_iterator)

    def CountCorpusTokens(
        self, request: pb.CountCorpusTokensRequest, context: grpc.ServicerContext
    ) -> pb.CountCorpusTokensResponse:
        facts = self._vocabularies.facts(request.vocabulary)
        snapshot = self._corpus.snapshot(_corpus(request.corpus), request.snapshot)
        found = self._counting.count(
            snapshot, self._corpus.documents(snapshot), facts, progress=_ends_with(context, "the corpus was counted")
        )
        return pb.CountCorpusTokensResponse(
            num_tokens=found.num_tokens, num_bytes=found.num_bytes, num_documents=found.num_documents
        )

    def TrainVocabulary(
        self, request: pb.TrainVocabularyRequest, context: grpc.ServicerContext
    ) -> pb.TrainVocabularyResponse:
        check_size(request.size, field="size")
        snapshot = self._corpus.snapshot(_corpus(request.corpus), request.snapshot)
        progress = _ends_with(context, "the vocabulary was trained")
        with self._work(progress):
            facts = building.train_on(
                snapshot,
                self._corpus.documents(snapshot),
                request.size,
                self._vocabularies,
                progress=progress,
            )
        return pb.TrainVocabularyResponse(vocabulary=messages.vocabulary_message(facts))

    def ListVocabularies(
        self, request: pb.ListVocabulariesRequest, context: grpc.ServicerContext
    ) -> pb.ListVocabulariesResponse:
        found, token = messages.page(
            self._vocabularies.all(),
            lambda facts: facts.id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListVocabulariesResponse(
            vocabularies=[messages.vocabulary_message(facts) for facts in found], next_page_token=token
        )

    def DeleteVocabulary(
        self, request: pb.DeleteVocabularyRequest, context: grpc.ServicerContext
    ) -> pb.DeleteVocabularyResponse:
        self._vocabularies.delete(request.vocabulary)
        return pb.DeleteVocabularyResponse()

    def BuildDataset(self, request: pb.BuildDatasetRequest, context: grpc.ServicerContext) -> pb.BuildDatasetResponse:
        order = self._order(request)
        known = self._builds.get(order.dataset_id)
        if known is None or not known.is_active:
            dataset = self._datasets.find_whole(order.dataset_id)
            if dataset is not None:
                return pb.BuildDatasetResponse(dataset=messages.dataset_message(dataset.manifest))
            known = self._builds.submit(order)
        return pb.BuildDatasetResponse(dataset=messages.build_message(known))

    def WatchDataset(self, request: pb.WatchDatasetRequest, context: grpc.ServicerContext) -> Iterator[pb.Dataset]:
        last = None
        for _ in self._builds.changes(context.is_active):
            dataset = self._dataset(request.dataset)
            if dataset != last:
                yield dataset
            last = dataset
            if dataset.state in messages.FINISHED:
                return

    def CancelDataset(
        self, request: pb.CancelDatasetRequest, context: grpc.ServicerContext
    ) -> pb.CancelDatasetResponse:
        if self._dataset(request.dataset).state == pb.DATASET_STATE_SUCCEEDED:
            raise FailedPrecondition(f"dataset {request.dataset!r} is complete; there is nothing to cancel")
        self._builds.cancel(request.dataset)
        return pb.CancelDatasetResponse()

    def ListDatasets(self, request: pb.ListDatasetsRequest, context: grpc.ServicerContext) -> pb.ListDatasetsResponse:
        datasets = {manifest["id"]: messages.dataset_message(manifest) for manifest in self._datasets.manifests()}
        datasets |= {build.order.dataset_id: messages.build_message(build) for build in self._builds.all()}
        found, token = messages.page(
            list(datasets.values()),
            lambda dataset: f"{dataset.created_at.ToMilliseconds():015d}-{dataset.id}",
            page_size=request.page_size,
            page_token=request.page_token,
            newest_first=True,
        )
        return pb.ListDatasetsResponse(datasets=found, next_page_token=token)

    def GetDataset(self, request: pb.GetDatasetRequest, context: grpc.ServicerContext) -> pb.GetDatasetResponse:
        return pb.GetDatasetResponse(dataset=self._dataset(request.dataset))

    def DeleteDataset(
        self, request: pb.DeleteDatasetRequest, context: grpc.ServicerContext
    ) -> pb.DeleteDatasetResponse:
        check_name(request.dataset, field="dataset", kind="dataset")
        had_record = self._builds.forget(request.dataset)
        if not had_record or (self._datasets.folder / request.dataset).exists():
            self._datasets.delete(request.dataset)
        return pb.DeleteDatasetResponse()

    def ExportDataset(
        self, request: pb.ExportDatasetRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ExportDatasetResponse]:
        form = upload.format_of(request.format, field="format")
        return upload.export_messages(self._datasets.open(request.dataset), form)

    def ImportDataset(
        self, request_iterator: Iterator[pb.ImportDatasetRequest], context: grpc.ServicerContext
    ) -> pb.ImportDatasetResponse:
        header = upload.header_of(request_iterator)
        source = header.WhichOneof("vocabulary_source")
        form = upload.format_of(header.format, field="header.format")
        corpus = check_name(header.corpus or IMPORTED, field="header.corpus", kind="corpus")
        fraction = _fraction(header)
        if source is None:
            raise InvalidRequest(
                "say which vocabulary: one by name, or the size of one to train", field="header.vocabulary"
            )
        if source == "own_vocabulary_size":
            check_size(header.own_vocabulary_size, field="header.own_vocabulary_size")
        else:
            self._vocabularies.facts(header.vocabulary)  # before the files are sent, not after
        progress = _ends_with(context, "the dataset was imported")
        limit = self._settings.max_import_bytes
        with upload.spooled(request_iterator, self._datasets.folder, limit) as files, self._work(progress):
            order = ImportOrder(
                form=form,
                corpus=corpus,
                files=files,
                vocabulary=header.vocabulary,
                own_vocabulary_size=header.own_vocabulary_size,
                validation_fraction=fraction,
                header=header.header if header.HasField("header") else None,
            )
            dataset, num_empty = import_dataset(
                order,
                self._vocabularies,
                self._datasets,
                num_processes=self._settings.encoding_processes,
                progress=progress,
            )
        return pb.ImportDatasetResponse(
            dataset=messages.dataset_message(dataset.manifest), num_empty_documents=num_empty
        )

    def _dataset(self, dataset_id: str) -> pb.Dataset:
        check_name(dataset_id, field="dataset", kind="dataset")
        build = self._builds.get(dataset_id)
        if build is not None:
            return messages.build_message(build)
        manifest = self._datasets.manifest(dataset_id)
        if manifest is None:
            raise no_dataset(dataset_id)
        return messages.dataset_message(manifest)

    def _order(self, request: pb.BuildDatasetRequest) -> Order:
        """What a request asks for, checked, its snapshot and vocabulary resolved."""
        fraction = _fraction(request)
        source = request.WhichOneof("vocabulary_source")
        if source is None:
            raise InvalidRequest(
                "say what to encode with: a vocabulary by name, or the size of one to train",
                field="vocabulary",
            )
        name, digest, size = "", "", 0
        if source == "vocabulary":
            name, digest = request.vocabulary, self._vocabularies.facts(request.vocabulary).digest
        else:
            size = check_size(request.own_vocabulary_size, field="own_vocabulary_size")
        return Order(
            snapshot=self._corpus.snapshot(_corpus(request.corpus), request.snapshot),
            vocabulary=name,
            vocabulary_digest=digest,
            own_vocabulary_size=size,
            validation_fraction=fraction,
            header_format=HEADER_NONE if request.HasField("header") and not request.header else HEADER_V1,
        )

    def _build(self, order: Order, created_at: str, progress: Progress) -> None:
        with self._work(progress):
            building.build_dataset(
                order,
                self._corpus.documents(order.snapshot),
                self._vocabularies,
                self._datasets,
                style=self._corpus.style(order.snapshot),
                created_at=created_at,
                num_processes=self._settings.encoding_processes,
                progress=progress,
            )

    @contextmanager
    def _work(self, check: Callable[[int], None]) -> Iterator[None]:
        """Hold the right to use all cores; `check` may raise while waiting for it."""
        while not self._working.acquire(timeout=0.5):
            check(0)
        try:
            yield
        finally:
            self._working.release()


def _ends_with(context: grpc.ServicerContext, what: str) -> Progress:
    """A progress that ends the work when the caller leaves."""

    def progress(done: int) -> None:
        if not context.is_active():
            raise Cancelled(f"the caller left before {what}")

    return progress


def _fraction(request: pb.BuildDatasetRequest | pb.ImportHeader) -> float:
    fraction = building.DEFAULT_VALIDATION_FRACTION
    if request.HasField("validation_fraction"):
        fraction = request.validation_fraction
    if not 0 < fraction < 1:
        raise InvalidRequest(
            f"validation_fraction is {fraction:g}: give a share above 0 and below 1",
            field="validation_fraction",
        )
    return fraction


def _corpus(name: str) -> str:
    return check_name(name or DEFAULT_CORPUS, field="corpus", kind="corpus")

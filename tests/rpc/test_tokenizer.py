"""The tokenizer service through its stub, beside a corpus service that is as small as can be."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.json_format import MessageToDict
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
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from tests.gpt2_files import gpt2_folder
from tests.waiting import PATIENCE_S, wait_for

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


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    base = tmp_path / "base" / "124M"
    base.mkdir(parents=True)
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copyfile(gpt2_folder() / name, base / name)
    corpus = FakeCorpus()
    corpus_server = rpc.start(
        "127.0.0.1:0",
        lambda server: corpus_pb2_grpc.add_CorpusServiceServicer_to_server(corpus, server),
        services=[],
    )
    house = House(tmp_path, corpus, f"127.0.0.1:{corpus_server.port}")
    house.start()
    yield house
    corpus.gate.set()
    house.stop()
    corpus_server.stop(2)


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


def test_text_becomes_the_published_ids_and_comes_back(house: House) -> None:
    text = "hello world"

    plain = house.call("Encode", pb.EncodeRequest(vocabulary="124M", text=text))
    ended = house.call("Encode", pb.EncodeRequest(vocabulary="124M", text=text, append_end_of_text=True))
    counted = house.call("CountTokens", pb.CountTokensRequest(vocabulary="124M", text="héllo world"))
    decoded = house.call("Decode", pb.DecodeRequest(vocabulary="124M", ids=ended.ids))

    assert plain.ids == [31373, 995]
    assert ended.ids == [31373, 995, 50256]
    assert (counted.num_tokens, counted.num_bytes) == (4, 12)
    assert decoded.text == "hello world<|endoftext|>"


def test_end_of_text_typed_by_an_author_is_ordinary_text(house: House) -> None:
    ids = house.call("Encode", pb.EncodeRequest(vocabulary="124M", text="a <|endoftext|> b")).ids

    assert 50256 not in ids


def test_half_a_character_decodes_to_a_replacement_character(house: House) -> None:
    ids = house.call("Encode", pb.EncodeRequest(vocabulary="124M", text="日")).ids

    assert house.call("Decode", pb.DecodeRequest(vocabulary="124M", ids=ids[:1])).text == "\ufffd"


@pytest.mark.parametrize(
    ("name", "request_message", "code", "words", "field_name"),
    [
        ("Encode", pb.EncodeRequest(vocabulary="nope", text="a"), "NOT_FOUND", "'nope'", ""),
        ("Encode", pb.EncodeRequest(text="a"), "INVALID_ARGUMENT", "vocabulary name", "vocabulary"),
        ("Encode", pb.EncodeRequest(vocabulary="../x"), "INVALID_ARGUMENT", "'../x'", "vocabulary"),
        (
            "Encode",
            pb.EncodeRequest(vocabulary="124M", text="a" * (4 << 20) + "é"),
            "INVALID_ARGUMENT",
            "4194306",
            "text",
        ),
        ("CountTokens", pb.CountTokensRequest(vocabulary="nope"), "NOT_FOUND", "'nope'", ""),
        ("Decode", pb.DecodeRequest(vocabulary="124M", ids=[1, 50257]), "INVALID_ARGUMENT", "50257", "ids"),
        ("Decode", pb.DecodeRequest(vocabulary="124M", ids=[-1]), "INVALID_ARGUMENT", "-1", "ids"),
        ("TrainVocabulary", pb.TrainVocabularyRequest(size=256), "INVALID_ARGUMENT", "256", "size"),
        ("TrainVocabulary", pb.TrainVocabularyRequest(size=300, corpus="x"), "NOT_FOUND", "'x'", ""),
        ("DeleteVocabulary", pb.DeleteVocabularyRequest(vocabulary="124M"), "NOT_FOUND", "base model", ""),
        (
            "ListVocabularies",
            pb.ListVocabulariesRequest(page_size=1001),
            "INVALID_ARGUMENT",
            "1001",
            "page_size",
        ),
        ("BuildDataset", pb.BuildDatasetRequest(), "INVALID_ARGUMENT", "encode with", "vocabulary"),
        ("BuildDataset", pb.BuildDatasetRequest(vocabulary="nope"), "NOT_FOUND", "'nope'", ""),
        ("BuildDataset", pb.BuildDatasetRequest(vocabulary="124M", corpus="x"), "NOT_FOUND", "'x'", ""),
        ("BuildDataset", pb.BuildDatasetRequest(vocabulary="124M", snapshot="ee"), "NOT_FOUND", "'ee'", ""),
        (
            "BuildDataset",
            pb.BuildDatasetRequest(own_vocabulary_size=5),
            "INVALID_ARGUMENT",
            "5 entries",
            "own_vocabulary_size",
        ),
        (
            "BuildDataset",
            pb.BuildDatasetRequest(vocabulary="124M", validation_fraction=1.0),
            "INVALID_ARGUMENT",
            "validation_fraction is 1",
            "validation_fraction",
        ),
        ("WatchDataset", pb.WatchDatasetRequest(dataset="nope"), "NOT_FOUND", "'nope'", ""),
        ("GetDataset", pb.GetDatasetRequest(dataset="nope"), "NOT_FOUND", "'nope'", ""),
        ("GetDataset", pb.GetDatasetRequest(dataset="../x"), "INVALID_ARGUMENT", "'../x'", "dataset"),
        ("CancelDataset", pb.CancelDatasetRequest(dataset="nope"), "NOT_FOUND", "'nope'", ""),
        ("DeleteDataset", pb.DeleteDatasetRequest(dataset="nope"), "NOT_FOUND", "'nope'", ""),
    ],
)
def test_a_wrong_request_is_refused_by_name(
    house: House, name: str, request_message: Any, code: str, words: str, field_name: str
) -> None:
    assert_refused(code, words, lambda: house.call(name, request_message), field_name)


def test_a_stream_of_texts_is_answered_text_by_text(house: House) -> None:
    texts = ["hello world", "", "a <|endoftext|> b", "hello world"]
    requests = [pb.EncodeStreamRequest(vocabulary="124M", text=texts[0])]
    requests += [pb.EncodeStreamRequest(text=text, append_end_of_text=True) for text in texts[1:3]]
    requests += [pb.EncodeStreamRequest(text=texts[2], allow_special=True, vocabulary="124M")]

    answers = list(house.call("EncodeStream", iter(requests)))
    counts = list(
        house.call("CountTokensStream", (pb.CountTokensStreamRequest(vocabulary="124M", text=t) for t in texts))
    )

    assert [list(answer.ids) for answer in answers[:2]] == [[31373, 995], [50256]]
    assert answers[2].ids[-1] == 50256
    assert 50256 not in answers[2].ids[:-1]
    assert answers[3].ids == [64, 220, 50256, 275]
    assert [(count.num_tokens, count.num_bytes) for count in counts[:2]] == [(2, 11), (0, 0)]


def test_a_streams_answer_comes_before_the_next_message_is_sent(house: House) -> None:
    answered = threading.Event()

    def requests() -> Iterator[pb.EncodeStreamRequest]:
        yield pb.EncodeStreamRequest(vocabulary="124M", text="hello")
        assert answered.wait(PATIENCE_S)
        yield pb.EncodeStreamRequest(text=" world")

    answers = house.call("EncodeStream", requests())
    first = next(answers)
    answered.set()

    assert (list(first.ids), [list(answer.ids) for answer in answers]) == ([31373], [[995]])


def test_a_stream_of_ids_is_decoded_in_whole_characters(house: House) -> None:
    text = "日本語 👩‍👧 naïve"
    ids = house.call("Encode", pb.EncodeRequest(vocabulary="124M", text=text)).ids

    def deltas(*parts: list[int], **values: Any) -> list[str]:
        requests = (pb.DecodeStreamRequest(vocabulary="124M", ids=part, **values) for part in parts)
        return [answer.text for answer in house.call("DecodeStream", requests)]

    single = deltas(*([token_id] for token_id in ids))
    assert "".join(single) == text
    assert len(single) == len(ids)
    assert all("\ufffd" not in delta for delta in single)
    assert deltas(list(ids), [50256], skip_special=True) == [text, ""]
    assert deltas([50256, 64]) == ["<|endoftext|>a"]
    assert deltas(list(ids[:1])) == ["", "\ufffd"]
    assert deltas([]) == [""]


def test_the_marker_is_made_and_left_out_only_when_asked_for(house: House) -> None:
    request = pb.EncodeRequest(vocabulary="124M", text="a<|endoftext|>b", allow_special=True)
    ids = list(house.call("Encode", request).ids)

    assert ids == [64, 50256, 65]
    assert house.call("Decode", pb.DecodeRequest(vocabulary="124M", ids=ids, skip_special=True)).text == "ab"


def test_a_stream_is_refused_where_it_goes_wrong(house: House) -> None:
    def encode(*requests: pb.EncodeStreamRequest) -> Callable[[], Any]:
        return lambda: house.call("EncodeStream", iter(requests))

    first = pb.EncodeStreamRequest(vocabulary="124M", text="a")
    assert_refused("NOT_FOUND", "'nope'", encode(pb.EncodeStreamRequest(vocabulary="nope")))
    assert_refused(
        "INVALID_ARGUMENT", "'other'", encode(first, pb.EncodeStreamRequest(vocabulary="other")), "vocabulary"
    )
    assert_refused("INVALID_ARGUMENT", "4194305", encode(first, pb.EncodeStreamRequest(text="x" * 4194305)), "text")
    wrong = pb.DecodeStreamRequest(vocabulary="124M", ids=[50257])
    assert_refused("INVALID_ARGUMENT", "50257", lambda: house.call("DecodeStream", iter([wrong])), "ids")
    assert list(house.call("EncodeStream", iter([]))) == []


def test_ids_of_too_much_text_are_refused_and_the_longest_text_comes_back(house: House) -> None:
    longest = " x" * (1 << 18)
    ids = house.call("Encode", pb.EncodeRequest(vocabulary="124M", text=longest)).ids

    assert len(house.call("Decode", pb.DecodeRequest(vocabulary="124M", ids=ids)).text) == 1 << 19
    many = pb.DecodeRequest(vocabulary="124M", ids=[30210] * 1_200_000)  # 16 dashes or more each
    assert_refused("INVALID_ARGUMENT", "send them in parts", lambda: house.call("Decode", many), "ids")


def test_a_corpus_is_counted_as_its_dataset_holds_it(house: House) -> None:
    request = pb.CountCorpusTokensRequest(vocabulary="124M")
    counted = house.call("CountCorpusTokens", request)
    done = house.finish(house.call("BuildDataset", pb.BuildDatasetRequest(vocabulary="124M")).dataset)
    dataset = Dataset.open(house.data / "datasets" / done.id)

    assert counted.num_documents == 12
    assert counted.num_tokens == done.num_tokens
    assert counted.num_bytes == int(dataset.documents["num_bytes"].sum())
    house.corpus.damaged = True  # what is known is not read again
    assert house.call("CountCorpusTokens", request) == counted
    house.stop()
    house.start()
    assert house.call("CountCorpusTokens", request) == counted  # from the dataset
    assert_refused(
        "NOT_FOUND",
        "'x'",
        lambda: house.call("CountCorpusTokens", pb.CountCorpusTokensRequest(corpus="x", vocabulary="124M")),
    )
    assert_refused(
        "NOT_FOUND", "'nope'", lambda: house.call("CountCorpusTokens", pb.CountCorpusTokensRequest(vocabulary="nope"))
    )


def exported(house: House, dataset: str, form: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    messages = list(house.call("ExportDataset", pb.ExportDatasetRequest(dataset=dataset, format=form)))
    for message in messages[:-1]:
        if message.WhichOneof("message") == "file":
            name = message.file.name
            files[name] = b""
        else:
            assert len(message.chunk) <= 1 << 20
            files[name] += message.chunk
    assert messages[-1].done.num_documents == 12
    return files


def imported(house: House, header: pb.ImportHeader, files: dict[str, bytes], splits: dict[str, int]) -> Any:
    def requests() -> Iterator[pb.ImportDatasetRequest]:
        yield pb.ImportDatasetRequest(header=header)
        for name, content in files.items():
            yield pb.ImportDatasetRequest(file=pb.ImportFile(name=name, split=splits.get(name, 0)))
            for start in range(0, len(content), 500):
                yield pb.ImportDatasetRequest(chunk=content[start : start + 500])
        yield pb.ImportDatasetRequest(end=pb.ImportEnd())

    return house.call("ImportDataset", requests())


@pytest.mark.parametrize(
    "form",
    [
        pb.DATASET_FORMAT_NPZ,
        pb.DATASET_FORMAT_BIN,
        pb.DATASET_FORMAT_JSONL,
        pb.DATASET_FORMAT_TXT,
        pb.DATASET_FORMAT_CSV,
    ],
)
def test_a_dataset_goes_out_and_comes_back_over_the_wire(house: House, form: int) -> None:
    done = house.finish(house.build())
    files = exported(house, done.id, form)
    splits = {name: 1 if name.startswith("train") else 2 for name in files if name.startswith(("train", "val."))}

    content = {name: content for name, content in files.items() if name not in ("encoder.json", "vocab.bpe")}
    back = imported(house, pb.ImportHeader(format=form, vocabulary=done.vocabulary), content, splits)

    assert back.num_empty_documents == 0
    assert back.dataset.corpus == "imported"
    assert back.dataset.state == pb.DATASET_STATE_SUCCEEDED
    for name in ("num_documents", "num_tokens", "num_train_tokens", "vocabulary_digest", "header_format"):
        assert getattr(back.dataset, name) == getattr(done, name)
    assert not list((house.data / "datasets").glob(".partial*"))


def test_a_wrong_export_or_import_is_refused_and_leaves_nothing(house: House) -> None:
    bin_format = pb.DATASET_FORMAT_BIN
    chunk = pb.ImportDatasetRequest(chunk=b"\x01\x00")
    named = pb.ImportDatasetRequest(file=pb.ImportFile(name="a.bin"))

    def send(*requests: pb.ImportDatasetRequest) -> Callable[[], Any]:
        return lambda: house.call("ImportDataset", iter(requests))

    def first(**values: Any) -> pb.ImportDatasetRequest:
        return pb.ImportDatasetRequest(header=pb.ImportHeader(**{"format": bin_format, "vocabulary": "124M", **values}))

    assert_refused("INVALID_ARGUMENT", "first message", send(), "header")
    assert_refused("INVALID_ARGUMENT", "first message", send(named), "header")
    end = pb.ImportDatasetRequest(end=pb.ImportEnd())
    assert_refused("INVALID_ARGUMENT", "no file came", send(first(), end), "file")
    assert_refused("INVALID_ARGUMENT", "broke off", send(first(), named, chunk), "end")
    assert_refused("INVALID_ARGUMENT", "after the header", send(first(), chunk), "chunk")
    assert_refused("INVALID_ARGUMENT", "after the header", send(first(), first()), "header")
    assert_refused("INVALID_ARGUMENT", "which format", send(first(format=0)), "header.format")
    assert_refused(
        "INVALID_ARGUMENT", "which vocabulary", send(pb.ImportDatasetRequest(header=pb.ImportHeader(format=2)))
    )
    assert_refused("INVALID_ARGUMENT", "'../x'", send(first(corpus="../x")), "header.corpus")
    assert_refused("INVALID_ARGUMENT", "is 2:", send(first(validation_fraction=2)), "validation_fraction")
    assert_refused("NOT_FOUND", "'nope'", send(first(vocabulary="nope")))
    too_long = pb.ImportDatasetRequest(chunk=b"x" * ((1 << 20) + 1))
    assert_refused("INVALID_ARGUMENT", "at most 1048576", send(first(), named, too_long), "chunk")
    bad_name = pb.ImportDatasetRequest(file=pb.ImportFile(name="a\nb"))
    assert_refused("INVALID_ARGUMENT", "not a file's name", send(first(), bad_name), "file.name")
    bad_ids = pb.ImportDatasetRequest(chunk=b"\xff\xff")
    assert_refused("INVALID_ARGUMENT", "a.bin holds id 65535", send(first(), named, bad_ids, end), "chunk")
    assert_refused(
        "NOT_FOUND", "'nope'", lambda: house.call("ExportDataset", pb.ExportDatasetRequest(dataset="nope", format=2))
    )
    assert_refused(
        "INVALID_ARGUMENT", "which format", lambda: house.call("ExportDataset", pb.ExportDatasetRequest(dataset="nope"))
    )
    assert not [path for path in (house.data / "datasets").iterdir() if path.name != ".builds"]


def test_an_import_above_the_limit_is_refused(house: House) -> None:
    object.__setattr__(house.servicer._settings, "max_import_bytes", 1000)
    header = pb.ImportHeader(format=pb.DATASET_FORMAT_BIN, vocabulary="124M")

    assert_refused("RESOURCE_EXHAUSTED", "1,000 bytes", lambda: imported(house, header, {"a.bin": b"\0" * 1002}, {}))


def test_a_vocabulary_is_trained_listed_used_and_deleted(house: House) -> None:
    vocabulary = house.call("TrainVocabulary", pb.TrainVocabularyRequest(size=280)).vocabulary
    again = house.call("TrainVocabulary", pb.TrainVocabularyRequest(size=280, snapshot=DIGEST)).vocabulary
    listed = house.call("ListVocabularies", pb.ListVocabulariesRequest()).vocabularies

    assert again == vocabulary
    assert vocabulary.id.startswith("default-280-")
    assert (vocabulary.size, vocabulary.end_of_text_id, vocabulary.from_base) == (280, 279, False)
    assert vocabulary.bytes_per_token > 1.5
    assert [entry.id for entry in listed] == ["124M", vocabulary.id]
    assert listed[0].from_base
    ids = house.call("Encode", pb.EncodeRequest(vocabulary=vocabulary.id, text="Post about tea")).ids
    assert house.call("Decode", pb.DecodeRequest(vocabulary=vocabulary.id, ids=ids)).text == "Post about tea"

    house.call("DeleteVocabulary", pb.DeleteVocabularyRequest(vocabulary=vocabulary.id))

    assert_refused("NOT_FOUND", vocabulary.id, lambda: house.call("Encode", pb.EncodeRequest(vocabulary=vocabulary.id)))


def test_a_corpus_too_small_for_the_size_gives_the_size_it_reaches(house: House) -> None:
    vocabulary = house.call("TrainVocabulary", pb.TrainVocabularyRequest(size=5000)).vocabulary

    assert 257 < vocabulary.size < 1000
    assert vocabulary.end_of_text_id == vocabulary.size - 1


def test_a_dataset_is_built_watched_and_opened(house: House) -> None:
    started = house.build()
    states = list(house.call("WatchDataset", pb.WatchDatasetRequest(dataset=started.id)))
    done = states[-1]
    dataset = Dataset.open(house.data / "datasets" / started.id)

    assert done.state == pb.DATASET_STATE_SUCCEEDED
    assert (done.num_documents, done.num_documents_done, done.vocabulary_size) == (12, 12, 300)
    assert done.num_train_tokens + done.num_validation_tokens == done.num_tokens == len(dataset.tokens)
    assert (done.corpus, done.snapshot) == ("default", DIGEST)
    assert done.created_at == started.created_at
    assert done.vocabulary.startswith("default-300-")
    dataset.verify()
    first = dataset.tokens[: dataset.documents["end"][0] - 1].tolist()
    assert dataset.end_of_text_id not in first
    assert Codec(dataset.vocabulary()).decode(first) == (
        "title: On tea 0\n\nPost 0 is about tea, and about rain. <|endoftext|>\n"
    )


def test_the_same_inputs_give_the_dataset_that_is_there(house: House) -> None:
    done = house.finish(house.build())

    assert house.build(snapshot=DIGEST) == done
    assert house.build(header=False).id != done.id
    assert house.build(validation_fraction=0.5).id != done.id


def test_a_dataset_with_a_base_models_vocabulary_names_it(house: House) -> None:
    request = pb.BuildDatasetRequest(vocabulary="124M", header=False)
    done = house.finish(house.call("BuildDataset", request).dataset)

    assert (done.vocabulary, done.vocabulary_size) == ("124M", 50257)
    digest = hashlib.sha256(
        (gpt2_folder() / "encoder.json").read_bytes() + b"\0" + (gpt2_folder() / "vocab.bpe").read_bytes()
    )
    assert done.vocabulary_digest == digest.hexdigest()


def test_a_dataset_under_way_is_returned_queued_and_refuses_to_be_deleted(house: House) -> None:
    house.corpus.gate.clear()
    first = house.build()
    wait_for(lambda: house.state(first) == pb.DATASET_STATE_RUNNING)
    second = house.build(own_vocabulary_size=301)

    assert house.build().id == first.id
    assert house.state(second) == pb.DATASET_STATE_PENDING
    delete = pb.DeleteDatasetRequest(dataset=first.id)
    assert_refused("FAILED_PRECONDITION", "cancel it first", lambda: house.call("DeleteDataset", delete))
    house.corpus.gate.set()
    assert house.finish(second).state == house.finish(first).state == pb.DATASET_STATE_SUCCEEDED


def test_a_build_can_be_cancelled_and_asked_for_again(house: House) -> None:
    house.corpus.gate.clear()
    started = house.build()
    wait_for(lambda: house.state(started) == pb.DATASET_STATE_RUNNING)

    house.call("CancelDataset", pb.CancelDatasetRequest(dataset=started.id))
    house.corpus.gate.set()
    cancelled = house.finish(started)

    assert cancelled.state == pb.DATASET_STATE_CANCELLED
    assert house.finish(house.build()).state == pb.DATASET_STATE_SUCCEEDED
    cancel = pb.CancelDatasetRequest(dataset=started.id)
    assert_refused("FAILED_PRECONDITION", "complete", lambda: house.call("CancelDataset", cancel))


def test_a_build_that_fails_says_why_and_can_be_asked_for_again(house: House) -> None:
    house.corpus.damaged = True
    failed = house.finish(house.build())

    assert failed.state == pb.DATASET_STATE_FAILED
    assert "post 03.md is damaged" in failed.error
    assert not (house.data / "datasets" / failed.id).exists()
    house.corpus.damaged = False
    assert house.finish(house.build()).state == pb.DATASET_STATE_SUCCEEDED


def test_a_failed_build_can_be_deleted(house: House) -> None:
    house.corpus.damaged = True
    failed = house.finish(house.build())

    house.call("DeleteDataset", pb.DeleteDatasetRequest(dataset=failed.id))

    assert house.call("ListDatasets", pb.ListDatasetsRequest()).datasets == []


def test_an_interrupted_build_goes_on_when_the_service_is_back(house: House) -> None:
    house.corpus.gate.clear()
    started = house.build()
    wait_for(lambda: house.state(started) == pb.DATASET_STATE_RUNNING)
    watch = house.stub.WatchDataset(pb.WatchDatasetRequest(dataset=started.id), timeout=PATIENCE_S)
    next(watch)
    house.servicer.drain()
    assert_refused("UNAVAILABLE", "stopping", lambda: list(watch))
    house.corpus.gate.set()
    house.stop()
    house.start()

    assert house.finish(started).state == pb.DATASET_STATE_SUCCEEDED


def test_datasets_are_listed_newest_first_in_pages_and_deleted(house: House) -> None:
    built = [house.finish(house.build(own_vocabulary_size=size)) for size in (300, 301, 302)]

    page = house.call("ListDatasets", pb.ListDatasetsRequest(page_size=2))
    rest = house.call("ListDatasets", pb.ListDatasetsRequest(page_size=2, page_token=page.next_page_token))

    assert [*page.datasets, *rest.datasets] == built[::-1], MessageToDict(page)
    assert rest.next_page_token == ""
    house.call("DeleteDataset", pb.DeleteDatasetRequest(dataset=built[0].id))
    assert house.call("ListDatasets", pb.ListDatasetsRequest()).datasets == built[:0:-1]
    assert not (house.data / "datasets" / built[0].id).exists()


def test_a_corpus_service_that_is_away_is_unavailable(tmp_path: Path) -> None:
    house = House(tmp_path, FakeCorpus(), "127.0.0.1:1")
    house.start()

    assert_refused("UNAVAILABLE", "the corpus service at 127.0.0.1:1 does not answer", house.build)
    house.stop()


def command(house: House, *arguments: str, status: int = 0) -> str:
    address = f"127.0.0.1:{house.server.port}"
    result = CliRunner().invoke(root, list(arguments), env={"NONESUCH_TOKENIZER_ADDRESS": address})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.output


@pytest.mark.parametrize("form", ["npz", "bin", "jsonl", "txt", "csv"])
def test_the_command_takes_a_dataset_out_and_brings_it_in(house: House, tmp_path: Path, form: str) -> None:
    done = house.finish(house.build())
    folder = str(tmp_path / "out")

    said = command(house, "dataset", "export", done.id, "--format", form, "--to", folder)
    vocabulary = [] if form in ("npz", "bin") else ["--vocabulary", done.vocabulary]
    back = json.loads(command(house, "dataset", "import", folder, *vocabulary, "--corpus", "back", "--json"))

    assert "12 documents" in said
    assert (back["corpus"], int(back["num_tokens"])) == ("back", done.num_tokens)
    assert int(back["num_train_tokens"]) == done.num_train_tokens
    assert "exists" in command(house, "dataset", "export", done.id, "--format", form, "--to", folder, status=1)


def test_the_command_says_what_an_import_lacks(house: House, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x01\x00")
    (tmp_path / "notes.doc").write_bytes(b"")

    assert "say --vocabulary" in command(house, "dataset", "import", str(tmp_path / "a.bin"), status=2)
    assert "say --format" in command(house, "dataset", "import", str(tmp_path / "notes.doc"), status=1)
    assert "no file of a format" in command(house, "dataset", "import", str(tmp_path / "base"), status=1)
    assert "say --format" in command(house, "dataset", "export", "x", status=2)


def test_the_command_trains_lists_and_deletes_vocabularies(house: House) -> None:
    made = json.loads(command(house, "vocabulary", "train", "--size", "280", "--json"))
    listed = command(house, "vocabulary", "list")

    assert made["id"] in listed
    assert f"{made['bytes_per_token']:.2f}" in listed
    assert "124M" in listed
    command(house, "vocabulary", "delete", made["id"], "--yes")
    assert made["id"] not in command(house, "vocabulary", "list")

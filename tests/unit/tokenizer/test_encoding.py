"""Encoding over processes: the ids, their order, and what happens when a process dies or the caller has enough."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import Busy, Cancelled, InvalidRequest
from services.tokenizer import encoding
from services.tokenizer.child import Child
from services.tokenizer.documents import Document, text_for_model
from services.tokenizer.encoding import encode_documents
from services.tokenizer.encoding_process import Refused, answer, pack_refusal, pack_texts, unpack_ids, unpack_texts
from services.tokens.codec import Codec
from services.tokens.dataset import token_type
from services.tokens.dataset_writer import EncodedDocument
from services.tokens.vocabulary import Vocabulary
from tests.gpt2_files import gpt2_folder
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(Vocabulary.load(gpt2_folder()))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The children that were started, as they start."""
    children: list[Child] = []

    class Watched(Child):
        def __init__(self, *arguments: str) -> None:
            super().__init__(*arguments)
            children.append(self)

    monkeypatch.setattr(encoding, "Child", Watched)
    monkeypatch.setattr(encoding, "BATCH_BYTES", 2000)
    return children


def documents(count: int) -> Iterator[Document]:
    for n in range(count):
        text = f"Post {n}\u00a0is about “tea”. <|endoftext|>\n\n" * (n % 7 + 1)
        yield Document(f"blog/{n:03}", f"{n:03}.md", f"On tea {n}", ("tea",), "2024-01-02", text, n % 2)


def encode(codec: Codec, found: Iterator[Document], progress: encoding.Progress = lambda done: None):
    return encode_documents(
        found,
        codec=codec,
        vocabulary_folder=gpt2_folder(),
        header_format="header-v1",
        num_processes=2,
        progress=progress,
    )


def assert_same(codec: Codec, found: list[EncodedDocument], count: int) -> None:
    assert len(found) == count
    for document, encoded in zip(documents(count), found, strict=True):
        text = text_for_model(document, "header-v1")
        assert list(encoded.ids) == codec.encode(text)
        assert encoded.num_bytes == len(text.encode())
        assert (encoded.id, encoded.path, encoded.title) == (document.id, document.path, document.title)
        assert encoded.split == document.split


@pytest.mark.parametrize("count", [0, 1, 5, 400])
def test_documents_come_back_in_order_with_their_ids(codec: Codec, started: list[Child], count: int) -> None:
    assert_same(codec, list(encode(codec, documents(count))), count)
    assert len(started) == (2 if count == 400 else 0)


def test_no_process_outlives_the_work(codec: Codec, started: list[Child]) -> None:
    list(encode(codec, documents(200)))

    assert started
    for child in started:
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)


def test_a_process_that_is_killed_is_replaced_and_nothing_is_lost(codec: Codec, started: list[Child]) -> None:
    found = []
    for number, document in enumerate(encode(codec, documents(400))):
        if number == 50:
            os.kill(started[0].pid, signal.SIGKILL)
        found.append(document)

    assert_same(codec, found, 400)
    assert len(started) >= 3


def test_a_batch_that_ends_two_processes_ends_the_work(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "BATCH_BYTES", 2000)
    monkeypatch.setattr(encoding, "_MODULE", "services.tokenizer.no_such_module")

    with pytest.raises(Busy, match=r"two processes in a row ended .* 000\.md to"):
        list(encode(codec, documents(400)))


def test_cancelling_is_prompt_though_every_process_hangs(
    codec: Codec, started: list[Child], caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[float] = []

    def progress(done: int) -> None:
        if done == 20 and not begun:
            for child in started:
                os.kill(child.pid, signal.SIGSTOP)
            begun.append(time.monotonic())
        elif begun and time.monotonic() - begun[0] > 0.3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        list(encode(codec, documents(4000), progress))

    assert time.monotonic() - begun[0] < PATIENCE_S  # they hang for ever
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encode")]
    assert "started again" not in caplog.text


def test_a_reader_that_leaves_ends_the_processes(codec: Codec, started: list[Child]) -> None:
    found = encode(codec, documents(400))
    next(found)
    found.close()

    for child in started:
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)


def test_texts_and_ids_survive_the_wire(codec: Codec) -> None:
    texts = ["", "a", "日本 " * 100, " " * 1000, "\U0010ffff"]

    assert unpack_texts(pack_texts([text.encode() for text in texts])) == texts
    found = unpack_ids(answer(codec, pack_texts([text.encode() for text in texts])), token_type(50257))
    assert [ids.tolist() for ids in found] == [codec.encode(text) for text in texts]


def test_a_text_that_cannot_be_encoded_is_named(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(texts: object) -> None:
        raise InvalidRequest("no")

    monkeypatch.setattr(codec, "encode_all", refuse)
    monkeypatch.setattr(codec, "encode_array", refuse)
    message = answer(codec, pack_texts([b"a", b"b"]))

    assert message == pack_refusal(0, "no")
    with pytest.raises(Refused, match="no") as refusal:
        unpack_ids(message, token_type(50257))
    assert refusal.value.number == 0
    with pytest.raises(InvalidRequest, match=r"000\.md: no"):
        list(encode(codec, documents(3)))


def test_a_child_says_how_it_ended(tmp_path: Path) -> None:
    child = Child("services.tokenizer.encoding_process", str(gpt2_folder()))
    os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(encoding.ChildEnded, match="signal 9"):
        child.send(pack_texts([b"x"]))
        child.receive()
    child.close()
    child.close()

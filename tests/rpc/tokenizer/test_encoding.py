"""Text to ids and back, whole and in streams, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protos import tokenizer_pb2 as pb
from tests.rpc.tokenizer.serving import House, assert_refused
from tests.waiting import PATIENCE_S


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

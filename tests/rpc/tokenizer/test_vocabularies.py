"""Vocabularies: trained, listed, used, deleted."""

from __future__ import annotations

import json

from protos import tokenizer_pb2 as pb
from tests.rpc.tokenizer.serving import DIGEST, House, assert_refused, command


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


def test_the_command_trains_lists_and_deletes_vocabularies(house: House) -> None:
    made = json.loads(command(house, "vocabulary", "train", "--size", "280", "--json"))
    listed = command(house, "vocabulary", "list")

    assert made["id"] in listed
    assert f"{made['bytes_per_token']:.2f}" in listed
    assert "124M" in listed
    command(house, "vocabulary", "delete", made["id"], "--yes")
    assert made["id"] not in command(house, "vocabulary", "list")

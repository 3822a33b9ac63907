"""Datasets: built, watched, cancelled, carried on, counted, listed, deleted."""

from __future__ import annotations

import hashlib
from pathlib import Path

from google.protobuf.json_format import MessageToDict

from protos import tokenizer_pb2 as pb
from services.blog.style import Style, read_style
from services.common.files import read_json
from services.tokens.codec import Codec
from services.tokens.dataset import STYLE_FILE, Dataset
from tests.gpt2_files import gpt2_folder
from tests.rpc.tokenizer.serving import DIGEST, FakeCorpus, House, assert_refused
from tests.waiting import PATIENCE_S, wait_for


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
    assert read_style(read_json(dataset.folder / STYLE_FILE)) == Style("toml", (), "%Y/{slug}.md")
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

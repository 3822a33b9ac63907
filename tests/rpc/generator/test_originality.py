"""What a model learned, asked over the wire: how much of a text stands there, and texts in which little does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from protos import generator_pb2 as pb
from tests.rpc.generator.serving import CREATIVE, Service, publish, refused
from tests.unit.tokens.brute_force import runs

CAREFUL = pb.SamplingParameters(temperature=0.7, top_k=5)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What the model writes, which is what it learned."""
    folder = tmp_path_factory.mktemp("before") / "models"
    publish(folder, "owl", 1)
    service = Service(folder)
    samples = service.generate(n=4, sampling=CAREFUL, seed=3, ignore_end_of_text=True).samples
    service.stop()
    return [bytes(sample.ids) for sample in samples]


@pytest.fixture(scope="module")
def reciter(tmp_path_factory: pytest.TempPathFactory, learned: list[bytes]) -> Iterator[Service]:
    """A generator whose model recites what it learned."""
    folder = tmp_path_factory.mktemp("generator") / "models"
    publish(folder, "owl", 1, corpus=learned)
    service = Service(folder)
    yield service
    service.stop()


def test_a_recited_sample_is_told_with_the_post_it_comes_from(reciter: Service, learned: list[bytes]) -> None:
    (sample,) = reciter.generate(sampling=CAREFUL, seed=3, ignore_end_of_text=True, originality=True).samples

    assert bytes(sample.ids) == learned[0]
    told = sample.originality
    assert told.min_run_tokens == 12
    if sample.text.encode() == bytes(sample.ids):  # else it holds what is no text
        (run,) = told.runs
        assert told.verbatim_share == 1.0
        assert (run.start, run.end, run.num_tokens) == (0, len(sample.text), told.longest_run_tokens)
        assert (run.post, run.title, run.post_start) == ("blog/0.md", "Post 0", 0) and told.nearest_post == run.post
        assert run.excerpt[run.excerpt_start : run.excerpt_end] == sample.text


def test_the_prompt_is_nothing_that_was_borrowed(reciter: Service, learned: list[bytes]) -> None:
    prompt = bytes(learned[1]).decode("utf-8", "ignore")[:40]
    (sample,) = reciter.generate(
        prompt=prompt, echo=True, sampling=CREATIVE, seed=5, max_new_tokens=6, originality=True
    ).samples

    assert sample.text.startswith(prompt)
    assert sample.originality.longest_run_tokens <= 18  # six tokens, each perhaps U+FFFD
    assert not sample.originality.runs or sample.originality.runs[-1].end <= len(sample.text) - len(prompt)


def test_a_stream_tells_at_each_samples_end_what_generate_tells(reciter: Service) -> None:
    asked = {"sampling": CAREFUL, "seed": 3, "n": 2, "originality": True, "ignore_end_of_text": True}
    whole = reciter.generate(**asked)
    ends = {delta.end.index: delta.end for delta in reciter.stream(**asked) if delta.HasField("end")}

    assert [ends[sample.index].originality for sample in whole.samples] == [s.originality for s in whole.samples]


def test_nothing_is_told_unasked(reciter: Service) -> None:
    assert not reciter.generate(max_new_tokens=3).samples[0].HasField("originality")


@pytest.mark.parametrize("most", [1, 3, 12])
def test_no_sample_holds_a_longer_run_than_asked_for(reciter: Service, learned: list[bytes], most: int) -> None:
    documents = [list(post) for post in learned]
    answer = reciter.generate(
        n=4, sampling=CAREFUL, seed=3, ignore_end_of_text=True, max_verbatim_tokens=most, originality=True
    )
    for sample in answer.samples:
        assert len(sample.ids) > 20
        longest = max(length for _, length in runs(documents, list(sample.text.encode())))
        assert longest == sample.originality.longest_run_tokens <= most


@pytest.mark.parametrize("asked", [{"max_verbatim_tokens": 5}, {"originality": True}], ids=str)
def test_a_model_without_an_index_says_so(service: Service, asked: dict[str, object]) -> None:
    for call in (lambda: service.generate(**asked), lambda: list(service.stream(**asked))):
        code, message, details = refused(call)

        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert "owl/1 carries no index" in message and "publish" in message
        assert any(isinstance(d, error_details_pb2.ErrorInfo) and d.reason == "NO_INDEX" for d in details)


def test_a_limit_below_one_is_refused(reciter: Service) -> None:
    code, message, _ = refused(lambda: reciter.generate(max_verbatim_tokens=0))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and message.startswith("max_verbatim_tokens is 0; expected 1 to ")


def test_a_damaged_index_is_named_and_the_version_does_not_serve(tmp_path: Path) -> None:
    version = publish(tmp_path / "models", "owl", 1, corpus=[b"owls"])
    (version / "index" / "suffixes.npy").write_bytes(b"")
    service = Service(tmp_path / "models")
    try:
        code, message, _ = refused(lambda: service.generate())
        assert code == grpc.StatusCode.DATA_LOSS and "suffixes.npy" in message
    finally:
        service.stop()

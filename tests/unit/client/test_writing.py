from __future__ import annotations

import pytest

from protos import generator_pb2
from services.client.writing import collect, make_request, parse_model, patiently
from services.common.errors import Busy, InvalidRequest, NotFound, Unavailable


def test_a_model_may_carry_a_version_or_an_alias():
    assert parse_model("") == ("", None, "")
    assert parse_model("run1") == ("run1", None, "")
    assert parse_model("run1@12") == ("run1", 12, "")
    assert parse_model("run1@latest") == ("run1", None, "latest")
    with pytest.raises(InvalidRequest, match="no version after the '@'"):
        parse_model("run1@")


def test_options_find_their_place_and_unset_ones_stay_unset():
    request = make_request("Once", model="m@2", temperature=0.0, n=3, slide=True, seed=None)

    assert request.sampling.HasField("temperature")
    assert (request.model, request.version, request.n, request.slide) == ("m", 2, 3, True)
    assert not request.HasField("seed")


def test_a_collected_stream_is_the_response_that_generate_would_give():
    def delta(**values):
        return generator_pb2.GenerateDelta(**values)

    told = []
    response = collect(
        iter(
            [
                delta(start={"model": {"name": "m", "version": 1}, "effective": {"max_new_tokens": 5, "n": 2}}),
                delta(text={"index": 1, "text": "b", "ids": [1, 2]}),
                delta(text={"index": 0, "text": "a", "ids": [3]}),
                delta(text={"index": 1, "text": "c", "ids": [4]}),
                delta(end={"index": 0, "finish_reason": "FINISH_REASON_STOP", "stop": "X"}),
                delta(end={"index": 1, "finish_reason": "FINISH_REASON_LENGTH"}),
                delta(done={"usage": {"prompt_tokens": 1, "generated_tokens": 4}}),
            ]
        ),
        lambda done, total: told.append((done, total)),
    )

    assert [(sample.index, sample.text, list(sample.ids)) for sample in response.samples] == [
        (0, "a", [3]),
        (1, "bc", [1, 2, 4]),
    ]
    assert response.samples[0].stop == "X"
    assert response.usage.generated_tokens == 4
    assert told == [(0, 10), (2, 10), (3, 10), (4, 10)]


def failing(*errors):
    left = list(errors)

    def attempt():
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def test_patience_waits_for_a_full_queue_and_a_loading_model():
    assert patiently(failing(Busy("full", retry_after_s=0.0), Unavailable("loading", retry_after_s=0.0)), 10) == "done"


def test_patience_ends():
    with pytest.raises(Busy):
        patiently(failing(Busy("full", retry_after_s=5.0)), 0.1)


def test_what_will_not_pass_by_itself_is_not_waited_for():
    with pytest.raises(Unavailable):
        patiently(failing(Unavailable("nobody there")), 10)
    with pytest.raises(NotFound):
        patiently(failing(NotFound("no model")), 10)


def test_a_model_that_is_about_to_be_published_is_waited_for():
    assert patiently(failing(NotFound("no model", retry_after_s=0.0)), 10, until_published=True) == "done"

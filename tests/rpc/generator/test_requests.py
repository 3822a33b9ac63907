"""Requests to one model through the stub: text, streams, scores, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from prometheus_client import REGISTRY

from protos import generator_pb2 as pb
from tests.rpc.generator.serving import CONFIG, CREATIVE, Service, publish, refused, text_of
from tests.unit.generator.fakes import END
from tests.waiting import PATIENCE_S, wait_for


def test_generate_says_everything_about_the_sample(service: Service) -> None:
    answer = service.generate(prompt="Owls", sampling=CREATIVE, max_new_tokens=20, ignore_end_of_text=True)

    (sample,) = answer.samples
    assert len(sample.ids) == 20
    assert bytes(sample.ids).decode("utf-8", "replace") == sample.text
    assert sample.finish_reason == pb.FINISH_REASON_LENGTH
    assert (answer.model.name, answer.model.version, answer.model.engine) == ("owl", 1, "litert")
    assert (answer.usage.prompt_tokens, answer.usage.generated_tokens) == (4, 20)
    assert answer.effective.sampling.temperature == 1.5
    assert answer.effective.sampling.HasField("top_p") and answer.effective.sampling.top_p == 1
    assert answer.effective.max_new_tokens == 20
    assert answer.timings.decode.ToNanoseconds() > 0


def test_unset_parameters_take_the_documented_defaults(service: Service) -> None:
    effective = service.generate().effective

    assert (effective.sampling.temperature, effective.sampling.top_k) == (1.0, 40)
    assert (effective.n, effective.best_of, effective.max_new_tokens) == (1, 1, 63)


def test_an_empty_prompt_begins_with_end_of_text(service: Service) -> None:
    empty = service.generate(seed=4, max_new_tokens=9)
    marked = service.generate(prompt_ids=[END], seed=4, max_new_tokens=9)

    assert empty.samples == marked.samples
    assert empty.usage.prompt_tokens == 1


def test_the_same_seed_gives_the_same_text_and_another_seed_another(service: Service) -> None:
    first = service.generate(prompt="a", sampling=CREATIVE, ignore_end_of_text=True)
    again = service.generate(prompt="a", sampling=CREATIVE, ignore_end_of_text=True, seed=first.effective.seed)
    other = service.generate(prompt="a", sampling=CREATIVE, ignore_end_of_text=True, seed=first.effective.seed + 1)

    assert first.samples[0].text == again.samples[0].text != other.samples[0].text


def test_a_stream_is_the_whole_sample_in_pieces(service: Service) -> None:
    fields = {"prompt": "b", "sampling": CREATIVE, "seed": 11, "n": 2, "logprobs": 1}

    whole = service.generate(**fields)
    deltas = list(service.stream(**fields))

    assert deltas[0].start.effective == whole.effective
    assert deltas[-1].done.usage == whole.usage
    for sample in whole.samples:
        texts = [delta.text for delta in deltas if delta.HasField("text") and delta.text.index == sample.index]
        assert "".join(text.text for text in texts) == sample.text
        assert [i for text in texts for i in text.ids] == list(sample.ids)
        assert [item.id for text in texts for item in text.logprobs] == list(sample.ids)
        (end,) = [delta.end for delta in deltas if delta.HasField("end") and delta.end.index == sample.index]
        assert end.finish_reason == sample.finish_reason


def test_echo_begins_with_the_prompt(service: Service) -> None:
    fields = {"prompt": "Owls wrote", "echo": True, "max_new_tokens": 5, "seed": 3}

    text = service.generate(**fields).samples[0].text

    assert text.startswith("Owls wrote")
    assert text_of(service.stream(**fields)) == text


def test_a_sample_slides_past_the_context(service: Service) -> None:
    fields = {"sampling": CREATIVE, "ignore_end_of_text": True, "max_new_tokens": 150}

    assert service.generate(**fields).samples[0].finish_reason == pb.FINISH_REASON_CONTEXT
    slid = service.generate(**fields, slide=True).samples[0]
    assert (len(slid.ids), slid.finish_reason) == (150, pb.FINISH_REASON_LENGTH)


def test_best_of_returns_the_likeliest_of_those_written(service: Service) -> None:
    fields = {
        "sampling": CREATIVE,
        "seed": 5,
        "max_new_tokens": 10,
        "ignore_end_of_text": True,
        "logprobs": 0,
    }

    def likelihood(sample: pb.GeneratedSample) -> float:
        return sum(item.logprob for item in sample.logprobs)

    every = service.generate(**fields, n=4).samples
    best = service.generate(**fields, n=2, best_of=4).samples

    assert list(best) == sorted(every, key=likelihood, reverse=True)[:2]


def test_streams_run_at_once_and_each_is_what_it_is_alone(service: Service) -> None:
    requests = [
        {"prompt": "x" * i, "sampling": CREATIVE, "seed": i, "max_new_tokens": 30, "ignore_end_of_text": True}
        for i in range(1, 7)
    ]
    alone = [service.generate(**fields).samples[0].text for fields in requests]
    together: dict[int, str] = {}

    def write(index: int) -> None:
        together[index] = text_of(service.stream(**requests[index]))

    threads = [threading.Thread(target=write, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert [together[index] for index in range(6)] == alone


@pytest.mark.parametrize(
    ("field", "request_fields"),
    [
        ("prompt", {"prompt": "x" * 64}),
        ("prompt", {"prompt": "x" * 100_000}),
        ("prompt", {"prompt_ids": [1] * 64}),
        ("prompt_ids", {"prompt": "x", "prompt_ids": [1]}),
        ("prompt_ids", {"prompt_ids": [257]}),
        ("sampling.temperature", {"sampling": pb.SamplingParameters(temperature=-1)}),
        ("sampling.top_p", {"sampling": pb.SamplingParameters(top_p=2)}),
        ("sampling.top_p", {"sampling": pb.SamplingParameters(top_p=0)}),
        ("sampling.logit_bias", {"sampling": pb.SamplingParameters(logit_bias={300: 1})}),
        ("max_new_tokens", {"max_new_tokens": 0}),
        ("max_new_tokens", {"max_new_tokens": 501}),
        ("n", {"n": 17}),
        ("best_of", {"n": 2, "best_of": 1}),
        ("stop", {"stop": [""]}),
        ("logprobs", {"logprobs": 21}),
    ],
)
def test_a_bad_value_is_refused_by_its_field(service: Service, field: str, request_fields: dict[str, Any]) -> None:
    for call in (lambda: service.generate(**request_fields), lambda: list(service.stream(**request_fields))):
        code, _, details = refused(call)

        assert code == grpc.StatusCode.INVALID_ARGUMENT
        (bad,) = [detail for detail in details if isinstance(detail, error_details_pb2.BadRequest)]
        assert [violation.field for violation in bad.field_violations] == [field]


def test_what_does_not_fit_in_one_answer_is_refused_at_once_and_streams(
    own_service: Callable[..., Service], tmp_path: Path
) -> None:
    publish(tmp_path / "models", "owl", 1)
    made = own_service()
    fields = {"n": 16, "slide": True, "ignore_end_of_text": True, "max_new_tokens": 4096, "logprobs": 20}

    code, message, details = refused(lambda: made.generate(**fields))

    assert code == grpc.StatusCode.INVALID_ARGUMENT and "GenerateStream" in message
    assert any(getattr(d, "field_violations", None) and d.field_violations[0].field == "logprobs" for d in details)
    assert made.info().num_running == 0
    stream = made.stream(**fields)
    assert next(stream).HasField("start")
    assert next(stream).text.logprobs
    stream.cancel()


@pytest.mark.parametrize(("field", "asked"), [("n", {"n": 6}), ("best_of", {"n": 1, "best_of": 6})], ids=str)
def test_more_samples_than_slots_and_queue_hold_are_refused_for_good(
    own_service: Callable[..., Service], tmp_path: Path, field: str, asked: dict[str, int]
) -> None:
    publish(tmp_path / "models", "owl", 1)
    made = own_service(slots=2, queue_limit=3)

    code, message, details = refused(lambda: made.generate(**asked, max_new_tokens=1))

    assert code == grpc.StatusCode.INVALID_ARGUMENT and message == f"{field} is 6; expected 1 to 5"
    assert any(getattr(d, "field_violations", None) and d.field_violations[0].field == field for d in details)
    assert len(made.generate(n=5, max_new_tokens=1).samples) == 5


def test_best_of_does_not_stream(service: Service) -> None:
    code, _, details = refused(lambda: list(service.stream(n=1, best_of=2)))

    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert any(getattr(d, "field_violations", None) and d.field_violations[0].field == "best_of" for d in details)


def test_an_unknown_model_is_named(service: Service) -> None:
    code, message, _ = refused(lambda: service.generate(model="emu"))
    assert code == grpc.StatusCode.NOT_FOUND and "'emu'" in message

    code, message, _ = refused(lambda: service.generate(model="owl", alias="newest"))
    assert code == grpc.StatusCode.NOT_FOUND and "alias 'newest'" in message

    code, message, _ = refused(lambda: service.generate(model="owl", version=7))
    assert code == grpc.StatusCode.NOT_FOUND and "version 7" in message


def test_a_score_is_the_sum_of_what_generate_says_of_its_tokens(service: Service) -> None:
    ascii_only = pb.SamplingParameters(logit_bias={byte: -100 for byte in range(128, 256)})
    written = service.generate(seed=2, max_new_tokens=12, logprobs=0, ignore_end_of_text=True, sampling=ascii_only)
    (sample,) = written.samples

    score = service.stub.Score(pb.ScoreRequest(text=sample.text, per_token=True), timeout=PATIENCE_S)

    assert [token.id for token in score.tokens] == list(sample.ids)
    expected = [item.logprob for item in sample.logprobs]
    assert [token.logprob for token in score.tokens] == pytest.approx(expected, abs=1e-4)
    assert score.log_likelihood == pytest.approx(sum(expected), abs=1e-3)
    assert score.perplexity == pytest.approx(np.exp(-score.log_likelihood / score.num_tokens))
    assert score.bits_per_byte == pytest.approx(-score.log_likelihood / np.log(2) / len(sample.text.encode()))


def test_a_text_that_cannot_be_scored_is_refused(service: Service) -> None:
    for text in ("", "x" * 65):
        code, _, details = refused(lambda text=text: service.stub.Score(pb.ScoreRequest(text=text), timeout=PATIENCE_S))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert any(getattr(d, "field_violations", None) and d.field_violations[0].field == "text" for d in details)
    assert service.stub.Score(pb.ScoreRequest(text="x" * 64), timeout=PATIENCE_S).num_tokens == 64


def test_server_info_shows_limits_and_what_is_loaded(service: Service) -> None:
    info = service.info()

    assert (info.num_slots, info.queue_limit, info.max_samples, info.max_new_tokens) == (4, 32, 16, 500)
    (model,) = info.models
    assert (model.name, model.engine, model.context, model.vocabulary_size) == ("owl", "litert", 64, 257)
    assert model.num_parameters == CONFIG.num_parameters
    assert info.server_version


def test_a_request_is_counted_in_the_queue_in_its_steps_and_when_it_is_given_up(service: Service) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"nonesuch_generator_{name}", {"model": "owl"} | labels) or 0.0

    names = ("queue_seconds_count", "token_seconds_count", "batch_sum")
    before = [value(name) for name in names]
    cancelled = value("cancelled_total", reason="caller")

    service.generate(prompt="Owl", max_new_tokens=7, ignore_end_of_text=True, n=2)

    # The second sample may join a step later than the first.
    queued, steps, computed = (value(name) - was for name, was in zip(names, before, strict=True))
    assert queued == 1
    assert 7 <= steps <= 8
    assert computed == 14
    stream = service.stream(slide=True, ignore_end_of_text=True, max_new_tokens=500)
    next(stream)
    stream.cancel()
    wait_for(lambda: value("cancelled_total", reason="caller") == cancelled + 1, "the cancelled sample is counted")


def test_tokens_and_the_time_to_the_first_are_counted(service: Service) -> None:
    def value(name: str) -> float:
        return REGISTRY.get_sample_value(f"nonesuch_generator_{name}", {"model": "owl"}) or 0.0

    names = ("tokens_total", "prompt_tokens_total", "first_token_seconds_count")
    before = [value(name) for name in names]

    service.generate(prompt="Owl", max_new_tokens=7, ignore_end_of_text=True)

    assert [value(name) - was for name, was in zip(names, before, strict=True)] == [7, 3, 1]
    # What runs is counted between two steps: a moment after the last word has been sent.
    wait_for(lambda: (value("running"), value("queue")) == (0, 0), "nothing runs any more")

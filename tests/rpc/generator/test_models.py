"""Models that come, change and go while requests run: slots, queue, versions, health."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos import generator_pb2 as pb
from services.common.health import is_serving
from services.gpt2.config import GPT2Config
from tests.rpc.generator.serving import Service, publish, refused
from tests.waiting import PATIENCE_S, wait_for


def test_a_cancelled_stream_frees_its_slot(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=1, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    endless = made.stream(slide=True, ignore_end_of_text=True, max_new_tokens=1_000_000)
    for _ in range(5):
        next(endless)
    assert made.info().num_running == 1

    endless.cancel()

    assert made.generate(max_new_tokens=3, ignore_end_of_text=True).usage.generated_tokens == 3
    assert made.info().num_running == 0


def test_a_request_past_its_deadline_frees_its_slot(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=1, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    made.generate(max_new_tokens=1)
    endless = pb.GenerateRequest(slide=True, ignore_end_of_text=True, max_new_tokens=1_000_000)

    code, _, _ = refused(lambda: made.stub.Generate(endless, timeout=0.3))

    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for(lambda: made.info().num_running == 0)


def test_a_full_queue_says_when_to_try_again(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=1, queue_limit=1, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    endless = {"slide": True, "ignore_end_of_text": True, "max_new_tokens": 1_000_000}
    running, waiting = made.stream(**endless), made.stream(**endless)
    next(running), next(waiting)
    wait_for(lambda: (made.info().num_running, made.info().num_queued) == (1, 1))

    code, message, details = refused(lambda: made.generate())

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "queue is full" in message
    assert any(isinstance(detail, error_details_pb2.RetryInfo) for detail in details)
    running.cancel(), waiting.cancel()


def test_a_new_version_is_picked_up_and_running_requests_finish_on_the_old(
    own_service: Callable[..., Service],
) -> None:
    made = own_service(max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    old = made.stream(slide=True, ignore_end_of_text=True, max_new_tokens=1_000_000)
    assert next(old).start.model.version == 1

    publish(made.folder, "owl", 2)
    wait_for(lambda: made.generate(max_new_tokens=1).model.version == 2)

    assert made.states() == {2: "SERVING", 1: "DRAINING"}
    assert next(old).WhichOneof("delta") == "text"
    old.cancel()
    wait_for(lambda: made.states() == {2: "SERVING", 1: "AVAILABLE"})
    assert made.generate(version=1, max_new_tokens=1).model.version == 1
    assert made.generate(alias="latest", max_new_tokens=1).model.version == 2


def test_a_corrupt_version_changes_nothing_and_is_reported(own_service: Callable[..., Service]) -> None:
    made = own_service()
    publish(made.folder, "owl", 1)
    made.generate(max_new_tokens=1)

    sound = publish(made.folder.parent / "elsewhere", "owl", 2)
    data = next(sound.glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:-100])
    shutil.copytree(sound, made.folder / "owl" / ".partial-2")
    (made.folder / "owl" / ".partial-2").rename(made.folder / "owl" / "2")
    wait_for(lambda: made.states().get(2) == "FAILED")

    assert made.generate(max_new_tokens=1).model.version == 1
    code, message, _ = refused(lambda: made.generate(version=2))
    assert code == grpc.StatusCode.DATA_LOSS
    assert data.name in message
    newest = made.stub.ListModels(pb.ListModelsRequest(page_size=1), timeout=PATIENCE_S)
    assert data.name in newest.models[0].error
    assert newest.next_page_token


def test_a_vocabulary_that_is_not_the_models_is_refused(own_service: Callable[..., Service]) -> None:
    made = own_service()
    publish(made.folder, "owl", 1, config=GPT2Config(n_vocab=300, n_ctx=64, n_embd=8, n_head=2, n_layer=2))

    code, message, _ = refused(lambda: made.generate())

    assert code == grpc.StatusCode.DATA_LOSS
    assert "300" in message and "257" in message


def test_without_a_model_the_server_serves_and_says_what_to_do(own_service: Callable[..., Service]) -> None:
    made = own_service()
    health = health_pb2_grpc.HealthStub(made.channel)

    assert (
        health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S).status
        == health_pb2.HealthCheckResponse.SERVING
    )
    code, message, details = refused(lambda: made.generate())
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "publish" in message
    assert any(isinstance(detail, error_details_pb2.RetryInfo) for detail in details)

    publish(made.folder, "owl", 1)
    assert made.generate(max_new_tokens=1).model.name == "owl"
    address = f"127.0.0.1:{made.server.port}"
    # The request has its model a moment before the health service is told of it.
    wait_for(lambda: is_serving(address, "models/owl", PATIENCE_S), "the model is healthy")


def test_models_are_listed_in_pages(own_service: Callable[..., Service]) -> None:
    made = own_service()
    for name, version in (("emu", 1), ("owl", 1), ("owl", 2)):
        publish(made.folder, name, version)
    wait_for(lambda: len(made.stub.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models) == 3)

    found, token = [], ""
    while True:
        page = made.stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=token), timeout=PATIENCE_S)
        found += [(model.name, model.version, model.run, model.step) for model in page.models]
        token = page.next_page_token
        if not token:
            break

    assert found == [("emu", 1, "run1", 10), ("owl", 2, "run1", 20), ("owl", 1, "run1", 10)]
    for bad in ({"page_size": -1}, {"page_token": "x"}, {"page_token": "owl/²"}):
        code, _, _ = refused(lambda bad=bad: made.stub.ListModels(pb.ListModelsRequest(**bad), timeout=PATIENCE_S))
        assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_health_answers_while_every_slot_writes(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=4, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    endless = [made.stream(slide=True, ignore_end_of_text=True, max_new_tokens=1_000_000) for _ in range(4)]
    for stream in endless:
        next(stream)
    wait_for(lambda: made.info().num_running == 4, "every slot writes")

    health = health_pb2_grpc.HealthStub(made.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert made.info().num_running == 4, "it did not wait for any of them to end"
    for stream in endless:
        stream.cancel()


def test_a_caller_that_does_not_read_is_cancelled_and_its_slot_is_free(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=1, unread_limit=16, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    stream = made.stream(slide=True, ignore_end_of_text=True, max_new_tokens=1_000_000, logprobs=20)
    next(stream)

    wait_for(lambda: made.info().num_running == 0, "the slow reader is given up")

    assert made.generate(max_new_tokens=3, ignore_end_of_text=True).usage.generated_tokens == 3
    code, message, _ = refused(lambda: list(stream))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "reads too slowly" in message


def test_a_caller_that_gives_up_while_its_model_is_loaded_frees_its_place(
    own_service: Callable[..., Service],
) -> None:
    made = own_service(max_requests=1)
    gate, begun = threading.Event(), threading.Event()
    load = made.models._load
    made.models._load = lambda published: (begun.set(), gate.wait(PATIENCE_S), load(published))[2]
    publish(made.folder, "owl", 1)
    waiting = made.stub.Generate.future(pb.GenerateRequest(max_new_tokens=1), timeout=PATIENCE_S)
    assert begun.wait(PATIENCE_S)
    places = made.servicer._places
    wait_for(lambda: places._value == 0, "the request waits")

    waiting.cancel()

    wait_for(lambda: places._value == 1, "its place is free", patience_s=10)
    gate.set()
    assert made.generate(max_new_tokens=1).model.version == 1


def test_more_requests_than_are_allowed_are_refused_at_once(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=1, max_requests=2, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    endless = {"slide": True, "ignore_end_of_text": True, "max_new_tokens": 1_000_000}
    streams = [made.stream(**endless) for _ in range(2)]
    for stream in streams:
        next(stream)

    code, message, details = refused(lambda: made.generate())

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2 requests are being answered" in message
    assert any(isinstance(detail, error_details_pb2.RetryInfo) for detail in details)
    for stream in streams:
        stream.cancel()

    def is_answered() -> bool:  # a request counts until the thread that answers it has returned
        try:
            return bool(made.generate(max_new_tokens=1).samples)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            return False

    wait_for(is_answered)


def test_callers_are_told_apart_by_their_metadata(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=1, caller_queue_limit=1, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    endless = pb.GenerateRequest(slide=True, ignore_end_of_text=True, max_new_tokens=1_000_000)

    def stream(caller: str) -> grpc.Call:
        return made.stub.GenerateStream(endless, timeout=PATIENCE_S, metadata=[("x-nonesuch-caller", caller)])

    streams = [stream("a")]
    next(streams[0])
    wait_for(lambda: made.info().num_running == 1)
    streams += [stream("a"), stream("b")]
    wait_for(lambda: made.info().num_queued == 2)

    code, message, _ = refused(lambda: list(stream("a")))

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "caller 'a'" in message
    for open_stream in streams:
        open_stream.cancel()


def test_server_info_shows_what_each_model_is_doing(own_service: Callable[..., Service]) -> None:
    made = own_service(slots=4, max_new_tokens=1_000_000)
    publish(made.folder, "owl", 1)
    stream = made.stream(n=2, slide=True, ignore_end_of_text=True, max_new_tokens=1_000_000)
    for _ in range(9):
        next(stream)

    (load,) = made.info().loads

    assert (load.name, load.version, load.num_slots) == ("owl", 1, 4)
    assert (load.num_running, load.num_queued, load.cache_use) == (2, 0, 0.5)
    assert load.tokens_per_second > 0
    stream.cancel()
    wait_for(lambda: made.info().loads[0].cache_use == 0, "the cache is free again")


def test_who_names_a_version_gets_that_one_also_when_another_was_named_before(
    own_service: Callable[..., Service],
) -> None:
    made = own_service(max_models=1)
    for version in (1, 2, 3):
        publish(made.folder, "owl", version)
    wait_for(lambda: made.states().get(3) == "SERVING", "the newest is loaded")

    named = [1, 2, 1, 3]
    answered = [made.generate(model="owl", version=version, max_new_tokens=2).model.version for version in named]

    assert answered == named

"""Fetches through the rpcs: a real service, real processes, and a server that imitates the hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from protos import trainer_pb2 as pb
from services.gpt2 import checkpoint
from services.trainer.fetching.__main__ import Order
from services.trainer.fetching.sources import Sources
from tests.hugging_face_files import write_hugging_face
from tests.rpc.fetching import fake_sources
from tests.rpc.fetching.fake_sources import FakeSources
from tests.rpc.fetching.serving import DEADLINE_S, NAME, half_fetched, part_of, serving
from tests.rpc.fetching.trial import REPOSITORY
from tests.rpc.trainer.serving import import_requests, refused
from tests.unit.trainer.tiny import CONFIG
from tests.waiting import wait_for


@pytest.fixture
def fake(fake: FakeSources, hub_folder: Path) -> FakeSources:
    fake.add_repository("someone/other", hub_folder)
    return fake


def test_a_fetched_base_appears_whole_with_its_progress_told(fake, tmp_path):
    with serving(tmp_path, fake) as service:
        service.tell_phase_by_phase()
        first = service.fetch()
        assert first.name == NAME and first.state in (pb.FETCH_STATE_PENDING, pb.FETCH_STATE_RUNNING)
        states = service.watch()
        assert states[-1].state == pb.FETCH_STATE_SUCCEEDED, states[-1].error
        assert {pb.FETCH_PHASE_ASKING, pb.FETCH_PHASE_CONVERTING} <= {state.phase for state in states}
        assert max(state.bytes_total for state in states) > 40_000
        assert service.bases() == [NAME]
        config, _ = checkpoint.read_weights(tmp_path / "base" / NAME)
        assert config == CONFIG
        assert not list((tmp_path / "base").glob(".*"))
        assert service.fetch().state == pb.FETCH_STATE_SUCCEEDED, "what is here is not fetched again"
        assert len(fake.asked_for("/cdn/model.safetensors")) == 1


def test_the_same_name_joins_the_fetch_under_way_and_another_repository_does_not(fake, tmp_path):
    with half_fetched(tmp_path, fake) as (service, gate):
        joined = service.fetch()
        assert joined.state == pb.FETCH_STATE_RUNNING
        refused(lambda: service.fetch("someone/other", NAME), grpc.StatusCode.ALREADY_EXISTS, REPOSITORY)
        assert service.fetch("someone/other", "mine").state == pb.FETCH_STATE_PENDING
        gate.opened.set()
        assert service.watch()[-1].state == pb.FETCH_STATE_SUCCEEDED
        assert service.watch("mine")[-1].state == pb.FETCH_STATE_SUCCEEDED
        assert service.bases() == ["mine", NAME]
        assert len(fake.asked_for("/cdn/model.safetensors")) == 2


def test_a_cancelled_fetch_goes_on_from_what_had_come(fake, tmp_path):
    with half_fetched(tmp_path, fake) as (service, _):
        service.cancel()
        assert service.watch()[-1].state == pb.FETCH_STATE_CANCELLED
        come = part_of(tmp_path)
        assert service.bases() == [] and come
        refused(service.cancel, grpc.StatusCode.FAILED_PRECONDITION, "CANCELLED")
        [shown] = service.fetches()
        assert shown.state == pb.FETCH_STATE_CANCELLED and shown.base == REPOSITORY
        service.fetch()
        assert service.watch()[-1].state == pb.FETCH_STATE_SUCCEEDED
        assert fake.asked_for("/cdn/model.safetensors")[-1]["Range"] == f"bytes={come}-"


def test_a_discarded_fetch_leaves_nothing(fake, tmp_path):
    with half_fetched(tmp_path, fake) as (service, _):
        service.cancel(discard=True)
        wait_for(lambda: not service.fetches())
        assert not list((tmp_path / "base").iterdir())
        refused(service.cancel, grpc.StatusCode.NOT_FOUND)


def test_a_fetch_goes_on_when_the_service_comes_back(fake, tmp_path):
    with half_fetched(tmp_path, fake):
        pass
    with serving(tmp_path, fake) as service:
        assert service.watch()[-1].state == pb.FETCH_STATE_SUCCEEDED
        assert service.bases() == [NAME]
    assert "Range" in fake.asked_for("/cdn/model.safetensors")[-1]


def test_a_killed_process_is_named_and_its_files_are_kept(fake, tmp_path):
    with half_fetched(tmp_path, fake) as (service, _):
        service.trainer._fetches._child.kill()
        ended = service.watch()[-1]
        assert ended.state == pb.FETCH_STATE_FAILED and "SIGKILL" in ended.error
        service.fetch()
        assert service.watch()[-1].state == pb.FETCH_STATE_SUCCEEDED


def test_a_process_killed_while_it_converts_leaves_no_base_and_the_next_one_makes_it(fake, tmp_path):
    with serving(tmp_path, fake) as service:
        service.fetch()
        for state in service.stub.WatchFetch(pb.WatchFetchRequest(name=NAME), timeout=DEADLINE_S):
            if state.phase in (pb.FETCH_PHASE_CONVERTING, pb.FETCH_PHASE_CHECKING):
                child = service.trainer._fetches._child
                if child:
                    child.kill()
        ended = service.watch()[-1]
        if ended.state == pb.FETCH_STATE_FAILED:  # not if the kill came after its last word
            assert "SIGKILL" in ended.error and service.bases() == []
            service.fetch()
            assert service.watch()[-1].state == pb.FETCH_STATE_SUCCEEDED
        assert service.bases() == [NAME]


def test_the_process_ends_when_its_service_is_gone(fake, tmp_path):
    fake.always("/cdn/model.safetensors", fake_sources.hangs)
    sources = Sources(hub_url=fake.hub_url, timeout_s=60.0)
    process = subprocess.Popen(
        [sys.executable, "-m", "services.trainer.fetching"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdin.write(Order(REPOSITORY, NAME, str(tmp_path), sources).line())
    process.stdin.flush()
    wait_for(lambda: fake.asked_for("/cdn/model.safetensors"))
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(DEADLINE_S) == 1
    process.stdout.close()


def test_a_failure_says_what_was_wrong_with_which_address(fake, tmp_path):
    fake.always("/cdn/model.safetensors", fake_sources.answers(200, fake_sources.PAGE, Content_Type="text/html"))
    with serving(tmp_path, fake) as service:
        service.fetch()
        ended = service.watch()[-1]
        assert ended.state == pb.FETCH_STATE_FAILED
        assert f"{REPOSITORY}/resolve" in ended.error and "page" in ended.error
        assert service.bases() == []


def test_what_cannot_be_fetched_is_refused_at_once(fake, tmp_path):
    with serving(tmp_path, fake) as service:
        refused(lambda: service.fetch("125M"), grpc.StatusCode.NOT_FOUND, "124M", "distilgpt2", "<owner>/<name>")
        refused(lambda: service.fetch(""), grpc.StatusCode.INVALID_ARGUMENT)
        refused(lambda: service.fetch("nano"), grpc.StatusCode.INVALID_ARGUMENT, "fresh")
        refused(lambda: service.fetch(REPOSITORY, "../x"), grpc.StatusCode.INVALID_ARGUMENT, "'../x'")
        refused(lambda: service.fetch(source=pb.FETCH_SOURCE_OPENAI), grpc.StatusCode.FAILED_PRECONDITION, "hub")
        refused(lambda: service.watch("nothing"), grpc.StatusCode.NOT_FOUND)
        assert not service.fetches()


def test_an_offline_service_fetches_nothing_and_says_how_to_go_on(fake, tmp_path):
    with serving(tmp_path, fake, offline=True) as service:
        refused(service.fetch, grpc.StatusCode.FAILED_PRECONDITION, "NONESUCH_TRAINER_FETCH_OFFLINE", "import")
    assert not fake.requests


def test_the_known_names_are_listed_with_their_size(fake, tmp_path):
    with serving(tmp_path, fake) as service:
        listed = service.stub.ListFetchableBases(pb.ListFetchableBasesRequest(page_size=2), timeout=DEADLINE_S)
        assert [base.name for base in listed.bases] == ["124M", "355M"] and listed.next_page_token
        first = listed.bases[0]
        assert first.aliases == ["117M", "gpt2"] and first.num_parameters == 124_439_808 and not first.is_here
        assert 540e6 < first.download_bytes < 555e6


def test_a_folder_of_hugging_face_is_imported_in_openais_layout(fake, tmp_path, hub_folder):
    with serving(tmp_path, fake) as service:
        imported = service.stub.ImportBase(import_requests("theirs", hub_folder), timeout=DEADLINE_S).base
        assert imported.num_parameters == CONFIG.num_parameters
    names = {path.name for path in (tmp_path / "base" / "theirs").iterdir()}
    assert {"hparams.json", "model.ckpt.index", "encoder.json", "vocab.bpe", "checkpoint", "manifest.json"} <= names
    assert not {"arrived", "config.json"} & names


def test_an_imported_folder_of_another_architecture_is_refused_and_nothing_is_kept(fake, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", activation_function="relu")
    with serving(tmp_path / "data", fake) as service:
        requests = import_requests("theirs", folder)
        call = lambda: service.stub.ImportBase(requests, timeout=DEADLINE_S)  # noqa: E731
        refused(call, grpc.StatusCode.DATA_LOSS, "activation_function")
        assert not list((tmp_path / "data" / "base").iterdir())


def test_the_service_loads_neither_tensorflow_nor_an_http_client():
    program = (
        "import sys, services.trainer.__main__\n"
        "sys.exit(' '.join({'tensorflow', 'huggingface_hub', 'httpx2', 'safetensors'} & set(sys.modules)) or 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr

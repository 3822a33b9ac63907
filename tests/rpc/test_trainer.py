"""TrainerService through its stub: a real server on a free port, real training processes of tiny models."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.common import rpc
from services.gpt2 import checkpoint as weights
from services.gpt2 import model
from services.trainer.service import Trainer
from tests.unit.trainer.pausing import PROGRAM, pause_after, stands_still
from tests.unit.trainer.tiny import CONFIG, write_tiny_dataset, write_vocabulary
from tests.waiting import wait_for

DEADLINE_S = 120.0
SETTINGS: dict[str, Any] = {
    "steps": 4,
    "batch_size": 2,
    "context": 16,
    "save_every": 2,
    "sample_every": 2,
    "sample_num": 2,
    "sample_length": 8,
    "validate_every": 2,
}
ANY_PORTS = {"NONESUCH_TRAINER_LISTEN": "127.0.0.1:0", "NONESUCH_TRAINER_METRICS_LISTEN": "127.0.0.1:0"}
LONG = SETTINGS | {"steps": 100_000, "sample_every": 0, "validate_every": 0, "save_every": 50}


@dataclass
class Service:
    """A trainer in this process, its stub and its volume."""

    trainer: Trainer
    stub: trainer_pb2_grpc.TrainerServiceStub
    data: Path

    def start(self, run: str, settings: dict[str, Any], **request: Any) -> pb.StartRunResponse:
        request = {"dataset": "tiny", "base": "nano"} | request
        return self.stub.StartRun(
            pb.StartRunRequest(run=run, settings=pb.RunSettings(**settings), **request), timeout=DEADLINE_S
        )

    def get(self, run: str) -> pb.Run:
        return self.stub.GetRun(pb.GetRunRequest(run=run), timeout=DEADLINE_S).run

    def watch(self, run: str, cursor: int = 0) -> list[pb.RunUpdate]:
        return list(self.stub.WatchRun(pb.WatchRunRequest(run=run, cursor=cursor), timeout=DEADLINE_S))

    def wait_for_step(self, run: str, step: int) -> None:
        wait_for(lambda: self.get(run).step >= step, f"step {step} of {run}")

    def start_and_kill(self, run: str, settings: dict[str, Any], after_step: int) -> None:
        """Start a run, and kill its process between that step and the next."""
        pause_after(self.data, run, after_step)
        self.start(run, settings)
        pid = wait_for(lambda: self.trainer.child_pid, "a training process")
        wait_for(lambda: stands_still(pid), f"{run} stands still after step {after_step}")
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let all training processes share what Numba compiles: each volume would have its own otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("numba")))
        yield


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("data")
    write_tiny_dataset(data)
    trainer = Trainer(data, nice=0, program=PROGRAM)
    trainer.open()
    server = rpc.start(
        "127.0.0.1:0",
        lambda server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(trainer.servicer, server),
        services=["nonesuch.trainer.v1.TrainerService"],
    )
    trainer.start()
    with rpc.channel(f"127.0.0.1:{server.port}") as channel:
        yield Service(trainer, trainer_pb2_grpc.TrainerServiceStub(channel), data)
    trainer.begin_stop()
    server.stop(1.0)
    trainer.finish_stop(30.0)


@pytest.fixture(scope="module")
def finished(service: Service) -> str:
    """A run that has reached its last step."""
    service.start("finished", SETTINGS)
    service.watch("finished")
    assert service.get("finished").state == pb.RUN_STATE_SUCCEEDED, service.get("finished").error
    return "finished"


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in OpenAI's layout whose vocabulary is not the dataset's."""
    folder = write_vocabulary(tmp_path_factory.mktemp("base"), end_of_text_first=True)
    weights.write_weights(folder, 7, model.init_params(CONFIG, 1), CONFIG)
    return folder


def import_requests(name: str, folder: Path) -> Iterator[pb.ImportBaseRequest]:
    yield pb.ImportBaseRequest(name=name)
    for path in sorted(folder.iterdir()):
        yield pb.ImportBaseRequest(file=path.name)
        content = path.read_bytes()
        for start in range(0, len(content), 1000):
            yield pb.ImportBaseRequest(chunk=content[start : start + 1000])


def refused(call: Callable[[], object], code: grpc.StatusCode, *words: str) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in caught.value.details()
    return caught.value


def field_of(error: grpc.RpcError) -> str:
    for detail in rpc_status.from_call(error).details:
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            return bad.field_violations[0].field
    return ""


def test_run_streams_its_steps_samples_and_checkpoints_until_it_has_succeeded(service: Service, finished: str) -> None:
    updates = service.watch(finished)
    kinds = [update.WhichOneof("update") for update in updates]
    assert kinds[0] == "run" and kinds[-1] == "run"
    assert updates[-1].run.state == pb.RUN_STATE_SUCCEEDED
    assert [update.metrics.step for update in updates if update.HasField("metrics")] == [1, 2, 3, 4]
    assert [update.validation.step for update in updates if update.HasField("validation")] == [2, 4]
    samples = [(u.sample.step, u.sample.index) for u in updates if u.HasField("sample")]
    assert samples == [(2, 1), (2, 2), (4, 1), (4, 2)]
    assert [update.checkpoint.step for update in updates if update.HasField("checkpoint")] == [2, 4]
    run = service.get(finished)
    assert (run.step, run.checkpoint_step, run.queue_position) == (4, 4, 0)
    assert run.settings.steps == 4 and run.settings.schedule == pb.SCHEDULE_COSINE and run.settings.HasField("seed")
    assert run.metrics.loss > 0 and run.validation.bits_per_byte > 0


def test_metrics_and_validations_come_with_all_that_is_measured(service: Service, finished: str) -> None:
    updates = service.watch(finished)
    steps = [update.metrics for update in updates if update.HasField("metrics")]
    for metrics in steps:
        assert metrics.HasField("mfu") and metrics.mfu > 0
        assert metrics.memory_bytes > 50e6 and metrics.epoch > 0
    assert steps[0].remaining_seconds > 0 and steps[-1].remaining_seconds == 0
    validations = [update.validation for update in updates if update.HasField("validation")]
    for validation in validations:
        assert 0 <= validation.token_accuracy <= 1
        assert validation.perplexity == pytest.approx(math.exp(validation.loss))
    best = min(validations, key=lambda validation: validation.loss)
    assert service.get(finished).best_validation == best


def test_samples_are_written_from_each_prompt_at_each_temperature(service: Service) -> None:
    wanted = {"sample_prompts": ["The cat", ""], "sample_temperatures": [0.0, 1.5], "sample_top_p": 0.9}
    service.start("prompted", SETTINGS | wanted)
    service.watch("prompted")
    samples = service.stub.ListSamples(pb.ListSamplesRequest(run="prompted"), timeout=DEADLINE_S).samples
    asked = [(prompt, temperature) for prompt in ("The cat", "") for temperature in (0.0, 0.0, 1.5, 1.5)]
    for step in (2, 4):
        of_step = [sample for sample in samples if sample.step == step]
        assert [(sample.prompt, sample.temperature) for sample in of_step] == asked
        assert all(sample.text.startswith(sample.prompt) for sample in of_step)
        assert of_step[0].text == of_step[1].text  # at temperature 0 there is one way to go on
    watched = [update.sample for update in service.watch("prompted") if update.HasField("sample")]
    assert watched == list(samples)


def test_watch_goes_on_from_any_cursor_without_gap_or_repetition(service: Service, finished: str) -> None:
    updates = service.watch(finished)
    assert [u.cursor for u in updates] == sorted(u.cursor for u in updates)
    for update in updates[1::4]:
        later = service.watch(finished, update.cursor)
        assert later[0].HasField("run")
        assert later[1:] == [u for u in updates[1:] if u.cursor > update.cursor]
    error = refused(lambda: service.watch(finished, 3), grpc.StatusCode.INVALID_ARGUMENT, "cursor")
    assert field_of(error) == "cursor"


def test_second_run_waits_in_the_queue_and_can_leave_it(service: Service) -> None:
    assert service.start("first", LONG).run.state in (pb.RUN_STATE_PENDING, pb.RUN_STATE_RUNNING)
    wait_for(lambda: service.get("first").state == pb.RUN_STATE_RUNNING, "first trains")
    second = service.start("second", SETTINGS).run
    assert (second.state, second.queue_position) == (pb.RUN_STATE_PENDING, 1)
    assert service.stub.StopRun(pb.StopRunRequest(run="second")).run.state == pb.RUN_STATE_CANCELLED
    refused(
        lambda: service.stub.DeleteRun(pb.DeleteRunRequest(run="first")),
        grpc.StatusCode.FAILED_PRECONDITION,
        "first",
        "RUNNING",
    )

    service.wait_for_step("first", 3)
    service.stub.StopRun(pb.StopRunRequest(run="first"))
    assert service.watch("first")[-1].run.state == pb.RUN_STATE_CANCELLED
    stopped = service.get("first")
    assert stopped.checkpoint_step == stopped.step >= 3


def test_killed_run_that_may_not_restart_fails_and_resumes_with_its_own_settings_only(
    service: Service,
) -> None:
    settings = LONG | {"steps": 300, "restarts": 0}
    service.start_and_kill("killed", settings, after_step=101)  # the checkpoint of step 50 is whole when 100 is saved
    assert service.watch("killed")[-1].run.state == pb.RUN_STATE_FAILED
    failed = service.get("killed")
    assert "SIGKILL" in failed.error and failed.checkpoint_step >= 50

    refused(
        lambda: service.start("killed", settings | {"learning_rate": 0.5, "steps": 9}),
        grpc.StatusCode.FAILED_PRECONDITION,
        "learning_rate is",
        "steps is 300, asked for 9",
    )
    answer = service.start("killed", settings)
    assert answer.resumed and answer.run.state in (pb.RUN_STATE_PENDING, pb.RUN_STATE_RUNNING)
    assert service.watch("killed")[-1].run.state == pb.RUN_STATE_SUCCEEDED
    lines = (service.data / "checkpoint" / "killed" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines if "learning_rate" in line]
    assert steps == list(range(1, 301))
    refused(
        lambda: service.stub.ResumeRun(pb.ResumeRunRequest(run="killed")),
        grpc.StatusCode.FAILED_PRECONDITION,
        "SUCCEEDED",
    )
    service.stub.DeleteRun(pb.DeleteRunRequest(run="killed"))
    refused(lambda: service.get("killed"), grpc.StatusCode.NOT_FOUND, "killed")


def test_killed_training_goes_on_by_itself_and_says_so(service: Service) -> None:
    service.start_and_kill("risen", LONG | {"steps": 300}, after_step=101)
    updates = service.watch("risen")
    run = service.get("risen")
    assert run.state == pb.RUN_STATE_SUCCEEDED and run.restarts == 1, run.error
    assert run.ended_because == "its last step, 300, is done"
    told = [update.event.message for update in updates if update.HasField("event")]
    assert any("killed by SIGKILL" in message and "try 1 of 5" in message for message in told), told


def test_folder_of_gpt_2_simple_is_carried_on_where_it_stopped(service: Service) -> None:
    folder = service.data / "checkpoint" / "old"
    write_vocabulary(folder)
    weights.write_weights(folder, 7, model.init_params(CONFIG, 1), CONFIG)
    (folder / "counter").write_text("7\n")
    settings = SETTINGS | {"steps": 9, "sample_every": 0}
    refused(lambda: service.start("old", settings), grpc.StatusCode.INVALID_ARGUMENT, "leave base 'nano' out")
    refused(
        lambda: service.start("old", settings | {"steps": 7}, base=""),
        grpc.StatusCode.FAILED_PRECONDITION,
        "7 steps behind it",
    )
    answer = service.start("old", settings, base="")
    assert answer.resumed and answer.run.base == "runs/old@7"
    steps = [update.metrics.step for update in service.watch("old") if update.HasField("metrics")]
    assert steps == [8, 9]
    assert service.get("old").state == pb.RUN_STATE_SUCCEEDED


def test_published_versions_are_whole_and_their_numbers_are_never_used_again(service: Service, finished: str) -> None:
    def publish(step: int | None = None) -> pb.ModelVersion:
        source = pb.CheckpointSource(run=finished, step=step)
        return service.stub.PublishModel(pb.PublishModelRequest(checkpoint=source, model="voice")).version

    first, second = publish(2), publish()
    assert [(v.version, v.step, v.run) for v in (first, second)] == [(1, 2, finished), (2, 4, finished)]
    config, params = weights.read_weights(service.data / "models" / "voice" / "2")
    assert config.n_vocab == 257 and config.num_parameters == second.num_parameters
    _, trained = weights.read_weights(service.data / "checkpoint" / finished / "step-4")
    assert all((params[name] == trained[name]).all() for name in trained)
    for name in ("encoder.json", "vocab.bpe", "hparams.json", "manifest.json", "checkpoint"):
        assert (service.data / "models" / "voice" / "2" / name).is_file()

    assert service.stub.RollbackModel(pb.RollbackModelRequest(model="voice")).version.version == 1
    refused(
        lambda: service.stub.RollbackModel(pb.RollbackModelRequest(model="voice")),
        grpc.StatusCode.FAILED_PRECONDITION,
        "version 1 only",
    )
    assert publish().version == 3
    service.stub.DeleteModel(pb.DeleteModelRequest(model="voice"))
    assert service.stub.ListModels(pb.ListModelsRequest()).models == []
    assert publish().version == 4
    refused(
        lambda: service.stub.DeleteModel(pb.DeleteModelRequest(model="voice", version=9)),
        grpc.StatusCode.NOT_FOUND,
        "voice",
        "9",
    )
    service.stub.DeleteModel(pb.DeleteModelRequest(model="voice", version=4))
    refused(
        lambda: service.stub.DeleteModel(pb.DeleteModelRequest(model="voice")),
        grpc.StatusCode.NOT_FOUND,
        "voice",
    )


def test_damaged_checkpoint_is_data_loss_naming_the_file(service: Service, finished: str) -> None:
    path = service.data / "checkpoint" / finished / "step-2" / "model-2.data-00000-of-00001"
    sound = path.read_bytes()
    path.write_bytes(sound[:-1])
    try:
        request = pb.PublishModelRequest(checkpoint=pb.CheckpointSource(run=finished, step=2))
        refused(lambda: service.stub.PublishModel(request), grpc.StatusCode.DATA_LOSS, str(path))
        assert not (service.data / "models" / finished).exists() or not list(
            (service.data / "models" / finished).iterdir()
        )
    finally:
        path.write_bytes(sound)


def test_what_does_not_exist_is_not_found_by_name(service: Service, finished: str) -> None:
    not_found = grpc.StatusCode.NOT_FOUND
    stub = service.stub
    refused(lambda: service.get("nobody"), not_found, "nobody")
    refused(lambda: service.watch("nobody"), not_found, "nobody")
    refused(lambda: stub.StopRun(pb.StopRunRequest(run="nobody")), not_found, "nobody")
    refused(lambda: stub.ListSamples(pb.ListSamplesRequest(run="nobody")), not_found, "nobody")
    refused(lambda: service.start("new", {}, dataset="gone"), not_found, "gone")
    refused(lambda: service.start("new", {}, base="124M"), not_found, "124M")
    refused(lambda: stub.DeleteBase(pb.DeleteBaseRequest(base="nano")), not_found, "nano")
    source = pb.CheckpointSource(run=finished, step=3)
    refused(
        lambda: stub.PublishModel(pb.PublishModelRequest(checkpoint=source)),
        not_found,
        finished,
        "step 3",
        "2, 4",
    )
    request = pb.DeleteCheckpointRequest(run=finished, step=3)
    refused(lambda: stub.DeleteCheckpoint(request), not_found, "step 3")
    refused(lambda: stub.DeleteSamples(pb.DeleteSamplesRequest(run=finished, step=3)), not_found, "3")


def test_bad_settings_are_refused_by_field(service: Service) -> None:
    bad = {
        "steps": 0,
        "batch_size": -1,
        "learning_rate": -1.0,
        "dropout": 1.0,
        "beta2": 1.5,
        "floor": 2.0,
        "context": 4096,
        "save_every": 0,
        "seed": -5,
    }
    for name, value in bad.items():
        error = refused(
            lambda name=name, value=value: service.start("bad", {name: value}),
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        assert field_of(error) == f"settings.{name}", name
    error = refused(lambda: service.start("../up", {}), grpc.StatusCode.INVALID_ARGUMENT, "../up")
    assert field_of(error) == "run"
    assert not (service.data / "checkpoint" / "bad").exists()


def plan_of(service: Service, settings: dict[str, Any], *, skip_probe: bool) -> tuple[list[str], pb.RunPlan]:
    asked = pb.StartRunRequest(dataset="tiny", base="nano", settings=pb.RunSettings(**settings))
    request = pb.PlanRunRequest(run=asked, skip_probe=skip_probe)
    *progress, last = service.stub.PlanRun(request, timeout=DEADLINE_S)
    return [update.progress for update in progress], last.plan


def test_a_plan_tells_what_a_run_would_do_and_starts_none(service: Service) -> None:
    before = len(service.stub.ListRuns(pb.ListRunsRequest(), timeout=DEADLINE_S).runs)
    progress, plan = plan_of(service, SETTINGS, skip_probe=False)
    assert "compiling a step" in progress
    assert plan.is_measured and plan.fits
    assert 0 < plan.seconds_per_step < plan.total_seconds
    assert plan.peak_memory_bytes == sum(plan.memory_bytes.values())
    assert plan.num_parameters == plan.num_trained_parameters > 0
    assert all(plan.settings.HasField(name) for name in ("patience", "warmup_steps", "learning_rate"))
    assert len(service.stub.ListRuns(pb.ListRunsRequest(), timeout=DEADLINE_S).runs) == before


def test_a_plan_is_of_the_run_that_starts(service: Service) -> None:
    _, plan = plan_of(service, {"epochs": 3, "preset": pb.PRESET_THOROUGH}, skip_probe=True)
    assert not plan.is_measured
    service.start("before", LONG)
    wait_for(lambda: service.get("before").state == pb.RUN_STATE_RUNNING, "before trains")
    service.start("planned", {"epochs": 3, "preset": pb.PRESET_THOROUGH})
    assert service.get("planned").settings == plan.settings
    refused(lambda: plan_of(service, SETTINGS, skip_probe=False), grpc.StatusCode.FAILED_PRECONDITION, "spoil")
    for run in ("planned", "before"):
        service.stub.StopRun(pb.StopRunRequest(run=run), timeout=DEADLINE_S)
        service.watch(run)
    refused(lambda: plan_of(service, {"dropout": 2.0}, skip_probe=True), grpc.StatusCode.INVALID_ARGUMENT, "dropout")


def test_corpus_smaller_than_the_context_shrinks_it_or_is_refused(service: Service) -> None:
    write_tiny_dataset(service.data, "small", ["a few words"] * 3)
    settings = service.start("small", {"steps": 1, "sample_every": 0}, dataset="small").run.settings
    assert 8 <= settings.context < 256
    assert service.watch("small")[-1].run.state == pb.RUN_STATE_SUCCEEDED
    write_tiny_dataset(service.data, "mite", ["a", "b"])
    refused(lambda: service.start("mite", {}, dataset="mite"), grpc.StatusCode.FAILED_PRECONDITION, "add posts")


def test_imported_base_can_be_listed_published_and_deleted(service: Service, tiny_base: Path) -> None:
    stub = service.stub
    base = stub.ImportBase(import_requests("house", tiny_base)).base
    assert (base.name, base.fresh, base.context) == ("house", False, 32)
    names = [found.name for found in stub.ListBases(pb.ListBasesRequest()).bases]
    assert names == ["nano", "micro", "mini", "house"]
    refused(lambda: stub.ImportBase(import_requests("house", tiny_base)), grpc.StatusCode.ALREADY_EXISTS, "house")
    version = stub.PublishModel(pb.PublishModelRequest(base="house")).version
    assert (version.model, version.version, version.run) == ("house", 1, "")
    _, published = weights.read_weights(service.data / "models" / "house" / "1")
    _, original = weights.read_weights(tiny_base)
    assert all((published[name] == original[name]).all() for name in original)

    error = refused(
        lambda: service.start("mismatch", {}, base="house"),
        grpc.StatusCode.FAILED_PRECONDITION,
        "bytes-257",
        "house",
    )
    info = error_details_pb2.ErrorInfo()
    rpc_status.from_call(error).details[0].Unpack(info)
    assert info.reason == "VOCABULARY_MISMATCH"
    stub.DeleteBase(pb.DeleteBaseRequest(base="house"))
    refused(lambda: stub.DeleteBase(pb.DeleteBaseRequest(base="house")), grpc.StatusCode.NOT_FOUND, "house")


def test_run_starts_from_the_weights_of_its_base(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_vocabulary(tmp_path_factory.mktemp("kin"))  # the dataset's own
    start = model.init_params(CONFIG, 2)
    weights.write_weights(folder, 3, start, CONFIG)
    service.stub.ImportBase(import_requests("kin", folder))
    settings = {"steps": 1, "learning_rate": 1e-6, "sample_every": 0, "warmup_steps": 0}
    run = service.start("tuned", settings, base="kin").run
    assert (run.settings.context, run.num_parameters) == (CONFIG.n_ctx, CONFIG.num_parameters)
    assert service.watch("tuned")[-1].run.state == pb.RUN_STATE_SUCCEEDED
    _, tuned = weights.read_weights(service.data / "checkpoint" / "tuned")  # by its `checkpoint` file
    changes = [abs(tuned[name] - start[name]).max() for name in start]
    assert 0 < max(changes) < 1e-5
    service.stub.DeleteBase(pb.DeleteBaseRequest(base="kin"))


def test_damaged_base_is_data_loss_and_nothing_of_it_is_kept(service: Service, tiny_base: Path, tmp_path: Path) -> None:
    for path in tiny_base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data_file = tmp_path / "model-7.data-00000-of-00001"
    data_file.write_bytes(data_file.read_bytes()[:1000])
    refused(
        lambda: service.stub.ImportBase(import_requests("broken", tmp_path)),
        grpc.StatusCode.DATA_LOSS,
        data_file.name,
    )
    (tmp_path / "notes.txt").write_text("x")
    refused(
        lambda: service.stub.ImportBase(import_requests("broken", tmp_path)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "notes.txt",
    )
    assert [path.name for path in (service.data / "base").iterdir()] == []
    (service.data / "base" / "placed").mkdir()
    for path in tmp_path.iterdir():
        (service.data / "base" / "placed" / path.name).write_bytes(path.read_bytes())
    refused(lambda: service.start("new", {}, base="placed"), grpc.StatusCode.DATA_LOSS, data_file.name)


def test_samples_and_checkpoints_are_listed_in_pages_and_deleted(service: Service) -> None:
    service.start("pages", SETTINGS | {"publish": pb.PUBLISH_RULE_AT_END})
    assert service.watch("pages")[-1].run.state == pb.RUN_STATE_SUCCEEDED
    stub, found, token = service.stub, [], ""
    while True:
        answer = stub.ListSamples(pb.ListSamplesRequest(run="pages", page_size=3, page_token=token))
        found += [(sample.step, sample.index) for sample in answer.samples]
        token = answer.next_page_token
        if not token:
            break
    assert found == [(2, 1), (2, 2), (4, 1), (4, 2)]
    stub.DeleteSamples(pb.DeleteSamplesRequest(run="pages", step=2))
    assert {s.step for s in stub.ListSamples(pb.ListSamplesRequest(run="pages")).samples} == {4}
    listed = stub.ListCheckpoints(pb.ListCheckpointsRequest(run="pages")).checkpoints
    assert [checkpoint.step for checkpoint in listed] == [2, 4] and listed[0].validation.step == 2
    stub.DeleteCheckpoint(pb.DeleteCheckpointRequest(run="pages", step=4))
    assert (
        'model_checkpoint_path: "step-2/model-2"' in (service.data / "checkpoint" / "pages" / "checkpoint").read_text()
    )
    (version,) = next(m for m in stub.ListModels(pb.ListModelsRequest()).models if m.name == "pages").versions
    assert (version.step, version.version, version.dataset) == (4, 1, "tiny")


def test_killed_service_leaves_no_orphan_and_its_next_start_carries_the_run_on(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path)
    with served(tmp_path) as (process, client):
        client.start("run", LONG)
        client.wait_for_step("run", 55)
        child = child_of(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: not Path(f"/proc/{child}").exists(), "the training process is gone")

    with served(tmp_path) as (process, client):
        wait_for(lambda: client.get("run").state == pb.RUN_STATE_RUNNING, "the run trains again")
        before = client.get("run").step
        client.wait_for_step("run", before + 5)
        process.terminate()
        assert process.wait(timeout=DEADLINE_S) == 0
    record = json.loads((tmp_path / "checkpoint" / "run" / "run.json").read_text())
    assert record["state"] == "PENDING"  # it saved, and waits for the next start
    lines = (tmp_path / "checkpoint" / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1))
    assert (tmp_path / "checkpoint" / "run" / f"step-{steps[-1]}" / "manifest.json").exists()


def test_second_trainer_on_one_volume_is_refused(service: Service) -> None:
    environ = os.environ | ANY_PORTS | {"NONESUCH_DATA": str(service.data)}
    ended = subprocess.run(
        [sys.executable, "-m", "services.trainer"], env=environ, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 1 and "another trainer" in ended.stderr


@contextmanager
def served(data: Path) -> Iterator[tuple[subprocess.Popen[str], Service]]:
    """A trainer in a process of its own, and a client of it; not ended by this."""
    environ = os.environ | ANY_PORTS | {"NONESUCH_DATA": str(data)}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.trainer"], env=environ, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    ready, _, address = process.stdout.readline().strip().rpartition(" ")
    assert ready == "ready trainer"
    with rpc.channel(address) as channel:
        yield process, Service(None, trainer_pb2_grpc.TrainerServiceStub(channel), data)  # type: ignore[arg-type]


def child_of(pid: int) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            return int(stat.parent.name)
    raise AssertionError(f"process {pid} has no child")

"""Runs through the stub of a real server, in real training processes of tiny models."""

from __future__ import annotations

import json
from typing import Any

import grpc
from grpc_status import rpc_status

from protos import trainer_pb2 as pb
from services.gpt2 import checkpoint as weights
from services.gpt2 import model
from tests.rpc.trainer.serving import DEADLINE_S, LONG, SETTINGS, Service, field_of, refused
from tests.unit.trainer.tiny import CONFIG, write_tiny_dataset, write_vocabulary
from tests.waiting import wait_for


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
    error = refused(lambda: service.get("old"), grpc.StatusCode.NOT_FOUND, "gpt-2-simple began")
    assert any(b"FOREIGN_RUN" in detail.value for detail in rpc_status.from_call(error).details)
    refused(lambda: service.start("old", settings, base="", fresh=True), grpc.StatusCode.ALREADY_EXISTS, "old")
    answer = service.start("old", settings, base="")
    assert answer.resumed and answer.run.base == "runs/old@7"
    steps = [update.metrics.step for update in service.watch("old") if update.HasField("metrics")]
    assert steps == [8, 9]
    assert service.get("old").state == pb.RUN_STATE_SUCCEEDED


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


def test_a_base_that_is_only_known_by_name_is_planned_by_its_shape(service: Service) -> None:
    asked = pb.StartRunRequest(dataset="tiny", base="345M", settings=pb.RunSettings(**SETTINGS))
    *_, last = service.stub.PlanRun(pb.PlanRunRequest(run=asked, skip_probe=True), timeout=DEADLINE_S)
    assert 354e6 < last.plan.num_parameters < 355e6
    assert "355M is not here: it is fetched when the run is started" in last.plan.remarks[0]
    assert "with that of 355M, 50,257, the posts have fewer" in last.plan.remarks[1]
    refused(lambda: service.start("absent", SETTINGS, base="355M"), grpc.StatusCode.NOT_FOUND, "355M")


def test_corpus_smaller_than_the_context_shrinks_it_or_is_refused(service: Service) -> None:
    write_tiny_dataset(service.data, "small", ["a few words"] * 3)
    settings = service.start("small", {"steps": 1, "sample_every": 0}, dataset="small").run.settings
    assert 8 <= settings.context < 256
    assert service.watch("small")[-1].run.state == pb.RUN_STATE_SUCCEEDED
    write_tiny_dataset(service.data, "mite", ["a", "b"])
    refused(lambda: service.start("mite", {}, dataset="mite"), grpc.StatusCode.FAILED_PRECONDITION, "add posts")


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

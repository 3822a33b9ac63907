"""What a run that has ended tells and gives: its history, its checkpoints, models made of them."""

from __future__ import annotations

import math

import grpc
import pytest

from protos import trainer_pb2 as pb
from services.gpt2 import checkpoint as weights
from tests.rpc.trainer.serving import SETTINGS, Service, field_of, refused


@pytest.fixture(scope="module")
def finished(service: Service) -> str:
    """A run that has reached its last step."""
    service.start("finished", SETTINGS)
    service.watch("finished")
    assert service.get("finished").state == pb.RUN_STATE_SUCCEEDED, service.get("finished").error
    return "finished"


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


def test_watch_goes_on_from_any_cursor_without_gap_or_repetition(service: Service, finished: str) -> None:
    updates = service.watch(finished)
    assert [u.cursor for u in updates] == sorted(u.cursor for u in updates)
    for update in updates[1::4]:
        later = service.watch(finished, update.cursor)
        assert later[0].HasField("run")
        assert later[1:] == [u for u in updates[1:] if u.cursor > update.cursor]
    error = refused(lambda: service.watch(finished, 3), grpc.StatusCode.INVALID_ARGUMENT, "cursor")
    assert field_of(error) == "cursor"


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

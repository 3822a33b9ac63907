"""Starts, queue, repeats and marks through the stub of a real server; few of its runs train."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import trainer_pb2 as pb
from services.common.files import sha256_files, write_json
from services.gpt2 import checkpoint as weights
from services.gpt2 import model
from services.gpt2.config import GPT2Config
from tests.rpc.trainer.serving import LONG, SETTINGS, Service, field_of, refused, serving
from tests.unit.trainer.made import make_checkpoint
from tests.unit.trainer.tiny import CONFIG, make_run, write_tiny_dataset
from tests.waiting import wait_for

QUICK = SETTINGS | {"sample_every": 0}
NOT_FOUND, WRONG_STATE = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION
INVALID, DATA_LOSS = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DATA_LOSS
TAKEN = grpc.StatusCode.ALREADY_EXISTS


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Service]:
    """A service that trains nothing, with the run `old` and its checkpoints 2 and 4, of which 2 is the best."""
    write_tiny_dataset(tmp_path)
    make_run(tmp_path, "old", SETTINGS | {"keep_versions": 2})
    for step, loss in ((2, 3.0), (4, 4.0)):
        make_checkpoint(tmp_path, "old", step, loss)
    with serving(tmp_path, training=False) as service:
        service.stub.StopRun(pb.StopRunRequest(run="old"))
        yield service


def queue_of(service: Service) -> list[str]:
    runs = service.stub.ListRuns(pb.ListRunsRequest()).runs
    return [run.name for run in sorted(runs, key=lambda run: run.queue_position) if run.queue_position]


def move(service: Service, run: str, place: int) -> pb.Run:
    return service.stub.MoveRun(pb.MoveRunRequest(run=run, queue_position=place)).run


def test_runs_are_queued_moved_and_cancelled_and_the_order_outlives_the_service(idle: Service) -> None:
    for name in ("a", "b", "c"):
        idle.start(name, SETTINGS)
    assert queue_of(idle) == ["a", "b", "c"]
    assert move(idle, "c", 1).queue_position == 1
    assert move(idle, "a", 9).queue_position == 3
    idle.stub.StopRun(pb.StopRunRequest(run="b"))
    assert queue_of(idle) == ["c", "a"]
    refused(lambda: idle.stub.DeleteRun(pb.DeleteRunRequest(run="c")), WRONG_STATE, "PENDING")
    idle.stub.DeleteRun(pb.DeleteRunRequest(run="b"))

    refused(lambda: move(idle, "old", 1), WRONG_STATE, "CANCELLED")
    refused(lambda: move(idle, "nobody", 1), NOT_FOUND, "nobody")
    assert field_of(refused(lambda: move(idle, "a", 0), INVALID)) == "queue_position"

    lock = idle.trainer._lock
    assert lock is not None
    lock.close()  # as a killed service lets go of it
    with serving(idle.data, training=False) as again:
        assert queue_of(again) == ["c", "a"]


def test_a_run_with_damaged_metrics_hides_no_other_from_the_list(idle: Service) -> None:
    idle.stub.RepeatRun(pb.RepeatRunRequest(run="old"))
    (idle.data / "checkpoint" / "old" / "metrics.jsonl").write_text("{no line\n")
    runs = idle.stub.ListRuns(pb.ListRunsRequest()).runs
    assert [run.name for run in runs] == ["old-2", "old"]
    assert not runs[1].HasField("metrics") and runs[1].checkpoint_step == 4
    refused(lambda: idle.stub.GetRun(pb.GetRunRequest(run="old")), DATA_LOSS, "metrics.jsonl")


def test_a_start_says_exactly_what_it_starts_from(idle: Service) -> None:
    assert idle.start("a", SETTINGS, base="runs/old").run.base == "runs/old@4"
    assert idle.start("b", SETTINGS, base="runs/old@best").run.base == "runs/old@2"
    shape = GPT2Config(n_vocab=257, n_ctx=16, n_embd=24, n_head=4, n_layer=3)
    shaped = idle.start("c", SETTINGS, base="fresh/3x24x4").run
    assert (shaped.base, shaped.num_parameters) == ("fresh/3x24x4", shape.num_parameters)
    source = pb.CheckpointSource(run="old", step=2)
    idle.stub.PublishModel(pb.PublishModelRequest(checkpoint=source, model="voice"))
    assert idle.start("d", SETTINGS, base="models/voice").run.base == "models/voice@1"

    idle.stub.StopRun(pb.StopRunRequest(run="a"))
    assert idle.start("a", SETTINGS, base="runs/old").resumed
    refused(lambda: idle.start("a", SETTINGS, base="runs/old@2"), WRONG_STATE, "base is 'runs/old@4'")

    idle.start("young", SETTINGS)
    for base, code, words in (
        ("runs/nobody", NOT_FOUND, "nobody"),
        ("runs/old@3", NOT_FOUND, "it has 2, 4"),
        ("models/nobody", NOT_FOUND, "nobody"),
        ("models/voice@7", NOT_FOUND, "no version 7"),
        ("runs/young", WRONG_STATE, "no checkpoint yet"),
        ("fresh/big", INVALID, "fresh/12x768x12"),
        ("runs/old@last", INVALID, "best"),
    ):
        refused(lambda base=base: idle.start("new", SETTINGS, base=base), code, words)
        refused(lambda base=base: idle.stub.GetBase(pb.GetBaseRequest(base=base)), code, words)
    path = idle.data / "checkpoint" / "old" / "step-4" / "model-4.index"
    path.write_text("x")
    refused(lambda: idle.start("new", SETTINGS, base="runs/old"), DATA_LOSS, str(path))
    assert not (idle.data / "checkpoint" / "new").exists()


def test_another_vocabulary_is_refused_by_both_names_with_the_remedy(idle: Service) -> None:
    write_tiny_dataset(idle.data, "other", end_of_text_first=True)
    refused(
        lambda: idle.start("a", SETTINGS, base="runs/old@best", dataset="other"),
        WRONG_STATE,
        "'other'",
        "'runs/old@2'",
        "build a dataset with vocabulary",
    )


def test_get_base_tells_what_a_word_means(idle: Service) -> None:
    def get(word: str) -> pb.Base:
        return idle.stub.GetBase(pb.GetBaseRequest(base=word)).base

    run, fresh = get("runs/old@best"), get("fresh/124M")
    assert (run.name, run.fresh, run.context, run.num_layers) == ("runs/old@2", False, CONFIG.n_ctx, CONFIG.n_layer)
    assert run.vocabulary_digest
    assert (fresh.name, fresh.fresh, fresh.width, fresh.vocabulary_size) == ("fresh/124M", True, 768, 16_384)


def test_a_run_is_repeated_with_everything_it_had(idle: Service) -> None:
    def repeat(run: str, new_run: str = "") -> pb.Run:
        return idle.stub.RepeatRun(pb.RepeatRunRequest(run=run, new_run=new_run)).run

    first = idle.start("a", SETTINGS | {"seed": 5}, base="runs/old@best").run
    assert first.dataset_digest and not first.environment
    shutil.rmtree(idle.data / "checkpoint" / "old")
    again = repeat("a")
    assert (again.name, again.state) == ("a-2", pb.RUN_STATE_PENDING)
    for field in ("base", "dataset", "dataset_digest", "num_parameters", "settings"):
        assert getattr(again, field) == getattr(first, field), field
    assert repeat("a", "named").name == "named"

    refused(lambda: repeat("nobody"), NOT_FOUND, "nobody")
    refused(lambda: repeat("a", "a-2"), TAKEN, "a-2")
    assert field_of(refused(lambda: repeat("a", "../x"), INVALID)) == "new_run"
    start = idle.data / "checkpoint" / "named" / "start" / "model.index"
    start.unlink()
    start.write_text("x")
    refused(lambda: repeat("named"), DATA_LOSS, "model.index")
    shutil.rmtree(idle.data / "datasets" / "tiny")
    refused(lambda: repeat("a"), NOT_FOUND, "tiny", "build it again")
    write_tiny_dataset(idle.data, texts=["Something else that is long enough to be learned from. " * 9] * 4)
    refused(lambda: repeat("a"), WRONG_STATE, "tiny", "digest")


def test_without_its_dataset_a_run_is_published_and_not_resumed(idle: Service) -> None:
    shutil.rmtree(idle.data / "datasets" / "tiny")
    version = idle.stub.PublishModel(pb.PublishModelRequest(checkpoint=pb.CheckpointSource(run="old"))).version
    assert (version.dataset, version.step) == ("tiny", 4)
    refused(lambda: idle.stub.ResumeRun(pb.ResumeRunRequest(run="old")), NOT_FOUND, "tiny", "runs/old")


def test_checkpoints_are_marked_and_told_apart(idle: Service) -> None:
    def mark(run: str, step: int, marked: bool = True) -> pb.Checkpoint:
        return idle.stub.MarkCheckpoint(pb.MarkCheckpointRequest(run=run, step=step, marked=marked)).checkpoint

    assert mark("old", 4).marked
    listed = idle.stub.ListCheckpoints(pb.ListCheckpointsRequest(run="old")).checkpoints
    assert [(one.step, one.best, one.marked) for one in listed] == [(2, True, False), (4, False, True)]
    assert not mark("old", 4, False).marked
    refused(lambda: mark("old", 3), NOT_FOUND, "it has 2, 4")
    refused(lambda: mark("nobody", 2), NOT_FOUND, "nobody")


def test_versions_are_kept_by_count_and_by_mark(idle: Service) -> None:
    def publish(step: int) -> pb.PublishModelResponse:
        return idle.stub.PublishModel(pb.PublishModelRequest(checkpoint=pb.CheckpointSource(run="old", step=step)))

    def mark(model: str, version: int, marked: bool = True) -> pb.ModelVersion:
        request = pb.MarkModelVersionRequest(model=model, version=version, marked=marked)
        return idle.stub.MarkModelVersion(request).version

    def versions() -> list[tuple[int, bool]]:
        (model,) = idle.stub.ListModels(pb.ListModelsRequest()).models
        return [(version.version, version.marked) for version in model.versions]

    assert publish(2).version.version == 1 and mark("old", 1).marked
    assert [list(publish(step).deleted_versions) for step in (4, 2, 4)] == [[], [], [2]]
    assert versions() == [(4, False), (3, False), (1, True)]
    assert not mark("old", 1, False).marked
    assert list(publish(2).deleted_versions) == [1, 3]
    refused(lambda: mark("old", 1), NOT_FOUND, "no version 1; it has 5, 4")
    refused(lambda: mark("nobody", 1), NOT_FOUND, "nobody")
    assert field_of(refused(lambda: mark("../x", 1), INVALID)) == "model"


def test_an_alias_means_a_version_and_keeps_it(idle: Service) -> None:
    def publish(step: int) -> pb.PublishModelResponse:
        return idle.stub.PublishModel(pb.PublishModelRequest(checkpoint=pb.CheckpointSource(run="old", step=step)))

    def name(alias: str, version: int | None, model: str = "old") -> pb.SetModelAliasResponse:
        return idle.stub.SetModelAlias(pb.SetModelAliasRequest(model=model, alias=alias, version=version))

    publish(2)
    assert list(name("stable", 1).version.aliases) == ["stable"]
    assert [list(publish(step).deleted_versions) for step in (4, 2, 4)] == [[], [], [2]]
    assert not name("stable", None).HasField("version")
    (model,) = idle.stub.ListModels(pb.ListModelsRequest()).models
    assert [list(version.aliases) for version in model.versions] == [[], [], []]
    refused(lambda: name("stable", 9), NOT_FOUND, "no version 9")
    assert field_of(refused(lambda: name("latest", 1), INVALID)) == "alias"
    assert field_of(refused(lambda: name("../x", 1), INVALID)) == "alias"
    assert field_of(refused(lambda: name("stable", 1, "../x"), INVALID)) == "model"


def test_a_run_trains_on_from_another_whose_folder_is_gone_and_is_repeated_bit_for_bit(idle: Service) -> None:
    learned = model.init_params(CONFIG, 3)
    step = idle.data / "checkpoint" / "old" / "step-9"
    step.mkdir()
    weights.write_weights(step, 9, learned, CONFIG)
    facts = {"created_at": "2020-01-01T00:00:00+00:00", "validation": None, "files": sha256_files(step)}
    write_json(step / "manifest.json", facts)
    settings = QUICK | {"steps": 1, "learning_rate": 1e-7, "warmup_steps": 0, "dropout": 0.0}
    idle.start("second", settings, base="runs/old")
    idle.stub.RepeatRun(pb.RepeatRunRequest(run="second", new_run="again"))
    idle.stub.DeleteRun(pb.DeleteRunRequest(run="old"))

    idle.trainer.start()
    for name in ("second", "again"):
        wait_for(lambda name=name: idle.get(name).state not in (pb.RUN_STATE_PENDING, pb.RUN_STATE_RUNNING))
        assert idle.get(name).state == pb.RUN_STATE_SUCCEEDED, idle.get(name).error
        assert idle.get(name).environment["python"] and idle.get(name).base == "runs/old@9"
    idle.trainer.begin_stop()
    idle.trainer.finish_stop(30.0)
    _, trained = weights.read_weights(idle.data / "checkpoint" / "second" / "step-1")
    assert 0 < max(abs(trained[name] - learned[name]).max() for name in learned) < 1e-5
    _, repeated = weights.read_weights(idle.data / "checkpoint" / "again" / "step-1")
    assert all((repeated[name] == trained[name]).all() for name in trained)


def test_a_best_is_published_while_the_run_goes_on(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path)
    with serving(tmp_path, training=True) as service:
        settings: dict[str, Any] = LONG | {
            "validate_every": 25,
            "save_every": 25,
            "keep_versions": 1,
            "publish": pb.PUBLISH_RULE_ON_BEST,
        }
        service.start("best", settings)
        wait_for(lambda: service.stub.ListModels(pb.ListModelsRequest()).models, "a best is published")
        assert service.get("best").state == pb.RUN_STATE_RUNNING
        service.stub.StopRun(pb.StopRunRequest(run="best"))
        assert service.watch("best")[-1].run.state == pb.RUN_STATE_CANCELLED
        (model,) = service.stub.ListModels(pb.ListModelsRequest()).models
        assert len(model.versions) == 1

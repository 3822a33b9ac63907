"""`nonesuch` and the library on the queue, repeats and marks, against services that answer from memory."""

from __future__ import annotations

import json

from protos import trainer_pb2
from services.client import Nonesuch
from tests.rpc.client.telling import add_run

PENDING, SUCCEEDED = trainer_pb2.RUN_STATE_PENDING, trainer_pb2.RUN_STATE_SUCCEEDED


def test_a_waiting_run_is_moved_to_a_place(run, fakes):
    add_run(fakes, state=PENDING)
    assert "run1: waits in the queue at place 2" in run("runs", "move", "run1", 2).stdout
    assert json.loads(run("runs", "move", "run1", 1, "--json").stdout)["queue_position"] == 1
    assert fakes.trainer.moved == [("run1", 2), ("run1", 1)]
    run("runs", "move", "run1", 0, status=2)
    add_run(fakes, state=SUCCEEDED)
    assert "not pending" in run("runs", "move", "run1", 1, status=1).stderr


def test_a_run_is_repeated_under_a_new_name(run, fakes):
    add_run(fakes, state=SUCCEEDED)
    assert "run1-2: waits in the queue" in run("runs", "repeat", "run1").stdout
    assert json.loads(run("runs", "repeat", "run1", "--as", "again", "--json").stdout)["name"] == "again"
    assert "no run 'run9'" in run("runs", "repeat", "run9", status=1).stderr


def test_show_tells_what_repeats_a_run(run, fakes):
    add_run(
        fakes,
        state=PENDING,
        environment={"tensorflow": "2.21.0", "processor": "A Good One"},
        dataset_digest="0123456789abcdef",
        ended_because="its last step, 3, is done",
        restarts=2,
        best_validation={"step": 2, "loss": 3.5},
    )
    shown = run("runs", "show", "run1").stdout
    for words in ("A Good One", "2.21.0", "0123456789ab", "its last step, 3, is done", "loss 3.500"):
        assert words in shown
    assert json.loads(run("runs", "show", "run1", "--json").stdout)["environment"]["tensorflow"] == "2.21.0"


def test_a_checkpoint_is_marked_and_the_list_says_so(run, fakes):
    add_run(fakes, state=PENDING)
    assert "run1@10 is kept" in run("checkpoints", "mark", "run1", 10).stdout
    assert "marked" in run("checkpoints", "list", "run1").stdout
    assert json.loads(run("checkpoints", "mark", "run1", 10, "--off", "--json").stdout)["marked"] is False
    assert "marked" not in run("checkpoints", "list", "run1").stdout
    assert "step 99" in run("checkpoints", "mark", "run1", 99, status=1).stderr


def test_a_version_is_marked_and_the_list_says_so(run, fakes):
    add_run(fakes, state=PENDING)
    run("models", "publish", "run1")
    assert "run1@1 is kept" in run("models", "mark", "run1@1").stdout
    assert "marked" in run("models", "list").stdout
    assert "run1@1 is no longer marked" in run("models", "mark", "run1@1", "--off").stdout
    assert "no version 9" in run("models", "mark", "run1@9", status=1).stderr
    assert "give the version's number" in run("models", "mark", "run1", status=2).stderr


def test_publishing_says_which_versions_went_for_it(run, fakes):
    add_run(fakes, state=PENDING)
    fakes.trainer.deleted_versions = [1, 2]
    assert "deleted run1@1, run1@2" in run("models", "publish", "run1").stderr


def test_training_on_a_run_takes_its_vocabulary(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.elsewhere["runs/run1@best"] = trainer_pb2.Base(name="runs/run1@20", context=64)
    fakes.trainer.elsewhere["fresh/2x8x2"] = trainer_pb2.Base(
        name="fresh/2x8x2", fresh=True, vocabulary_size=2048, context=1024
    )
    run("train", "--run", "run2", "--base", "runs/run1@best")
    run("train", "--run", "run3", "--base", "fresh/2x8x2")
    run("train", "--run", "run4", "--base", "runs/run1@best", "--context", 65, status=1)
    vocabularies = {entry["vocabulary"] for entry in json.loads(run("dataset", "list", "--json").stdout)}
    assert "runs/run1@20" in vocabularies
    assert [request.base for request in fakes.trainer.started] == ["runs/run1@best", "fresh/2x8x2"]


def test_a_dataset_that_is_learned_from_is_not_deleted_and_later_its_runs_are_named(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    name = json.loads(run("dataset", "build", "--vocabulary", "124M", "--json").stdout)["id"]
    add_run(fakes, state=PENDING, dataset=name)
    assert "run1 learns from dataset" in run("dataset", "delete", name, status=1).stderr
    add_run(fakes, state=SUCCEEDED, dataset=name)
    assert "run1: published as before, but not resumed or repeated" in run("dataset", "delete", name).stderr


def test_the_library_moves_repeats_and_marks(fakes):
    add_run(fakes, state=PENDING)
    with Nonesuch(fakes.settings) as nonesuch:
        assert nonesuch.move("run1", 3).queue_position == 3
        assert nonesuch.repeat("run1", "again").name == "again"
        assert nonesuch.mark_checkpoint("run1", 10).marked
        assert [checkpoint.marked for checkpoint in nonesuch.checkpoints("run1")] == [True, False]
        nonesuch.publish("run1")
        assert nonesuch.mark_model("run1", 1).marked
        assert not nonesuch.mark_model("run1", 1, marked=False).marked

"""`nonesuch train`: what is built and asked for, what is told meanwhile, and how it is stopped."""

from __future__ import annotations

import json
import threading

from protos import trainer_pb2
from services.client.commands.root import root
from tests.rpc.client.answers import POST_TEXT
from tests.rpc.client.telling import interrupt_when, metrics


def test_train_fetches_the_base_that_is_not_here(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    run("train", "--base", "345M")

    assert [request.base for request in fakes.trainer.fetch_requests] == ["345M"]
    assert fakes.trainer.started[0].base == "355M"
    run("train", "--base", "124M", "--run", "other")
    assert len(fakes.trainer.fetch_requests) == 1, "what is here is not fetched"


def test_train_builds_a_dataset_with_the_fresh_bases_vocabulary_size(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    result = run(
        "train",
        "--base",
        "micro",
        "--steps",
        "5",
        "--learning_rate",
        "0.001",
        "--publish",
        "at-end",
        "--json",
    )

    started = fakes.trainer.started[0]
    assert json.loads(result.stdout)["state"] == "RUNNING"
    assert fakes.tokenizer.datasets[started.dataset].vocabulary == "own-4096"
    assert (started.run, started.base, started.settings.steps) == ("run1", "micro", 5)
    assert started.settings.learning_rate == 0.001
    assert started.settings.publish == trainer_pb2.PUBLISH_RULE_AT_END
    assert not started.settings.HasField("seed")


def test_train_encodes_with_the_vocabulary_of_an_imported_base(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    run("train", "--base", "124M")

    assert fakes.tokenizer.datasets[fakes.trainer.started[0].dataset].vocabulary == "124M"


def test_train_refuses_a_context_beyond_the_base_before_it_builds_a_dataset(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    said = run("train", "--context", "100000", status=1).stderr

    assert "context is 100000: base 'nano' sees at most 256 tokens" in said
    assert not fakes.tokenizer.datasets


def test_train_names_the_bases_there_are(run):
    assert "there are nano, micro, 124M" in run("train", "--base", "giant", status=1).stderr


def test_train_without_posts_says_what_to_do(run):
    assert "add posts to it first" in run("train", status=1).stderr


def test_train_goes_on_with_the_runs_own_dataset_and_says_that_posts_have_changed(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    run("train")
    fakes.trainer.runs["run1"].state = trainer_pb2.RUN_STATE_CANCELLED
    fakes.corpus.posts["default"]["b.md"] = b"y"

    result = run("train")

    assert fakes.trainer.started[1].dataset == ""
    assert "the posts have changed since run1 began" in result.stderr


def test_a_folder_of_gpt_2_simple_goes_on_with_its_own_vocabulary(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.foreign = {"old"}
    run("train", "--run", "old", "--plan", "--no-probe")
    run("train", "--run", "old", "--minutes", "3")
    planned, started = fakes.trainer.planned[0].run, fakes.trainer.started[0]
    assert len(fakes.trainer.planned) == 1  # its minutes are no steps: it has some behind it
    for asked in (planned, started):
        assert asked.base == ""
        assert fakes.tokenizer.datasets[asked.dataset].vocabulary == "runs/old"
    before = len(fakes.tokenizer.datasets)
    run("train", "--run", "old", "--base", "micro")
    assert fakes.trainer.started[1].base == "micro" and fakes.trainer.started[1].dataset == ""  # to be refused
    assert len(fakes.tokenizer.datasets) == before


def test_train_says_that_a_run_is_finished_rather_than_started(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    run("train")
    fakes.trainer.runs["run1"].state = trainer_pb2.RUN_STATE_SUCCEEDED

    said = run("train").stdout

    assert "run1: finished" in said
    assert "started" not in said


def test_train_refuses_other_settings_for_a_run_that_exists(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    run("train", "--steps", "5")

    assert "has steps=5" in run("train", "--steps", "6", status=1).stderr
    assert "exists" in run("train", "--fresh", status=1).stderr


def test_train_follow_prints_the_line_of_the_2019_script(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.script = [
        metrics(1),
        trainer_pb2.RunUpdate(sample={"run": "run1", "step": 1, "index": 1, "text": POST_TEXT}),
        metrics(2),
        trainer_pb2.RunUpdate(
            validation={"step": 2, "loss": 2.5, "bits_per_byte": 1.5, "perplexity": 12, "token_accuracy": 0.25}
        ),
        trainer_pb2.RunUpdate(checkpoint={"run": "run1", "step": 2, "size_bytes": 2048}),
    ]

    lines = run("train", "--follow").stdout.splitlines()

    assert lines[0] == "[1 | 1.50] loss=3.00 avg=3.25"
    assert lines[1] == "======== SAMPLE 1 ========"
    assert lines[2] == "title: The heron"
    assert "[2 | 3.00] loss=3.00 avg=3.25" in lines
    assert lines[-2:] == [
        "[2] validation loss=2.500 bits/byte=1.500 perplexity=12.0 accuracy=25.0% (best so far)",
        "[2] saved checkpoint (2.0 KiB)",
    ]


def test_train_follow_goes_on_from_the_last_cursor_after_a_break(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.script = [metrics(1), metrics(2), metrics(3)]
    fakes.trainer.break_after = 2

    lines = run("train", "--follow").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["[1", "[2", "[3"]
    assert fakes.trainer.watched_from == [0, 2]


def test_train_follow_with_json_prints_json_lines_alone(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.script = [metrics(1)]

    updates = [json.loads(line) for line in run("train", "--follow", "--json").stdout.splitlines()]

    assert updates[1]["metrics"]["step"] == 1
    assert updates[-1]["run"]["state"] == "SUCCEEDED"


def test_train_follow_fails_with_the_run(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.end_state = trainer_pb2.RUN_STATE_FAILED

    assert "nonesuch runs resume run1" in run("train", "--follow", status=1).stderr


def test_the_first_interrupt_of_train_stops_the_run_and_says_how_to_go_on(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.script = [metrics(1)]
    fakes.trainer.hold = True
    interrupt_when(fakes.trainer.watching)

    result = run("train", "--follow", status=130)

    assert fakes.trainer.runs["run1"].state == trainer_pb2.RUN_STATE_CANCELLED
    assert "saved at step 1; go on with the same command" in result.stderr


def test_the_second_interrupt_of_train_leaves_at_once(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.hold = True
    asked = threading.Event()

    fakes.trainer.ignores_stop = asked
    interrupt_when(fakes.trainer.watching, asked)

    result = run("train", "--follow", status=130)

    assert "left run1" in result.stderr
    assert fakes.trainer.runs["run1"].state == trainer_pb2.RUN_STATE_RUNNING


def test_train_plan_prints_what_the_run_would_do_and_starts_nothing(run, fakes):
    result = run("train", "--plan", "--dataset", "d1", "--steps", 40)
    for words in ("1,000,000", "3.0 GiB of 8.0 GiB", "384 tokens in 3 rounds", "60 s", "500 ms (tried)", "100 passes"):
        assert words in result.stdout
    assert result.stdout.index("activations") < result.stdout.index("weights")
    assert fakes.trainer.planned[0].run.settings.steps == 40
    assert not fakes.trainer.started
    told = json.loads(run("train", "--plan", "--no-probe", "--dataset", "d1", "--json").stdout)
    assert told["memory_bytes"]["weights"] == 4_000_000
    assert told["is_measured"] is False


def test_train_plan_of_a_base_that_is_not_here_fetches_nothing(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    def vocabulary_of_the_plan():
        return fakes.tokenizer.datasets[fakes.trainer.planned[-1].run.dataset].vocabulary

    run("train", "--plan", "--base", "345M")
    assert fakes.trainer.planned[0].run.base == "345M"
    assert vocabulary_of_the_plan() == "124M"  # of the same size
    fakes.trainer.bases.pop()
    run("train", "--plan", "--base", "355M")
    assert vocabulary_of_the_plan() == "own-2048"
    assert "no base model 'someone/tiny'" in run("train", "--plan", "--base", "someone/tiny", status=1).stderr
    assert not fakes.trainer.fetch_requests


def test_minutes_alone_become_as_many_steps_as_there_is_time_for(run, fakes):
    run("train", "--dataset", "d1", "--minutes", 3)
    started = fakes.trainer.started[0].settings
    assert (started.steps, started.minutes) == (300, 3.0)  # a hundred steps take a minute
    assert not fakes.trainer.planned[0].run.settings.HasField("minutes")
    run("train", "--run", "other", "--dataset", "d1", "--minutes", 3, "--steps", 7)
    assert fakes.trainer.started[1].settings.steps == 7
    assert len(fakes.trainer.planned) == 1


def test_while_a_run_trains_minutes_become_steps_by_an_estimate(run, fakes):
    fakes.trainer.busy = True
    run("train", "--dataset", "d1", "--minutes", 2)
    assert fakes.trainer.started[0].settings.steps == 200
    assert fakes.trainer.planned[0].skip_probe


def test_a_run_shown_as_toml_starts_another_like_it(run, fakes, tmp_path):
    run("train", "--dataset", "d1", "--steps", 7, "--schedule", "linear", "--sample-prompts", "Dear")
    path = tmp_path / "run.toml"
    path.write_text(run("runs", "show", "run1", "--toml").stdout)
    run("train", "--config", path, "--run", "again")
    first, again = fakes.trainer.started
    assert (again.run, again.dataset, again.settings) == ("again", "d1", first.settings)


def test_every_run_setting_has_an_option():
    options = {parameter.name for parameter in root.commands["train"].params}

    assert {field.name for field in trainer_pb2.RunSettings.DESCRIPTOR.fields} <= options

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from protos import corpus_pb2, generator_pb2, trainer_pb2
from services.client import Nonesuch
from services.client.commands import status
from services.client.commands.root import root
from services.common.errors import Busy, NotFound, Unavailable
from services.common.settings import CommonSettings
from tests.rpc.client_fakes import POST_TEXT, WAIT_S, Fakes

DEAD = "127.0.0.1:1"  # nothing listens there


@pytest.fixture
def fakes():
    made = Fakes()
    yield made
    made.stop()


@pytest.fixture
def run(fakes):
    def invoke(*arguments, status=0, stdin=None, **environment):
        result = CliRunner().invoke(
            root, [str(each) for each in arguments], input=stdin, env=fakes.environment | environment
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def blog(tmp_path):
    folder = tmp_path / "blog"
    (folder / "old").mkdir(parents=True)
    (folder / "a.md").write_text("# A\n\nfirst post")
    (folder / "old" / "b.markdown").write_text("second post, " * 50_000)
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


def metrics(step):
    measured = trainer_pb2.Metrics(step=step, seconds=step * 1.5, loss=3.0, average_loss=3.25, tokens_per_second=1000)
    return trainer_pb2.RunUpdate(metrics=measured)


def add_run(fakes, name="run1", state=trainer_pb2.RUN_STATE_RUNNING, **values):
    run = trainer_pb2.Run(name=name, state=state, base="nano", dataset="d", settings={"steps": 3}, **values)
    fakes.trainer.runs[name] = run
    return run


def interrupt_when(*conditions):
    """Press Ctrl-C each time one of the events has happened, in order."""

    def press():
        for happened in conditions:
            if happened.wait(WAIT_S):
                os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()


# posts


def test_posts_add_sends_each_post_once_and_reports_what_was_left_out(run, fakes, blog):
    first = run("posts", "add", blog)
    second = run("posts", "add", blog)

    assert fakes.corpus.posts["default"]["old/b.markdown"] == (blog / "old" / "b.markdown").read_bytes()
    assert "2 added" in first.stdout
    assert "1 file of another kind (1 .png)" in first.stdout
    assert "2 unchanged" in second.stdout
    assert fakes.corpus.received == []


def test_posts_add_sends_only_what_changed(run, fakes, blog):
    run("posts", "add", blog)
    (blog / "a.md").write_text("rewritten")

    result = run("posts", "add", blog)

    assert fakes.corpus.received == ["a.md"]
    assert "1 changed, 1 unchanged" in result.stdout


def test_posts_add_prune_removes_what_is_gone(run, fakes, blog):
    run("posts", "add", blog, "--corpus", "blog")
    (blog / "a.md").unlink()

    result = run("posts", "add", blog, "--corpus", "blog", "--prune", "--json")

    assert json.loads(result.stdout)["num_removed"] == 1
    assert list(fakes.corpus.posts["blog"]) == ["old/b.markdown"]


def test_pruning_with_an_empty_folder_is_refused(run, fakes, blog, tmp_path):
    run("posts", "add", blog)
    (tmp_path / "empty").mkdir()

    result = run("posts", "add", tmp_path / "empty", "--prune", status=1)

    assert "would remove every post" in result.stderr
    assert len(fakes.corpus.posts["default"]) == 2


def test_posts_add_says_when_there_is_nothing_to_learn_from(run, tmp_path):
    (tmp_path / "code.py").write_text("print()")

    result = run("posts", "add", tmp_path, status=1)

    assert "no document" in result.stderr


def test_posts_list_turns_all_pages(run, fakes):
    fakes.corpus.posts["default"] = {f"{number}.md": b"x" for number in range(5)}

    listed = json.loads(run("posts", "list", "--json").stdout)
    table = run("posts", "list").stdout

    assert [post["path"] for post in listed] == [f"{number}.md" for number in range(5)]
    assert table.splitlines()[0].split() == ["PATH", "DATE", "WORDS", "TITLE", "STATE"]
    assert len(table.splitlines()) == 6


def test_posts_show_prints_document_or_source(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"text \xff"}

    assert "Title of a.md" in run("posts", "show", "a.md").stdout
    assert run("posts", "show", "a.md", "--source").stdout_bytes == b"text \xff"
    assert json.loads(run("posts", "show", "a.md", "--json").stdout)["post"]["included"] is True


def test_posts_show_before_after_prints_source_document_and_what_each_rule_did(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"*text*\x1b[2J"}

    shown = run("posts", "show", "a.md", "--before-after").stdout
    effects = json.loads(run("posts", "show", "a.md", "--before-after", "--json").stdout)["effects"]

    parts = ["before: the author's file", "*text*", "after: the document", "keep_code is true", "+code"]
    parts += ["rules that make no difference here: keep_maths (true)", "not compared: secrets: it took more than 5 s"]
    assert [shown.find(part) for part in parts] == sorted(shown.find(part) for part in parts)
    assert shown.find(parts[0]) >= 0
    assert "\x1b" not in shown
    assert [effect["rule"] for effect in effects] == ["keep_code", "keep_maths", "secrets"]
    assert "choose one" in run("posts", "show", "a.md", "--before-after", "--source", status=2).stderr


def test_posts_are_taken_and_left_out_by_hand(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x", "b.md": b"y"}

    assert "a.md: left out" in run("posts", "leave-out", "a.md").stdout
    assert json.loads(run("posts", "list", "--json").stdout)[0]["override"] == "EXCLUDE"
    assert "a.md: taken" in run("posts", "take", "a.md", "b.md").stdout
    assert json.loads(run("posts", "reset", "a.md", "--json").stdout)[0]["override"] == "UNSPECIFIED"
    assert "no post 'z.md'" in run("posts", "take", "z.md", status=1).stderr


def test_corpora_are_listed_shown_and_deleted(run, fakes):
    fakes.corpus.posts = {name: {"a.md": b"x"} for name in ("one", "three", "two")}

    assert [entry["name"] for entry in json.loads(run("corpus", "list", "--json").stdout)] == ["one", "three", "two"]
    assert "three" in run("corpus", "list").stdout
    assert "documents" in run("corpus", "show", "--corpus", "one").stdout
    assert run("corpus", "snapshots", "--corpus", "one").stdout.count("\n") == 4
    run("corpus", "delete", "--corpus", "two", "--yes")
    assert list(fakes.corpus.posts) == ["one", "three"]
    assert "no corpus 'two'" in run("corpus", "show", "--corpus", "two", status=1).stderr


def test_corpus_rules_are_shown_changed_and_reset(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x", "b.md": b"y"}

    shown = run("corpus", "rules").stdout
    names = [field.name for field in corpus_pb2.CleaningRules.DESCRIPTOR.fields]
    assert all(name in shown for name in names)
    assert "after 2019-09-01 are future ones" in shown

    said = run(
        *("corpus", "rules", "--set", "keep_code=false", "--set", "exclude-paths=a.md, c.md"),
        *("--set", "secrets=leave-out", "--set", "near_duplicate_similarity=0.9", "--set", "first_date=2019-01-01"),
    ).stdout
    rules = fakes.corpus.rules["default"]
    assert said.startswith("0 posts came in, 1 post went out; corpus default: 1 document")
    assert (rules.keep_code, list(rules.exclude_paths), rules.secrets, rules.near_duplicate_similarity) == (
        False,
        ["a.md", "c.md"],
        corpus_pb2.SECRET_HANDLING_LEAVE_OUT,
        0.9,
    )
    table = {line.split()[0]: line for line in run("corpus", "rules").stdout.splitlines() if line}
    assert table["keep_code"].split()[1:3] == ["false", "true"]
    assert "leave_out" in table["secrets"] and "a.md, c.md" in table["exclude_paths"]

    run("corpus", "rules", "--set", "exclude_paths=")
    assert not fakes.corpus.rules["default"].exclude_paths and not fakes.corpus.rules["default"].keep_code
    run("corpus", "rules", "--reset", "--set", "keep_maths=off")
    assert fakes.corpus.rules["default"] == corpus_pb2.CleaningRules(keep_maths=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("keep_coffee=true", "sets no rule"),
        ("keep_code", "sets no rule"),
        ("keep_code=perhaps", "write true or false"),
        ("secrets=shout", "write mask, leave_out, keep"),
        ("near_duplicate_similarity=much", "write a number"),
    ],
)
def test_a_rule_that_is_none_changes_nothing(run, fakes, words, said):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    assert said in run("corpus", "rules", "--set", words, status=1).stderr
    assert fakes.corpus.rules == {}


def test_posts_remove_names_an_unknown_post(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    assert "no post 'b.md'" in run("posts", "remove", "b.md", status=1).stderr
    assert "1 post removed" in run("posts", "remove", "a.md").stdout


# datasets, bases


def test_dataset_build_waits_over_a_broken_stream(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.tokenizer.breaks = 1

    built = json.loads(run("dataset", "build", "--vocabulary", "own:512", "--json").stdout)

    assert built["state"] == "SUCCEEDED"
    assert built["vocabulary_size"] == 512


def test_dataset_build_passes_a_failure_on(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.tokenizer.build_error = "the disk is full"

    assert "the disk is full" in run("dataset", "build", status=1).stderr


def test_dataset_list_show_and_delete(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    name = json.loads(run("dataset", "build", "--vocabulary", "124M", "--json").stdout)["id"]

    assert name in run("dataset", "list").stdout
    assert json.loads(run("dataset", "list", "--json").stdout)[0]["vocabulary"] == "124M"
    assert name in run("dataset", "show", name).stdout
    run("dataset", "delete", name)
    assert f"no dataset {name!r}" in run("dataset", "show", name, status=1).stderr


def test_a_vocabulary_size_that_is_no_number_is_wrong_usage(run):
    assert "own:SIZE" in run("dataset", "build", "--vocabulary", "own:big", status=2).stderr


def test_an_own_vocabulary_has_the_size_that_training_asks_for(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.bases[0].vocabulary_size = 1234

    built = json.loads(run("dataset", "build", "--json").stdout)
    run("train")

    assert fakes.trainer.started[0].dataset == built["id"]
    assert built["vocabulary"] == "own-1234"


def test_bases_import_sends_the_files_of_the_layout(run, fakes, tmp_path):
    folder = tmp_path / "117M"
    folder.mkdir()
    for name in (
        "checkpoint",
        "hparams.json",
        "encoder.json",
        "vocab.bpe",
        "model.ckpt.index",
        "model.ckpt.meta",
    ):
        (folder / name).write_text(name)
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(bytes(700_000))
    (folder / "notes.txt").write_text("mine")

    run("bases", "import", folder)
    again = run("bases", "import", folder, status=1)

    assert "117M" in run("bases", "list").stdout
    assert len(fakes.trainer.imported["model.ckpt.data-00000-of-00001"]) == 700_000
    assert not {"notes.txt", "model.ckpt.meta"} & set(fakes.trainer.imported)
    assert "exists" in again.stderr
    run("bases", "delete", "117M")
    assert "117M" not in run("bases", "list").stdout


def test_bases_import_sends_a_folder_of_hugging_face(run, fakes, tmp_path):
    for name in ("config.json", "model.safetensors", "vocab.json", "merges.txt", "README.md", "pytorch_model.bin"):
        (tmp_path / name).write_text(name)

    run("bases", "import", tmp_path, "--name", "theirs")

    assert set(fakes.trainer.imported) == {"config.json", "model.safetensors", "vocab.json", "merges.txt"}


def test_bases_list_shows_what_can_be_fetched_and_what_is_being_fetched(run, fakes):
    fakes.trainer.fetches = [
        trainer_pb2.Fetch(
            name="someone--tiny",
            state=trainer_pb2.FETCH_STATE_RUNNING,
            phase=trainer_pb2.FETCH_PHASE_DOWNLOADING,
            bytes_done=25,
            bytes_total=100,
        )
    ]

    listed = run("bases", "list").stdout

    assert "355M" in listed and "to fetch: 1.0 GB" in listed
    assert "fetching: 25%" in listed
    names = [base["name"] for base in json.loads(run("bases", "list", "--json").stdout)]
    assert names == ["nano", "micro", "124M", "355M", "someone--tiny"]


def test_bases_fetch_waits_until_the_base_is_here_and_tells_what_went_wrong_meanwhile(run, fakes):
    fakes.trainer.fetch_script = [
        trainer_pb2.Fetch(
            state=trainer_pb2.FETCH_STATE_RUNNING,
            phase=trainer_pb2.FETCH_PHASE_DOWNLOADING,
            bytes_done=5,
            bytes_total=10,
            remarks=["the hub answers 503; trying again in 1 s"],
        )
    ] * 2

    result = run("bases", "fetch", "345M", "--from", "hub", "--as", "mine")

    assert "base mine: 1,000 parameters" in result.stdout
    assert "fetching mine" in result.stderr and result.stderr.count("503") == 1
    [request] = fakes.trainer.fetch_requests
    assert (request.base, request.name, request.source) == ("345M", "mine", trainer_pb2.FETCH_SOURCE_HUB)
    assert json.loads(run("bases", "fetch", "someone/tiny", "--json").stdout)["name"] == "someone--tiny"


def test_a_failed_fetch_says_why_and_how_to_go_on(run, fakes):
    fakes.trainer.fetch_error = "http://hub/x answers with a page"

    stderr = run("bases", "fetch", "355M", status=1).stderr

    assert "answers with a page" in stderr and "nonesuch bases fetch 355M" in stderr


def test_an_interrupt_of_a_fetch_cancels_it_and_says_that_the_same_command_goes_on(run, fakes):
    fakes.trainer.holds_fetch = True
    interrupt_when(fakes.trainer.fetch_waits)

    assert "the same command goes on" in run("bases", "fetch", "355M", status=130).stderr
    assert fakes.trainer.fetch_cancelled.wait(WAIT_S)


def test_bases_cancel_stops_a_fetch(run, fakes):
    assert "go on with" in run("bases", "cancel", "355M").stdout
    assert "nothing is kept" in run("bases", "cancel", "355M", "--discard").stdout


# train


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


def test_numbers_that_the_wire_cannot_hold_are_refused_by_name(run, fakes):
    assert "--steps" in run("train", "--steps", 2**40, status=2).stderr
    assert "own:SIZE" in run("dataset", "build", "--vocabulary", f"own:{2**40}", status=2).stderr
    assert "so many versions" in run("models", "delete", f"run1@{2**40}", status=1).stderr
    assert "so many versions" in run("generate", "--model", f"run1@{2**40}", status=1).stderr
    assert "--cursor" in run("runs", "watch", "run1", "--cursor", 2**70, status=2).stderr


def test_an_argument_that_is_not_utf8_is_named(fakes):
    for arguments in (["posts", "remove", b"caf\xe9.md"], ["runs", "show", b"caf\xe9"], ["generate", b"caf\xe9"]):
        ended = subprocess.run(
            [sys.executable, "-m", "services.client", *arguments],
            env={**os.environ, **fakes.environment}, capture_output=True, text=True,
        )  # fmt: skip
        assert ended.returncode in (1, 2)
        assert "Traceback" not in ended.stderr
        assert "utf-8" in ended.stderr.lower()


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


# runs, checkpoints, samples


def test_runs_list_and_show(run, fakes):
    add_run(fakes, step=2, num_parameters=1000)

    assert "RUNNING" in run("runs", "list").stdout
    assert json.loads(run("runs", "list", "--json").stdout)[0]["settings"]["steps"] == 3
    assert "2 of 3" in run("runs", "show", "run1").stdout
    assert "no run 'run9'" in run("runs", "show", "run9", status=1).stderr


def test_runs_watch_only_leaves_on_interrupt(run, fakes):
    add_run(fakes)
    fakes.trainer.hold = True
    interrupt_when(fakes.trainer.watching)

    result = run("runs", "watch", "run1")

    assert "run1 goes on" in result.stderr
    assert not fakes.trainer.stopped.is_set()


def test_runs_watch_shows_the_last_steps_or_all(run, fakes):
    fakes.trainer.script = [metrics(step) for step in range(1, 31)]

    add_run(fakes, step=30)
    recent = run("runs", "watch", "run1").stdout.splitlines()
    add_run(fakes, step=30)
    everything = run("runs", "watch", "run1", "--all").stdout.splitlines()

    assert recent[0].startswith("[21 |")
    assert everything[0].startswith("[1 |")


def validation(step, loss):
    return trainer_pb2.RunUpdate(validation={"step": step, "loss": loss, "bits_per_byte": loss / 2})


def test_a_validation_says_how_it_stands_against_those_before_also_after_a_resume(run, fakes):
    fakes.trainer.script = [validation(2, 3.0), validation(4, 2.0), validation(4, 2.0), validation(6, 2.5)]
    add_run(fakes)

    lines = run("runs", "watch", "run1", "--all").stdout.splitlines()

    standings = [line.split("% ")[1] for line in lines]
    assert standings == ["(best so far)", "(best so far)", "(best so far)", "(best: 2.000 at step 4)"]


def test_off_a_terminal_progress_is_told_at_every_tenth(run, fakes):
    fakes.trainer.script = [metrics(step) for step in range(1, 21)]
    fakes.trainer.script[9].metrics.remaining_seconds = 100
    fakes.trainer.script[9].metrics.mfu = 0.5
    add_run(fakes).settings.steps = 20

    told = [line for line in run("runs", "watch", "run1", "--all").stderr.splitlines() if "step" in line]

    assert sum("tokens/s" in line for line in told) == 10
    assert any("step 10 of 20, loss 3.25" in line and line.endswith("MFU 50% · 1 min 40 s to go") for line in told), (
        told
    )


def test_runs_compare_sets_runs_side_by_side(run, fakes):
    fakes.trainer.script = [metrics(1), validation(1, 3.0), metrics(2), validation(2, 2.0), metrics(3)]
    for name, rate in (("run1", 0.1), ("run2", 0.2)):
        add_run(fakes, name, state=trainer_pb2.RUN_STATE_SUCCEEDED, step=3)
        fakes.trainer.runs[name].settings.learning_rate = rate

    said = run("runs", "compare", "run1", "run2").stdout
    values = json.loads(run("runs", "compare", "run1", "run2", "--json").stdout)

    rows = {line[:20].strip(): line.split()[-2:] for line in said.splitlines()}
    assert rows["learning rate"] == ["0.1", "0.2"]
    assert "base" not in rows and "Average loss by step" in said
    assert values["differing_settings"] == {"learning_rate": ["0.1", "0.2"]}
    assert [at["step"] for at in values["metrics_at_common_steps"]] == [1, 2, 3]
    assert [found["best_validation"]["step"] for found in values["runs"]] == [2, 2]
    assert "two runs" in run("runs", "compare", "run1", "run1", status=2).stderr
    assert "no run 'run9'" in run("runs", "compare", "run1", "run9", status=1).stderr


def test_runs_compare_does_not_wait_for_a_run_that_trains(run, fakes):
    fakes.trainer.script = [metrics(1), metrics(2)]
    fakes.trainer.hold = True
    for name in ("run1", "run2"):
        add_run(fakes, name, step=2)

    values = json.loads(run("runs", "compare", "run1", "run2", "--json").stdout)

    assert [at["step"] for at in values["metrics_at_common_steps"]] == [1, 2]
    assert {found["run"]["state"] for found in values["runs"]} == {"RUNNING"}


def test_an_end_in_the_past_of_a_resumed_run_does_not_end_the_watch(run, fakes):
    past = trainer_pb2.RunUpdate(run={"name": "run1", "state": trainer_pb2.RUN_STATE_CANCELLED})
    fakes.trainer.script = [metrics(1), past, metrics(2)]
    add_run(fakes)

    result = run("runs", "watch", "run1", "--all")

    assert [line.split()[0] for line in result.stdout.splitlines()] == ["[1", "[2"]
    assert "stopped" not in result.stderr


def test_runs_stop_resume_and_delete(run, fakes):
    add_run(fakes)

    assert "run1: stopped" in run("runs", "stop", "run1").stdout
    assert "run1: training" in run("runs", "resume", "run1").stdout
    run("runs", "delete", "run1")
    assert fakes.trainer.runs == {}


def test_checkpoints_list_and_delete(run, fakes):
    add_run(fakes)

    assert "run1@20" in run("checkpoints", "list", "run1").stdout
    run("checkpoints", "delete", "run1@20")
    assert [entry["step"] for entry in json.loads(run("checkpoints", "list", "run1", "--json").stdout)] == [10]
    run("checkpoints", "delete", "run1", status=2)
    assert "no checkpoint at step 99" in run("checkpoints", "delete", "run1@99", status=1).stderr


def test_samples_list_and_show_the_newest(run, fakes):
    add_run(fakes)

    assert run("samples", "list", "run1").stdout.count("The heron") == 3
    assert run("samples", "show", "run1").stdout == f"{POST_TEXT} 20.1\n"
    assert run("samples", "show", "run1", "--step", "10").stdout.startswith("======== SAMPLE 1 ========\ntitle:")
    assert "samples of step 10, 20" in run("samples", "show", "run1", "--step", "15", status=1).stderr


def test_samples_export_writes_the_2019_layout_or_markdown(run, fakes, tmp_path):
    add_run(fakes)

    run("samples", "export", "run1", "--output", tmp_path / "out")
    again = run("samples", "export", "run1", "--output", tmp_path / "out", status=1)
    run("samples", "export", "run1", "--output", tmp_path / "out", "--format", "md")

    assert (tmp_path / "out" / "samples-10").read_text().count("======== SAMPLE") == 2
    assert "is there already" in again.stderr
    markdown = (tmp_path / "out" / "sample-20-1.md").read_text()
    assert markdown.startswith('---\ntitle: "The heron"\ndate: 2019-09-01\ntags: ["birds", "water"]\n---\n\nIt stood')


# models


def test_models_publish_list_rollback_and_delete(run, fakes):
    add_run(fakes)

    assert "published run1@1, from run1@20" in run("models", "publish", "run1").stdout
    assert "published run1@2, from run1@10" in run("models", "publish", "run1@10").stdout
    assert "published big@1" in run("models", "publish", "--base", "124M", "--model", "big").stdout
    assert [line.split()[0] for line in run("models", "list").stdout.splitlines()] == [
        "MODEL",
        "big@1",
        "run1@2",
        "run1@1",
    ]
    assert "run1@1, from run1@20 serves again" in run("models", "rollback", "run1").stdout
    assert "one version only" in run("models", "rollback", "run1", status=1).stderr
    run("models", "delete", "big@1")
    run("models", "delete", "run1")
    assert [model["name"] for model in json.loads(run("models", "list", "--json").stdout)] == ["big"]


def test_models_publish_wants_one_source(run):
    run("models", "publish", status=2)
    run("models", "publish", "run1", "--base", "nano", status=2)
    run("models", "publish", "run1@last", status=2)


# tokens


def test_tokens_go_there_and_back(run):
    assert run("tokens", "encode", "hé").stdout == "104 195 169\n"
    assert run("tokens", "decode", "104", "195", "169").stdout == "hé\n"
    assert run("tokens", "encode", "--json", stdin="hi").stdout_bytes == b'{\n  "ids": [\n    104,\n    105\n  ]\n}\n'
    assert run("tokens", "decode", stdin="[104, 105]").stdout == "hi\n"
    assert run("tokens", "count", "hé").stdout == "3 tokens, 3 bytes\n"
    assert json.loads(run("tokens", "count", "hé", "--json").stdout)["num_bytes"] == 3
    assert "'x' is not a token id" in run("tokens", "decode", "x", status=2).stderr


def test_tokens_without_any_vocabulary_say_how_to_get_one(run, fakes):
    fakes.tokenizer.vocabularies = []

    assert "nonesuch dataset build" in run("tokens", "encode", "x", status=1).stderr
    assert "no vocabulary 'gpt9'" in run("tokens", "encode", "x", "--vocabulary", "gpt9", status=1).stderr


# generate


def test_generate_prints_the_text_alone(run):
    assert run("generate").stdout == f"{POST_TEXT} (0)\n"


def test_generate_sends_every_parameter(run, fakes):
    run(
        *("generate", "Once", "-n", 2, "--length", 5, "--temperature", 0.5, "--top-k", 3, "--top-p", 0.9),
        *("--seed", 2**63, "--stop", "END", "--stop", "\n\n", "--stop-id", 7, "--logit-bias", "5=-1.5"),
        *("--model", "run1@3", "--best-of", 4, "--slide", "--echo", "--ignore-end-of-text", "--json"),
    )

    request = fakes.generator.requests[0]
    assert (request.prompt, request.n, request.max_new_tokens, request.best_of) == ("Once", 2, 5, 4)
    assert (request.model, request.version, request.seed) == ("run1", 3, 2**63)
    assert list(request.stop) == ["END", "\n\n"]
    assert list(request.stop_ids) == [7]
    assert dict(request.sampling.logit_bias) == {5: -1.5}
    assert request.slide and request.echo and request.ignore_end_of_text
    assert not request.sampling.HasField("min_p")


def test_every_generate_field_has_an_option():
    options = {parameter.name for parameter in root.commands["generate"].params}
    fields = {field.name for field in generator_pb2.GenerateRequest.DESCRIPTOR.fields}
    fields |= {field.name for field in generator_pb2.SamplingParameters.DESCRIPTOR.fields}
    # The version stands in --model NAME@VERSION; ids as a prompt are for programs.
    assert fields - options == {"version", "alias", "sampling", "n", "prompt_ids"}


def test_generate_separates_several_samples(run):
    lines = run("generate", "-n", 2).stdout.splitlines()

    assert [line for line in lines if line.startswith("=")] == [
        "======== SAMPLE 1 ========",
        "======== SAMPLE 2 ========",
    ]


def test_generate_stream_prints_sample_after_sample(run):
    streamed = run("generate", "-n", 2, "--stream").stdout

    assert streamed == run("generate", "-n", 2).stdout


def test_generate_json_is_one_document_and_streams_are_lines(run):
    whole = json.loads(run("generate", "--json").stdout)
    deltas = [json.loads(line) for line in run("generate", "--stream", "--json").stdout.splitlines()]

    assert whole["samples"][0]["finish_reason"] == "END_OF_TEXT"
    assert list(deltas[0]) == ["start"]
    assert "".join(delta["text"]["text"] for delta in deltas if "text" in delta) == whole["samples"][0]["text"]
    assert list(deltas[-1]) == ["done"]


def test_generate_names_the_field_of_a_bad_parameter(run):
    result = run("generate", "--top-p", 2, status=1)

    assert "error: must be above 0 and at most 1 (field sampling.top_p)" in result.stderr
    assert result.stdout == ""


def test_generate_waits_when_the_queue_is_full(run, fakes):
    fakes.generator.busy = 2

    assert run("generate").stdout == f"{POST_TEXT} (0)\n"


def test_generate_wait_is_patient_with_a_model_that_is_not_there_yet(run, fakes):
    fakes.generator.unpublished = 1
    assert "no model 'new'" in run("generate", "--model", "new", status=1).stderr

    fakes.generator.unpublished = 1
    assert run("generate", "--model", "new", "--wait").stdout == f"{POST_TEXT} (0)\n"


def test_generate_forever_goes_on_until_interrupt_with_a_new_seed_each_round(run, fakes):
    interrupt_when(fakes.generator.answered)

    result = run("generate", "--forever", "--seed", 5, "--json", status=130)

    assert [request.seed for request in fakes.generator.requests][:3] == [5, 6, 7]
    assert all(json.loads(line)["samples"] for line in result.stdout.splitlines())


def test_an_interrupt_ends_a_stream_and_keeps_what_was_written(run, fakes):
    fakes.generator.hold = True
    interrupt_when(fakes.generator.answered)

    result = run("generate", "--stream", status=130)

    assert f"{POST_TEXT} (0)\n".startswith(result.stdout.rstrip("\n"))


def test_generate_min_words_draws_again_and_says_when_it_gives_up(run, fakes):
    assert run("generate", "--min-words", 5, "--seed", 3).stdout == f"{POST_TEXT} (0)\n"
    assert [request.seed for request in fakes.generator.requests] == [3]

    result = run("generate", "--min-words", 500, "--seed", 3, status=1)
    assert "fewer than 500 words" in result.stderr
    assert [request.seed for request in fakes.generator.requests][1:4] == [3, 4, 5]


def test_generate_interactive_answers_each_line(run, fakes):
    result = run("generate", "--interactive", stdin="One\n\nTwo\n")

    assert [request.prompt for request in fakes.generator.requests] == ["One", "Two"]
    assert result.stdout == f"{POST_TEXT} (0)\n" * 2


def test_generate_reads_a_prompt_from_standard_input(run, fakes):
    run("generate", "-", stdin="title: Ünder\n")

    assert fakes.generator.requests[0].prompt == "title: Ünder\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--forever", "--interactive"),
        ("--interactive", "Once"),
        ("--stream", "--best-of", "2"),
        ("--length", "99999999999"),
        ("--seed", "-1"),
        ("--logit-bias", "5"),
        ("--generator", "nowhere"),
        ("-n", "0"),
        ("--min-words", "5", "--stream"),
    ],
)
def test_generate_refuses_wrong_usage(run, fakes, arguments):
    run("generate", *arguments, status=2)

    assert fakes.generator.requests == []


def test_generate_can_ask_another_generator(run):
    result = run("generate", "--generator", DEAD, status=1)

    assert f"the generator does not answer at {DEAD}" in result.stderr


# status, errors


@pytest.fixture
def unhurried(monkeypatch):
    """Let `nonesuch status` wait longer than a person would."""
    monkeypatch.setattr(status, "is_serving", partial(status.is_serving, timeout_s=WAIT_S))
    monkeypatch.setattr(status, "CALL_S", WAIT_S)


def test_status_shows_services_runs_and_models(run, fakes, unhurried):
    add_run(fakes, step=1)

    shown = run("status").stdout
    told = json.loads(run("status", "--json").stdout)

    assert shown.count("serving") == 4
    assert "run1: training, step 1 of 3" in shown
    assert "run1@2" in shown
    assert told["generator"]["num_queued"] == 2
    assert [service["serving"] for service in told["services"]] == [True] * 4


def test_status_works_when_some_services_are_down(run, unhurried):
    result = run("status", status=1, NONESUCH_TRAINER_ADDRESS=DEAD)
    told = run("status", "--json", status=1, NONESUCH_GENERATOR_ADDRESS=DEAD)

    assert result.stdout.count("serving") == 3
    assert "DOWN" in result.stdout
    assert json.loads(told.stdout)["generator"] is None


def test_a_service_that_is_down_is_named_with_its_address_and_a_remedy(run):
    result = run("runs", "list", status=1, NONESUCH_TRAINER_ADDRESS=DEAD)

    assert f"the trainer does not answer at {DEAD}" in result.stderr
    assert "NONESUCH_TRAINER_ADDRESS" in result.stderr


def test_a_bad_address_is_wrong_usage(run):
    assert "expected host:port" in run("runs", "list", status=2, NONESUCH_TRAINER_ADDRESS="nowhere").stderr


def test_unknown_commands_and_options_are_wrong_usage(run):
    run("dance", status=2)
    run("train", "--wings", "2", status=2)
    run(status=2)


def test_help_lists_every_command(run):
    shown = run("--help").stdout

    assert all(f"\n  {name} " in shown for name in root.commands)


@pytest.mark.parametrize(
    "path",
    [(name,) for name in root.commands]
    + [(name, verb) for name, group in root.commands.items() for verb in getattr(group, "commands", ())],
)
def test_every_command_has_help(run, path):
    assert "Usage:" in run(*path, "--help").stdout


def test_a_closed_pipe_is_quiet(fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x" * (4 << 20)}  # more than any pipe holds
    listing = f"{sys.executable} -m services.client posts show a.md | head -c 10; exit ${{PIPESTATUS[0]}}"

    result = subprocess.run(
        ["bash", "-c", listing],
        env=os.environ | fakes.environment,
        capture_output=True,
        timeout=WAIT_S,
        cwd=Path(__file__).parents[2],
    )

    assert result.stderr == b""
    assert result.returncode == 141


# the library


def settings_of(fakes):
    return CommonSettings(
        **{name.removeprefix("NONESUCH_").lower(): value for name, value in fakes.environment.items()}
    )


def test_the_library_goes_from_posts_to_a_post(fakes, blog):
    fakes.trainer.script = [metrics(1)]

    with Nonesuch(settings_of(fakes)) as nonesuch:
        report = nonesuch.add_posts(blog)
        nonesuch.train("run2", base="nano", steps=2)
        ended = nonesuch.wait("run2")
        version = nonesuch.publish("run2")
        response = nonesuch.generate(model="run2", temperature=0.8, n=2)
        streamed = "".join(delta.text.text for delta in nonesuch.stream("Once"))

    assert report.num_added == 2
    assert ended.state == trainer_pb2.RUN_STATE_SUCCEEDED
    assert (version.model, version.version) == ("run2", 1)
    assert len(response.samples) == 2
    assert streamed == f"{POST_TEXT} (0)"


def test_errors_carry_what_the_service_said(fakes):
    fakes.generator.busy = 1

    with Nonesuch(settings_of(fakes)) as nonesuch:
        with pytest.raises(NotFound) as missing:
            nonesuch.run("run9")
        with pytest.raises(Busy) as busy:
            nonesuch.generate(patience_s=0)
    with Nonesuch(CommonSettings(trainer_address=DEAD)) as nonesuch, pytest.raises(Unavailable) as down:
        nonesuch.run("run1")

    assert missing.value.metadata == {"run": "run9"}
    assert busy.value.retry_after_s == 0.02
    assert down.value.reason == "UNREACHABLE"


def test_a_deadline_that_passes_is_said_in_words(fakes):
    fakes.generator.hold = True

    with Nonesuch(settings_of(fakes)) as nonesuch, pytest.raises(Unavailable, match="did not answer in time"):
        list(nonesuch.connection.generator.GenerateStream(generator_pb2.GenerateRequest(), timeout_s=0.3))


def loaded_by(module, *unwanted):
    code = f"import json, sys, {module}; print(json.dumps([name for name in {unwanted} if name in sys.modules]))"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[2]))


def test_importing_the_client_loads_no_numpy_and_no_tensorflow():
    assert loaded_by("services.client.commands.root", "numpy", "tensorflow", "numba") == []


def test_importing_the_library_loads_neither_click_nor_rich():
    assert loaded_by("services.client", "click", "rich") == []

"""`nonesuch runs`, `checkpoints`, `samples` and `models`."""

from __future__ import annotations

import json

from protos import trainer_pb2
from tests.rpc.client.answers import POST_TEXT
from tests.rpc.client.telling import add_run, interrupt_when, metrics, originality, validation


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


def test_what_samples_recite_is_shown_wherever_a_run_is(run, fakes):
    fakes.trainer.script = [metrics(1), originality(1, 0.0, 7), metrics(2), originality(2, 0.456, 31)]
    for name in ("run1", "run2"):
        add_run(
            fakes, name, state=trainer_pb2.RUN_STATE_SUCCEEDED, step=2, originality=fakes.trainer.script[-1].originality
        )

    watched = run("runs", "watch", "run1", "--all").stdout
    compared = run("runs", "compare", "run1", "run2").stdout
    values = json.loads(run("runs", "compare", "run1", "run2", "--json").stdout)

    assert "[2] samples verbatim=45.6% longest run=31 tokens" in watched
    assert "46%" in run("runs", "list").stdout
    assert "46% of the samples verbatim, longest run 31 tokens at step 2" in run("runs", "show", "run1").stdout
    assert "45.6% at 2" in compared and "31 tokens" in compared and "Verbatim share of the samples by step" in compared
    shares = [found["originality"][0].get("verbatim_share", 0.0) for found in values["originality_at_common_steps"]]
    assert shares == [0.0, 0.456]
    assert values["runs"][0]["newest_originality"]["longest_run_tokens"] == 31


def test_what_a_sample_recites_is_listed_where_it_is_known(run, fakes):
    add_run(fakes)
    fakes.trainer.recited = {(20, 1): 0.25}

    lines = [line.split() for line in run("samples", "list", "run1").stdout.splitlines()[1:]]

    assert ["25%" in line and "33" in line for line in lines] == [False, False, True]


def test_models_list_tells_what_a_version_recites(run, fakes):
    add_run(fakes)
    run("models", "publish", "run1")
    run("models", "publish", "run1")
    fakes.trainer.models["run1"][0].verbatim_share = 0.0

    heading, *lines = run("models", "list").stdout.splitlines()

    place = heading.index("VERBATIM")
    assert [line[place : place + len("VERBATIM")].strip() for line in lines] == ["0.0%", "-"]


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


def test_models_alias_means_one_version_until_it_is_taken_away(run, fakes):
    add_run(fakes)
    run("models", "publish", "run1")
    run("models", "publish", "run1")

    assert "run1@stable means run1@1" in run("models", "alias", "run1", "stable", "1").stdout
    listed = {line.split()[0]: line.split()[1] for line in run("models", "list").stdout.splitlines()[1:]}
    assert listed == {"run1@2": "-", "run1@1": "stable"}
    assert json.loads(run("models", "alias", "run1", "stable", "2", "--json").stdout)["version"]["version"] == 2
    assert "means nothing any more" in run("models", "alias", "run1", "stable", "--off").stdout
    run("models", "alias", "run1", "stable", status=2)
    run("models", "alias", "run1", "stable", "1", "--off", status=2)
    assert "no version 9" in run("models", "alias", "run1", "stable", "9", status=1).stderr

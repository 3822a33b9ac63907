"""A killed run, resumed, is the run that an undisturbed one would have been: bit for bit."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from services.common.errors import Corrupt, FailedPrecondition
from services.common.files import read_json
from services.trainer.checkpoints import get_checkpoint, list_checkpoints
from services.trainer.metrics_log import CLOCKS, read_metrics
from services.trainer.outcome import EXIT_STOPPED
from services.trainer.samples import read_samples
from services.trainer.training import __main__ as entry
from services.trainer.training.evaluation import Evaluation, Evaluator
from services.trainer.training.going_back import StartAgain
from services.trainer.training.process import TrainingProcess
from services.trainer.volume import Volume
from tests.unit.trainer.pausing import PROGRAM, pause_after, stands_still
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset
from tests.waiting import wait_for

DEADLINE_S = 120.0
STEPS = 24
SLOW = {**SETTINGS, "steps": STEPS, "save_every": 4, "sample_every": 5}


class Killed(Exception):
    """Leaves everything as it is, as SIGKILL does."""


class Dying(TrainingProcess):
    """A training process that is killed before its step number `kill_before`."""

    def __init__(self, *arguments: Any, kill_before: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._left = kill_before

    def _do_step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._keeper.wait()
            raise Killed
        super()._do_step()


class StopAtQuestion(Event):
    """A wish to stop that comes after it was asked for `question` times."""

    def __init__(self, question: int) -> None:
        super().__init__()
        self._left = question

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def train(data: Path, run: str, *, kill_before: int = 0, stop: Event | None = None) -> bool:
    return Dying(Volume(data), run, started=time.monotonic(), kill_before=kill_before).run(stop or Event())


def start_process(data: Path, run: str, *, pause_after_step: int) -> subprocess.Popen[bytes]:
    """A training process that stands still after a step."""
    log = data / "checkpoint" / run / "log.txt"
    pause_after(data, run, pause_after_step)
    with log.open("ab") as output:
        process = subprocess.Popen([*PROGRAM, str(data), run], stdout=output, stderr=output)
    wait_for(lambda: process.poll() is not None or stands_still(process.pid), f"{run} does step {pause_after_step}")
    assert process.poll() is None, log.read_text()
    return process


def facts(data: Path, run: str) -> list[dict[str, Any]]:
    """The metrics less what a clock says."""
    lines = read_metrics(data / "checkpoint" / run / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in CLOCKS} for line in lines]


def drawn_steps(data: Path, run: str) -> list[int]:
    """The steps whose loss TensorBoard draws, in order."""
    accumulator = EventAccumulator(str(data / "checkpoint" / run), purge_orphaned_data=False)
    accumulator.Reload()
    return [event.step for event in accumulator.Scalars("loss")]


def assert_same_run(data: Path, run: str, whole: str) -> None:
    """Metrics, samples, weights and optimizer state are equal to the last bit."""
    assert facts(data, run) == facts(data, whole)
    assert drawn_steps(data, run) == list(range(1, STEPS + 1))
    for step in (5, 10, STEPS):
        texts = [[sample.text for sample in read_samples(data / "samples" / of, step)] for of in (run, whole)]
        assert texts[0] == texts[1] != []
    folders = [data / "checkpoint" / of / f"step-{STEPS}" for of in (run, whole)]
    weights = [(folder / f"model-{STEPS}.data-00000-of-00001").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    moments = [np.load(folder / "optimizer.npz") for folder in folders]
    assert all(np.array_equal(moments[0][name], moments[1][name]) for name in moments[1].files)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume on which run `whole` was trained without a break."""
    data = tmp_path_factory.mktemp("data")
    write_tiny_dataset(data)
    make_run(data, "whole", SLOW)
    assert train(data, "whole")
    return data


def test_process_killed_in_mid_run_and_resumed_equals_an_undisturbed_run(data: Path) -> None:
    make_run(data, "killed", SLOW)
    process = start_process(data, "killed", pause_after_step=9)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert train(data, "killed")
    assert_same_run(data, "killed", "whole")


def test_accumulating_run_broken_twice_equals_an_undisturbed_one(data: Path) -> None:
    settings = SLOW | {"accumulation": 2, "schedule": "linear", "dropout": 0.2}
    make_run(data, "accumulating", settings)
    assert train(data, "accumulating")
    make_run(data, "broken", settings)
    for step in (7, 11):  # the second counts from the checkpoint of step 4
        with pytest.raises(Killed):
            train(data, "broken", kill_before=step)
    assert train(data, "broken")
    assert_same_run(data, "broken", "accumulating")


def test_stopped_process_saves_its_step_and_goes_on_from_there(data: Path) -> None:
    make_run(data, "stopped", SLOW)
    process = start_process(data, "stopped", pause_after_step=5)
    process.terminate()
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=DEADLINE_S) == EXIT_STOPPED
    last = facts(data, "stopped")[-1]["step"]
    assert 5 <= last < STEPS
    assert (data / "checkpoint" / "stopped" / f"step-{last}" / "manifest.json").exists()
    assert train(data, "stopped")
    assert_same_run(data, "stopped", "whole")


def test_stop_does_not_wait_for_a_sample_which_the_resumed_run_writes(data: Path) -> None:
    run = "impatient"
    for name in (run, "patient"):
        make_run(data, name, SLOW | {"validate_every": 0})
    assert train(data, "patient")
    # Asked before each of five steps, and then before each token of step 5's sample.
    assert not train(data, run, stop=StopAtQuestion(7))
    assert facts(data, run)[-1]["step"] == 5
    assert (data / "checkpoint" / run / "step-5" / "manifest.json").exists()
    assert "the sample of step 5 waits" in (data / "checkpoint" / run / "events.jsonl").read_text()
    assert read_samples(data / "samples" / run, 5) == []
    cut = get_checkpoint(data / "checkpoint" / run, 5)
    assert cut.awaits_samples and cut.originality is None
    with pytest.raises(Killed):
        train(data, run, kill_before=1)  # sampled, but killed before there is another checkpoint
    whole = get_checkpoint(data / "checkpoint" / run, 5)
    assert not whole.awaits_samples and whole.originality is not None and whole.originality["step"] == 5
    assert train(data, run)
    assert_same_run(data, run, "patient")


def test_validation_that_a_stop_cut_short_is_made_once_by_the_resumed_run(data: Path) -> None:
    make_run(data, "cut", SLOW)
    assert not train(data, "cut", stop=StopAtQuestion(2))  # before steps 1 and 2, and then while 2 is validated
    assert facts(data, "cut")[-1]["step"] == 2 and "validation_loss" not in facts(data, "cut")[-1]
    with pytest.raises(Killed):
        train(data, "cut", kill_before=1)  # validated, but killed before there is another checkpoint
    assert "validation_loss" in facts(data, "cut")[-1]
    assert train(data, "cut")
    assert_same_run(data, "cut", "whole")


def test_last_step_is_validated_and_sampled_also_when_the_run_is_to_stop(data: Path) -> None:
    make_run(data, "last", SLOW | {"steps": 1})
    assert train(data, "last", stop=StopAtQuestion(1))
    assert ["validation_loss" in line or "verbatim_share" in line for line in facts(data, "last")] == [
        False,
        True,
        True,
    ]
    assert len(read_samples(data / "samples" / "last", 1)) == 1


def test_validation_that_is_no_number_ends_the_run_by_its_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(data, "diverged", SLOW | {"steps": 2, "on_divergence": "fail"})
    nan = Evaluation(float("nan"), float("nan"), 0.0)
    monkeypatch.setattr(Evaluator, "__call__", lambda self, params, wanted: nan)
    with pytest.raises(FailedPrecondition, match="diverged"):
        train(data, "diverged")


def test_damaged_newest_checkpoint_is_left_for_the_one_before(data: Path) -> None:
    make_run(data, "damaged", SLOW | {"save_best": False, "patience": 0})
    with pytest.raises(Killed):
        train(data, "damaged", kill_before=11)
    folder = data / "checkpoint" / "damaged"
    with (folder / "step-8" / "model-8.data-00000-of-00001").open("rb+") as file:
        file.truncate(100)
    assert train(data, "damaged")
    assert_same_run(data, "damaged", "whole")
    assert "going back to step 4" in (folder / "events.jsonl").read_text()


def test_run_without_a_sound_checkpoint_names_the_damaged_file(data: Path) -> None:
    make_run(data, "lost", SLOW | {"save_best": False, "patience": 0})
    with pytest.raises(Killed):
        train(data, "lost", kill_before=6)
    path = data / "checkpoint" / "lost" / "step-4" / "optimizer.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupt, match=r"step-4/optimizer\.npz"):
        train(data, "lost")


def test_console_line_is_that_of_the_2019_script(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(data, "talking", SLOW | {"steps": 2, "sample_every": 0, "validate_every": 0})
    assert train(data, "talking")
    line = facts(data, "talking")[1]
    assert f"loss={line['loss']:.2f} avg={line['avg']:.2f}\n" in capsys.readouterr().out.split("[2 | ")[1]


def test_lock_of_a_run_is_for_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "LOCK_TIMEOUT_S", 0.2)
    with (tmp_path / "lock").open("w") as second:
        with (tmp_path / "lock").open("w") as first:
            assert entry.take(first.fileno())
            assert not entry.take(second.fileno())
        assert entry.take(second.fileno())


TURNING = SLOW | {
    "patience": 2,
    "learning_rate": 0.3,
    "sample_every": 0,
    "save_every": 3,
    "keep": 2,
    "spike_limit": 50.0,
}


def test_run_that_validation_ended_ends_at_the_same_step_when_it_was_broken_and_keeps_its_best(data: Path) -> None:
    make_run(data, "turning", TURNING)
    assert train(data, "turning")
    lines = facts(data, "turning")
    losses = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    last = lines[-1]["step"]
    best = min(losses, key=lambda step: losses[step])
    assert last < STEPS and list(losses)[-3:] == [best, last - 2, last]
    kept = {checkpoint.step for checkpoint in list_checkpoints(data / "checkpoint" / "turning")}
    assert {best, last} <= kept
    assert f"that of step {best}" in (data / "checkpoint" / "turning" / "events.jsonl").read_text()

    make_run(data, "turning-broken", TURNING)
    for step in (3, 2, 2):
        with pytest.raises(Killed):
            train(data, "turning-broken", kill_before=step)
    assert train(data, "turning-broken")
    assert facts(data, "turning-broken") == lines
    states = [
        read_json(data / "checkpoint" / run / f"step-{last}" / "state.json") for run in ("turning", "turning-broken")
    ]
    assert {**states[0], "seconds": 0} == {**states[1], "seconds": 0}
    assert states[0]["losses"]["losses"]


def test_run_that_publishes_its_best_saves_each_that_is_one(data: Path) -> None:
    wish = {"publish": "on_best", "save_best": False, "patience": 0, "save_every": 100, "sample_every": 0, "keep": 99}
    make_run(data, "publishing", SLOW | wish | {"steps": 5, "validate_every": 2})
    assert train(data, "publishing")
    best = [line["step"] for line in facts(data, "publishing") if line.get("best")]
    assert {2, 4} <= {*best}
    checkpoints = list_checkpoints(data / "checkpoint" / "publishing")
    assert {*best} <= {checkpoint.step for checkpoint in checkpoints if checkpoint.measured_loss is not None}


def test_run_ends_after_its_minutes_over_all_its_processes(data: Path) -> None:
    make_run(data, "timed", SLOW | {"steps": 100_000, "minutes": 0.001, "sample_every": 0, "validate_every": 0})
    assert train(data, "timed")
    assert facts(data, "timed")[-1]["step"] == 1
    assert train(data, "timed")  # and does no step more
    assert facts(data, "timed")[-1]["step"] == 1


class Harmed(Dying):
    """A training process whose step `at` finds weights that are no numbers; for one step, or from then on."""

    def __init__(self, *arguments: Any, at: int, for_good: bool = False, **options: Any) -> None:
        super().__init__(*arguments, kill_before=0, **options)
        self._at, self._for_good = at, for_good

    def _do_step(self) -> None:
        name = "model/ln_f/g"
        sound = self._trainer.variables[name].numpy()
        harmed = self.step + 1 == self._at
        if harmed:
            self._trainer.variables[name].assign(sound * float("nan"))
        super()._do_step()
        if harmed and not self._for_good:
            self._trainer.variables[name].assign(sound)


def harm(data: Path, run: str, at: int, **options: Any) -> TrainingProcess:
    return Harmed(Volume(data), run, started=time.monotonic(), at=at, **options)


QUIET = SLOW | {"sample_every": 0, "validate_every": 0}


def test_step_whose_numbers_are_bad_changes_nothing_and_is_told(data: Path) -> None:
    make_run(data, "skipping", QUIET)
    assert harm(data, "skipping", 6).run(Event())
    assert [line["step"] for line in facts(data, "skipping") if "loss" in line] == [
        n for n in range(1, STEPS + 1) if n != 6
    ]
    assert "the loss is nan at step 6" in (data / "checkpoint" / "skipping" / "events.jsonl").read_text()


def test_weights_gone_bad_for_good_are_taken_from_the_checkpoint_again(data: Path) -> None:
    for run in ("undisturbed", "rotten"):
        make_run(data, run, QUIET)
    assert train(data, "undisturbed")
    with pytest.raises(StartAgain, match="going back to step 8"):
        harm(data, "rotten", 10, for_good=True).run(Event())
    assert train(data, "rotten")
    assert facts(data, "rotten") == facts(data, "undisturbed")


def test_run_whose_numbers_go_bad_at_the_same_step_again_has_diverged(data: Path) -> None:
    make_run(data, "doomed", QUIET)
    with pytest.raises(StartAgain):
        harm(data, "doomed", 10, for_good=True).run(Event())
    with pytest.raises(FailedPrecondition, match="as before from the same checkpoint"):
        harm(data, "doomed", 10, for_good=True).run(Event())


def test_lower_rate_goes_back_to_the_checkpoint_and_halves_the_rate_from_there_on(data: Path) -> None:
    settings = QUIET | {"on_divergence": "lower_rate", "schedule": "constant"}
    make_run(data, "lowered", settings)
    with pytest.raises(StartAgain, match="going back to step 4, and on at half"):
        harm(data, "lowered", 7).run(Event())
    with pytest.raises(Killed):
        train(data, "lowered", kill_before=6)
    assert train(data, "lowered")  # every later process does the same
    rates = [line["learning_rate"] for line in facts(data, "lowered") if "loss" in line]
    assert rates == pytest.approx([SLOW["learning_rate"]] * 4 + [SLOW["learning_rate"] / 2] * (STEPS - 4))


def test_divergence_fails_a_run_that_asked_for_it(data: Path) -> None:
    make_run(data, "strict", QUIET | {"on_divergence": "fail"})
    with pytest.raises(FailedPrecondition, match="diverged"):
        harm(data, "strict", 3).run(Event())

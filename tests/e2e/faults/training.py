"""`make faults`: training runs that are killed, starved and spoilt. `python -m tests.e2e.faults.training --help`.

Every trial ends with its run complete, and with the metrics and the last weights of a run that nothing disturbed, to
the last bit; where memory ran out, sums are made in another order, and the losses agree within LOSS_TOLERANCE.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from protos import trainer_pb2 as pb
from tests.e2e.faults import trials
from tests.e2e.faults.memory_group import MemoryGroup
from tests.e2e.faults.trainer import CHILD, TrainerProcess, curve, last_step, told, weights
from tests.unit.trainer.tiny import write_tiny_dataset
from tests.waiting import wait_for

STEPS_PER_KILL = 8
LOSS_TOLERANCE = 1e-4
SETTINGS: dict[str, Any] = {
    "batch_size": 4,
    "context": 64,
    "save_every": 3,
    "validate_every": 7,
    "sample_every": 0,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "dropout": 0.1,
    "restarts": 1000,
    "patience": 0,
}
SHORT = SETTINGS | {"steps": 40}
# For the trial of memory: much of it is activations, and they are a sum over rows.
WIDE = SETTINGS | {"steps": 6, "batch_size": 64, "context": 256, "validate_every": 0, "dropout": 0.0, "keep": 1}
WIDE |= {"precision": pb.PRECISION_FLOAT32}
# For the trial of the full disk: no checkpoint is ever superfluous, so that none makes room for another.
CROWDED = SHORT | {"keep": 100}
VOLUME_BYTES = 512 << 20
MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && cp -r "$2/." "$1" && shift 2 && exec "$@"'
TEXTS = [f"Post {n}: the cat sat on mat {n}, and then it sat on {n * 7} more mats. " * 12 for n in range(24)]


@dataclass(frozen=True)
class Kill:
    """When to kill, and whom."""

    step: int
    kind: str  # "start": while the process starts; "step": after this step; "save": in the next checkpoint's writing
    delay: float  # 0 to 1, of what the kind lasts
    service: bool  # the service with its child, or the child alone

    def __str__(self) -> str:
        return f"{self.kind:5} at step {self.step:3}, {'service and child' if self.service else 'child alone'}"


LASTS_S = {"start": 6.0, "step": 0.05, "save": 0.04}


def kills(seed: int, number: int) -> Iterator[Kill]:
    """Draw kills spread evenly over the steps of a run, STEPS_PER_KILL to each; half of them while it saves."""
    drawn = random.Random(seed)
    for index in range(number):
        step = int((index + drawn.random()) * STEPS_PER_KILL)
        kind = ("save", "step", "save", "start")[index % 4]
        yield Kill(step, kind, drawn.random(), service=drawn.random() < 0.4)


def prepare(folder: Path) -> Path:
    """Make the data folder that each trial gets a copy of."""
    data = folder / "before"
    write_tiny_dataset(data, texts=TEXTS)
    return data


def undisturbed(before: Path, folder: Path, settings: dict[str, Any]) -> Path:
    """Train run `run` with nothing in its way, and return its data folder."""
    data = shutil.copytree(before, folder)
    with TrainerProcess(data) as service:
        service.start("run", settings)
        service.finish("run")
    return data


def assert_same(data: Path, whole: Path, steps: int) -> None:
    """The run's curve and its last weights are those of the undisturbed one."""
    ours, theirs = curve(data, "run"), curve(whole, "run")
    differing = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b][:1]
    assert not differing and len(ours) == len(theirs), f"{len(ours)} lines, {len(theirs)} undisturbed; {differing}"
    assert weights(data, "run", steps) == weights(whole, "run", steps), "the last weights differ"


def kill_often(before: Path, folder: Path, seed: int, number: int) -> str:
    """Kill one run again and again, and let it go on."""
    settings = SETTINGS | {"steps": (number + 5) * STEPS_PER_KILL}  # the last kill is to find it training
    whole = undisturbed(before, folder / "whole", settings)
    data = shutil.copytree(before, folder / "killed")
    service = TrainerProcess(data)
    inside = done = 0
    try:
        service.start("run", settings)
        for kill in kills(seed, number):
            inside += strike(service, data, kill)
            done += 1
            if kill.service:
                service.kill()
                service = TrainerProcess(data)
        found = service.finish("run")
        service.stop()
    finally:
        service.put_away()
    assert_same(data, whole, settings["steps"])
    assert inside, "no kill fell into the writing of a checkpoint"
    return f"{done} kills, {inside} of them with a checkpoint half written; {found.restarts} restarts"


def strike(service: TrainerProcess, data: Path, kill: Kill) -> bool:
    """Kill the child at the moment; True when it left a checkpoint half written."""
    run = data / "checkpoint" / "run"
    pid, before = wait_for_quickly(service.child, "a training process"), last_step(data, "run")
    if kill.kind != "start":
        wait_for_quickly(lambda: last_step(data, "run") >= kill.step, f"step {kill.step}")
        pid = wait_for_quickly(service.child, "a training process")
    if kill.kind == "save":
        wait_for_quickly(lambda: any(run.glob(".partial-step-*")), "a checkpoint being written")
    moment = time.monotonic() + kill.delay * LASTS_S[kill.kind]
    while time.monotonic() < moment:
        if kill.kind == "start" and last_step(data, "run") > before:
            break  # it has started: on a quick machine it would be done at that moment
        time.sleep(0.0005)
    seen = last_step(data, "run")
    os.kill(pid, signal.SIGKILL if not kill.service else signal.SIGSTOP)
    if kill.service:  # stopped, so that what lies there now is what the kill leaves
        half = any(run.glob(".partial-step-*"))
        service.process.kill()
        os.kill(pid, signal.SIGKILL)
    else:
        half = any(run.glob(".partial-step-*"))
    print(f"       killed in {kill}: step {seen}{', a checkpoint half written' if half else ''}", flush=True)
    if not kill.service:
        wait_for_quickly(lambda: service.child() != pid, "the killed process is gone")
    return half


def wait_for_quickly(condition: Callable[[], Any], what: str, timeout_s: float = 600.0) -> Any:
    """Poll without a pause worth mentioning."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.0005)
    return found


def run_out_of_memory(before: Path, folder: Path) -> str:
    """Give the child less memory than its step needs: the kernel kills it, and the micro-batch shrinks."""
    peaks = {}
    for rows in (WIDE["batch_size"], WIDE["batch_size"] // 8):
        with MemoryGroup() as group:
            data = shutil.copytree(before, folder / f"rows-{rows}")
            settings = WIDE | {"batch_size": rows, "accumulation": WIDE["batch_size"] // rows}
            with TrainerProcess(data, child=(*CHILD, "--group", str(group.folder))) as service:
                service.start("run", settings)
                service.finish("run")
            peaks[rows] = group.peak_bytes
    most, least = max(peaks.values()), min(peaks.values())
    assert most > 1.3 * least, f"memory hardly depends on the rows: {peaks}"
    with MemoryGroup((most + least) // 2) as group:
        data = shutil.copytree(before, folder / "starved")
        with TrainerProcess(data, child=(*CHILD, "--group", str(group.folder))) as service:
            service.start("run", WIDE)
            found = service.finish("run")
        killed = group.kills
    assert killed, "the kernel killed nobody"
    words = [each for each in told(data, "run") if "out of memory; going on with" in each]
    assert len(words) == killed == found.restarts, (killed, found.restarts, told(data, "run"))
    losses, whole = losses_of(data), losses_of(folder / f"rows-{WIDE['batch_size']}")
    assert losses == pytest.approx(whole, rel=LOSS_TOLERANCE), (losses, whole)
    return f"{killed} kills; {words[-1].partition('; ')[2]}"


def losses_of(data: Path) -> list[float]:
    return [line["loss"] for line in curve(data, "run") if "loss" in line]


def fill_the_disk(before: Path, folder: Path, whole: Path) -> str:
    """Fill the volume in the middle of a run, wholly, and give the room back later."""
    data = folder / "full"
    data.mkdir()
    namespace = ("unshare", "--user", "--map-root-user", "--mount")
    prefix = (*namespace, "sh", "-c", MOUNT, str(VOLUME_BYTES), str(data), str(before))
    kept = folder / "kept"
    with TrainerProcess(data, prefix=prefix) as service:
        volume = Path(f"/proc/{service.pid}/root{data}")
        service.start("run", CROWDED)
        wait_for_quickly(lambda: last_step(volume, "run") >= 7, "step 7")
        child = service.child()
        os.kill(child, signal.SIGSTOP)  # it would be done before the disk is full
        fill(volume / "ballast")
        seen, before_s = last_step(volume, "run"), cpu_s(child)
        os.kill(child, signal.SIGCONT)
        wait_for(lambda: service.child() != child or is_idle(child), "training waits for room at its end", 600)
        assert service.child() == child, "the full disk ended the process"
        assert cpu_s(child) > before_s + 0.1, "training did not go on"
        assert service.get("run").state == pb.RUN_STATE_RUNNING, "the disk was not full"
        (volume / "ballast").unlink()
        service.finish("run")
        words = [each for each in told(volume, "run") if each.startswith("no checkpoint of step")]
        shutil.copytree(volume / "checkpoint", kept / "checkpoint")
    assert words, "nothing was told of the checkpoint that could not be written"
    assert_same(kept, whole, SHORT["steps"])
    return f"full after step {seen}; told: {words[0]}"


def fill(path: Path) -> None:
    """Leave no byte free."""
    for block in (1 << 20, 4096, 1):
        with suppress(OSError), path.open("ab", buffering=0) as ballast:
            while ballast.write(b"x" * block):
                pass


def is_idle(pid: int) -> bool:
    """Whether a process leaves processors and disk alone for a second; one that waits for its turn does not."""
    before_s = cpu_s(pid)
    for _ in range(50):
        time.sleep(0.02)
        if any(words_of(stat)[0] in "RD" for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
            return False
    return cpu_s(pid) - before_s < 0.1


def cpu_s(pid: int) -> float:
    """Seconds of a processor that a process has used."""
    fields = words_of(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def words_of(stat: Path) -> list[str]:
    """What the kernel tells of a process or thread, from its state on; nothing of one that has ended is told."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return stat.read_text().rpartition(")")[2].split()
    return ["X"]


def flip_a_byte(before: Path, folder: Path, whole: Path) -> str:
    """Damage the newest checkpoint of a run whose service and child were killed."""
    data = shutil.copytree(before, folder / "flipped")
    with TrainerProcess(data) as service:
        service.start("run", SHORT)
        wait_for_quickly(lambda: last_step(data, "run") >= 8, "step 8")
        service.kill()
    steps = sorted(int(each.name.removeprefix("step-")) for each in (data / "checkpoint" / "run").glob("step-*"))
    newest = data / "checkpoint" / "run" / f"step-{steps[-1]}" / f"model-{steps[-1]}.data-00000-of-00001"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with TrainerProcess(data) as service:
        service.finish("run")
    words = [each for each in told(data, "run") if "is damaged" in each]
    assert words and words[0].endswith(f"going back to step {steps[-2]}"), told(data, "run")
    assert_same(data, whole, SHORT["steps"])
    return words[0].partition("run/")[2]


def spoil_a_weight(before: Path, folder: Path, whole: Path) -> str:
    """Make a weight a NaN in memory: steps change nothing, and then the run goes back to a checkpoint."""
    data = shutil.copytree(before, folder / "spoilt")
    with TrainerProcess(data, child=(*CHILD, "--bad-bit", "20")) as service:
        service.start("run", SHORT)
        service.finish("run")
    words = [each for each in told(data, "run") if "going back" in each]
    assert words and "loss is nan" in words[0], told(data, "run")
    assert_same(data, whole, SHORT["steps"])
    return words[0]


def ask_to_stop(before: Path, folder: Path, whole: Path) -> str:
    """SIGTERM to the service in mid-run: both end well and soon, and the next start goes on where they stopped."""
    data = shutil.copytree(before, folder / "stopped")
    with TrainerProcess(data) as service:
        service.start("run", SHORT)
        wait_for_quickly(lambda: last_step(data, "run") >= 10, "step 10")
        started = time.monotonic()
        service.stop()
        took = time.monotonic() - started
    step = last_step(data, "run")
    assert (data / "checkpoint" / "run" / f"step-{step}" / "manifest.json").exists(), f"step {step} was not saved"
    with TrainerProcess(data) as service:
        service.finish("run")
    assert_same(data, whole, SHORT["steps"])
    return f"stopped within {took:.1f} s, saved at step {step}"


def run(folder: Path, seed: int, number: int) -> list[str]:
    """Run every trial in an empty folder, print a line for each, and return what failed."""
    print(f"{number} kills, seed {seed}; again with: make faults FAULTS='--seed {seed} --moments {number}'", flush=True)
    before = prepare(folder)
    whole = undisturbed(before, folder / "whole", SHORT)
    attempts: dict[str, Callable[[Path], str]] = {
        f"killed with -9 at {number} moments": lambda at: kill_often(before, at, seed, number),
        "killed for want of memory": lambda at: run_out_of_memory(before, at),
        "full disk": lambda at: fill_the_disk(before, at, whole),
        "flipped byte": lambda at: flip_a_byte(before, at, whole),
        "NaN in a weight": lambda at: spoil_a_weight(before, at, whole),
        "SIGTERM": lambda at: ask_to_stop(before, at, whole),
    }
    failures = []
    for index, (name, attempt) in enumerate(attempts.items(), start=1):
        at = folder / f"trial-{index}"
        at.mkdir()
        failures += trials.hold(name, at, attempt)
    return failures


if __name__ == "__main__":
    sys.exit(trials.main("Kill, starve and spoil training runs.", run, moments=30))

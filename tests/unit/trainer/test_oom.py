"""The kernel's kills for want of memory are found wherever it counts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.oom import OomWatch

V2 = "low 0\nmax 9\noom 2\noom_kill {}\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VMSTAT = "nr_free_pages 7\noom_kill {}\npgfault 3\n"


class Machine:
    """What a kernel shows, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def watch(self) -> OomWatch:
        return OomWatch(self.proc, self.cgroups)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        ("0::/", "memory.events", V2),
        ("0::/system.slice/trainer.service", "system.slice/trainer.service/memory.events", V2),
        ("0::/not/seen/from/in/here", "memory.events", V2),
        ("4:cpu,memory:/docker/abc", "memory/docker/abc/memory.oom_control", V1),
        ("4:memory:/docker/not/seen/from/in/here", "memory/memory.oom_control", V1),
    ],
)
def test_a_kill_in_ones_own_group_is_noticed(machine: Machine, group: str, file: str, text: str) -> None:
    machine.write(machine.proc / "self" / "cgroup", f"3:cpuset:/\n{group}\n")
    machine.write(machine.cgroups / file, text.format(4))
    watch = machine.watch()
    assert not watch.happened()
    machine.write(machine.cgroups / file, text.format(5))
    assert watch.happened()


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [("0::/own", "own/memory.events", V2), ("9:memory:/own", "memory/own/memory.oom_control", V1)],
)
def test_a_kill_in_the_group_of_the_child_alone_is_noticed(machine: Machine, group: str, file: str, text: str) -> None:
    machine.write(machine.proc / "self" / "cgroup", "0::/\n")
    machine.write(machine.proc / "77" / "cgroup", f"{group}\n")
    machine.write(machine.cgroups / file, text.format(2))
    watch = machine.watch()
    watch.look(77)
    assert not watch.happened()
    machine.write(machine.cgroups / file, text.format(3))
    watch.look(77)
    assert watch.happened()


def test_a_kill_that_only_the_whole_machine_counts_is_noticed(machine: Machine) -> None:
    machine.write(machine.proc / "vmstat", VMSTAT.format(1))
    watch = machine.watch()
    assert not watch.happened()
    machine.write(machine.proc / "vmstat", VMSTAT.format(2))
    assert watch.happened()


def test_where_nothing_is_counted_nothing_is_noticed(machine: Machine) -> None:
    watch = machine.watch()
    watch.look(77)
    assert not watch.happened()


def test_a_kill_of_another_program_is_not_the_childs_where_its_group_counts(machine: Machine) -> None:
    machine.write(machine.proc / "vmstat", VMSTAT.format(1))
    machine.write(machine.proc / "self" / "cgroup", "0::/own\n")
    machine.write(machine.cgroups / "own" / "memory.events", V2.format(0))
    watch = machine.watch()
    machine.write(machine.proc / "vmstat", VMSTAT.format(2))
    assert not watch.happened()

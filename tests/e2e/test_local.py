"""The whole way as local processes: what `make run` and `make demo` do."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.supervisor import SERVICES, Supervisor
from tests.e2e.system import QUICK, ROOT, Command
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.timeout(600)


def environment(folder):
    return {**os.environ, "NONESUCH_DATA": str(folder / "data"), "NONESUCH_CACHE": str(folder / "cache")}


def demo(folder, posts):
    return subprocess.run(
        [sys.executable, "-m", "services", "--free-ports", "--once", "--posts", posts, "--train", " ".join(QUICK)],
        cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=400,
    )  # fmt: skip


@pytest.fixture
def services(tmp_path):
    """The five services with empty folders, and the command pointed at them."""
    supervisor = Supervisor(environment(tmp_path), free_ports=True)
    supervisor.start(progress=lambda name: None)
    yield supervisor, Command([sys.executable, "-m", "services.client"], dict(supervisor.environ))
    supervisor.stop()


def test_the_demo_learns_and_prints_a_post_and_finds_it_the_second_time(tmp_path, quick_posts):
    first = demo(tmp_path, quick_posts)
    assert first.returncode == 0, first.stdout + first.stderr
    assert re.search(r"^\[40 \| \d+\.\d\d\] loss=\d+\.\d\d avg=\d+\.\d\d$", first.stdout, re.M)

    second = demo(tmp_path, quick_posts)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "loss=" not in second.stdout
    assert "model quick_blog is there" in second.stdout


def test_a_demo_that_is_terminated_saves_its_run_and_ends(tmp_path, quick_posts):
    options = "--steps 100000 --batch-size 1 --context 16 --sample-every 0"
    process = subprocess.Popen(
        [sys.executable, "-m", "services", "--free-ports", "--once", "--posts", quick_posts, "--train", options],
        cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("[3 "):
            break
    process.terminate()
    rest, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert "saved checkpoint" in rest


def test_a_taken_port_is_refused_by_name(tmp_path):
    environ = environment(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run(
            [sys.executable, "-m", "services.corpus"],
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S,
            env={**environ, "NONESUCH_CORPUS_LISTEN": address, "NONESUCH_CORPUS_METRICS_LISTEN": "127.0.0.1:0"},
        )  # fmt: skip
    assert result.returncode == 1
    assert address in result.stderr


@pytest.mark.parametrize("service", ["corpus", "tokenizer", "trainer", "generator"])
def test_a_setting_that_no_one_knows_is_refused_by_name(service, tmp_path):
    variable = f"NONESUCH_{service.upper()}_TYPO"
    result = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=ROOT, env={**environment(tmp_path), variable: "1"}, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert result.returncode == 2
    assert variable in result.stderr


def test_killed_services_come_back_and_nothing_published_is_lost(services, quick_posts):
    supervisor, nonesuch = services
    nonesuch.run("posts", "add", str(quick_posts))
    nonesuch.run("train", "--follow", "--publish", "at-end", *QUICK)
    before = nonesuch.run("generate", "--wait", "--seed", "5", "--length", "20").stdout

    for name in SERVICES:
        supervisor._children[name].process.send_signal(signal.SIGKILL)
        wait_for(supervisor.check, f"{name} noticed")
        wait_for(lambda name=name: supervisor._answers(name), f"{name} up again")
        assert supervisor.check() == []

    assert nonesuch.run("generate", "--wait", "--seed", "5", "--length", "20").stdout == before
    assert nonesuch.json("runs", "show", "run1")["state"] == "SUCCEEDED"


def test_ctrl_c_saves_the_run_and_the_same_command_resumes_it(services, quick_posts):
    _, nonesuch = services
    nonesuch.run("posts", "add", str(quick_posts))
    options = [
        "train",
        "--follow",
        "--steps",
        "3000",
        "--batch-size",
        "2",
        "--context",
        "32",
        "--sample-every",
        "0",
    ]
    command = [*nonesuch.prefix, *options]
    first = subprocess.Popen(command, env=nonesuch.environ, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in first.stdout:
        if line.startswith("[3 "):
            break
    first.send_signal(signal.SIGINT)
    first.stdout.read()
    first.wait(PATIENCE_S)

    stopped = nonesuch.json("runs", "show", "run1")
    assert stopped["state"] == "CANCELLED"
    assert stopped["checkpoint_step"] == stopped["step"] >= 3

    refused = nonesuch.run("train", "--learning-rate", "0.5", *options[1:], check=False)
    assert refused.returncode == 1
    assert "learning_rate" in refused.stderr

    second = subprocess.Popen(command, env=nonesuch.environ, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    numbers = (re.match(r"\[(\d+) ", line) for line in second.stdout)
    assert int(next(number for number in numbers if number)[1]) == stopped["step"] + 1
    second.send_signal(signal.SIGINT)
    second.stdout.read()
    second.wait(PATIENCE_S)


def test_the_end_of_the_supervisor_ends_the_services(tmp_path):
    environ = environment(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "services", "--free-ports"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("The page"):
            break
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    assert len(children) == len(SERVICES)
    process.kill()
    process.wait()

    def gone():
        return not any(is_running(pid) for pid in children)

    wait_for(gone, "the services ended")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False

"""The command as a whole: status, services that are down, wrong usage, help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from services.client.commands import status
from services.client.commands.root import root
from tests.rpc.client.answers import DEAD, WAIT_S
from tests.rpc.client.telling import add_run


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
    (model,) = [line for line in shown.splitlines() if "run1@2" in line]
    assert model.split()[-5:] == ["1/8", "2", "181", "6%", "-"]
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
        cwd=Path(__file__).parents[3],
    )

    assert result.stderr == b""
    assert result.returncode == 141

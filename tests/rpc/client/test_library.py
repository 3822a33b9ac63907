"""The Python library: from posts to a post, its errors, and what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from protos import generator_pb2, trainer_pb2
from services.client import Nonesuch
from services.common.errors import Busy, NotFound, Unavailable
from services.common.settings import CommonSettings
from tests.rpc.client.answers import DEAD, POST_TEXT
from tests.rpc.client.telling import metrics


def test_the_library_goes_from_posts_to_a_post(fakes, blog):
    fakes.trainer.script = [metrics(1)]

    with Nonesuch(fakes.settings) as nonesuch:
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

    with Nonesuch(fakes.settings) as nonesuch:
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

    with Nonesuch(fakes.settings) as nonesuch, pytest.raises(Unavailable, match="did not answer in time"):
        list(nonesuch.connection.generator.GenerateStream(generator_pb2.GenerateRequest(), timeout_s=0.3))


def loaded_by(module, *unwanted):
    code = f"import json, sys, {module}; print(json.dumps([name for name in {unwanted} if name in sys.modules]))"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[3]))


def test_importing_the_client_loads_no_numpy_and_no_tensorflow():
    assert loaded_by("services.client.commands.root", "numpy", "tensorflow", "numba") == []


def test_importing_the_library_loads_neither_click_nor_rich():
    assert loaded_by("services.client", "click", "rich") == []

"""The `nonesuch` command, pointed at services that answer from memory."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from services.client.commands.root import root
from tests.rpc.client.fakes import Fakes


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

"""What the end-to-end tests drive: the `nonesuch` command and the compose stack."""

import json
import re
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE_BLOG = ROOT / "deploy" / "sample_blog"
# Small enough to train in seconds, large enough that every stage does something.
QUICK = ["--steps", "40", "--batch-size", "4", "--context", "64", "--sample-every", "20", "--save-every", "20",
         "--validate-every", "20", "--sample-length", "40"]  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Command:
    """The `nonesuch` command: how to start it, and with which environment."""

    prefix: list[str]
    environ: dict[str, str]

    def run(self, *arguments: str, check: bool = True, text: str | None = None, timeout: float = 300):
        result = subprocess.run(
            [*self.prefix, *arguments],
            env=self.environ, cwd=ROOT, capture_output=True, text=True, input=text, timeout=timeout,
        )  # fmt: skip
        assert not check or result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}"
        return result

    def json(self, *arguments: str):
        return json.loads(self.run(*arguments, "--json").stdout)


@dataclass
class Stack:
    """The compose stack under a name and ports of its own."""

    project: str
    environ: dict[str, str]
    admin_port: int
    generator_port: int

    def compose(self, *arguments: str, timeout: float = 900) -> str:
        result = subprocess.run(
            ["docker", "compose", "-p", self.project, *arguments],
            env=self.environ, cwd=ROOT, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert result.returncode == 0, f"{arguments}: {result.stdout[-3000:]}\n{result.stderr[-6000:]}"
        return result.stdout

    def command(self, *options: str) -> Command:
        """The command in a container; options go to `docker compose run`."""
        prefix = ["docker", "compose", "-p", self.project, "run", "--rm", "-T", *options, "nonesuch"]
        return Command(prefix, self.environ)

    def outside(self) -> Command:
        """The command on the host, against the published port."""
        environ = {**self.environ, "NONESUCH_GENERATOR_ADDRESS": f"127.0.0.1:{self.generator_port}"}
        return Command([sys.executable, "-m", "services.client"], environ)

    def page(self) -> str:
        """The page's address with its login token, from admin's log."""
        log = self.compose("logs", "--no-log-prefix", "admin")
        token = re.findall(r"token=(\S+)", log)[-1]
        return f"http://127.0.0.1:{self.admin_port}/?token={token}"


def http_status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status

"""`nonesuch posts add --watch`: each change is told, and a service that is away is waited for."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.rpc.corpus.bundles import ROOT, paths, zipped
from tests.rpc.corpus.uploading import DEADLINE_S


class Watching:
    """`nonesuch posts add --watch` as a process of its own, and the lines that it prints."""

    def __init__(self, address: str, *arguments: object) -> None:
        environment = os.environ | {"NONESUCH_CORPUS_ADDRESS": address, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "services.client", "posts", "add", "--watch", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self._lines.put(line) for line in self.process.stdout], daemon=True).start()

    def line(self, *words: str) -> str:
        """The next line that holds all the words."""
        deadline = time.monotonic() + DEADLINE_S
        seen = []
        while True:
            try:
                seen.append(self._lines.get(timeout=max(0.01, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no line with {words} in {seen}") from None
            if all(word in seen[-1] for word in words):
                return seen[-1]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)


def place(path: Path, content: bytes) -> None:
    """Let a file appear whole: one that is being written may be told of twice."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(content)
    beside.replace(path)


def test_watching_tells_each_change_and_ends_with_ctrl_c(address: str, stub, tmp_path: Path):
    (tmp_path / "a.md").write_text("first")
    watching = Watching(address, tmp_path, "--corpus", "watched", "--prune")
    try:
        watching.line("watching")
        place(tmp_path / "b.md", b"second")
        assert "b.md: 1 added; 2 documents" in watching.line("b.md")
        place(tmp_path / "sub" / "old.zip", zipped({"c.md": b"third", "d.md": b""}))
        told = watching.line("old.zip")
        assert "1 added" in told and "left out: sub/old.zip/d.md: " in told
        (tmp_path / "a.md.part").write_text("first, changed")
        (tmp_path / "a.md.part").replace(tmp_path / "a.md")
        watching.line("a.md", "1 changed")
        (tmp_path / "b.md").unlink()
        watching.line("b.md", "1 removed")
        assert paths(stub, "watched") == ["a.md", "sub/old.zip/c.md", "sub/old.zip/d.md"]
    finally:
        status = watching.interrupt()
    assert status == 0


def test_watching_survives_a_service_that_is_away(folder: Path, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blog = tmp_path / "blog"
    blog.mkdir()
    (blog / "a.md").write_text("first")
    watching = Watching(f"127.0.0.1:{port}", blog / "a.md", blog)
    try:
        watching.line("trying again")
        environment = os.environ | {
            "NONESUCH_DATA": str(tmp_path / "data"),
            "NONESUCH_CORPUS_LISTEN": f"127.0.0.1:{port}",
            "NONESUCH_CORPUS_METRICS_LISTEN": "127.0.0.1:0",
        }
        service = subprocess.Popen([sys.executable, "-m", "services.corpus"], cwd=ROOT, env=environment)
        try:
            watching.line("watching")
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(DEADLINE_S) == 0
        place(blog / "b.md", b"second")
        watching.line("trying again")
        service = subprocess.Popen([sys.executable, "-m", "services.corpus"], cwd=ROOT, env=environment)
        try:
            watching.line("b.md", "1 added", "2 documents")
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(DEADLINE_S) == 0
    finally:
        status = watching.interrupt()
    assert status == 0

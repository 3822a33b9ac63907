"""Cleaners: a few child processes that clean posts, so that no post can hang or end the service.

Each post has a limit of processor time; one that uses it up, or breaks its process, is left out with a
reason, and a new process takes over. See cleaning_process.py for the other side.
"""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import services
from services.corpus.documents import Document
from services.corpus.effects import RULES, Effect, values
from services.corpus.marks import Marks
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules

Outcome = Document | Reason

# A process may wait for a processor far longer than it uses one; only a stopped one takes this long.
_WALL_PER_PROCESSOR_SECOND = 20
_ROOT = Path(services.__file__).parent.parent


class _Process:
    """One child and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "services.corpus.cleaning_process", str(theirs.fileno())]
        self._child = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=_ROOT, stdin=subprocess.DEVNULL)
        theirs.close()
        self._connection = Connection(ours.detach())

    def ask(
        self, path: str, content: bytes, rules: Rules, processor_seconds: float, rule: str
    ) -> dict[str, Any] | None:
        """The answer, or None if the child died or had to be killed."""
        request = {"path": path, "rules": rules.to_json(), "processor_seconds": processor_seconds, "rule": rule}
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            self._connection.send_bytes(content)
            if not self._connection.poll(processor_seconds * _WALL_PER_PROCESSOR_SECOND):
                return None
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
            return answer
        except (EOFError, OSError):
            return None

    def end(self) -> int:
        """Kill the child and return how it ended: a signal's number, negative, or its exit status."""
        self._connection.close()
        if self._child.poll() is None:
            try:
                # It ends by itself when the connection does; what hangs is killed.
                self._child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()


class Cleaners:
    """A pool of cleaning processes. Close it when done.

    Args:
        num_processes: how many posts are cleaned at a time, at least 1.
        processor_seconds: how much processor time one post may use.
    """

    def __init__(self, num_processes: int, processor_seconds: float) -> None:
        self.num_processes = num_processes
        self._processor_seconds = processor_seconds
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for _ in range(num_processes):
            self._idle.put(_Process())
        self._threads = ThreadPoolExecutor(num_processes, thread_name_prefix="cleaner")

    def submit(self, path: str, content: bytes, rules: Rules) -> Future[Outcome]:
        """Begin to clean a post; the future's result is its document, or the reason why there is none."""
        return self._threads.submit(lambda: _outcome(self._ask(path, content, rules)))

    def effects(self, path: str, content: bytes, rules: Rules) -> list[Effect]:
        """What each rule of cleaning does to a post; each may use as much processor time as a post."""
        answers = [self._threads.submit(self._ask, path, content, rules, rule) for rule in RULES]
        return [_effect(rules, rule, answer.result()) for rule, answer in zip(RULES, answers, strict=True)]

    def _ask(self, path: str, content: bytes, rules: Rules, rule: str = "") -> dict[str, Any] | Reason:
        process = self._idle.get()
        try:
            answer = process.ask(path, content, rules, self._processor_seconds, rule)
            if answer is not None:
                return answer
            status = process.end()
            process = _Process()
        finally:
            self._idle.put(process)
        if status in (-signal.SIGPROF, -signal.SIGKILL):
            return Reason(
                Code.CLEANING_FAILED,
                f"its cleaning took more than {self._processor_seconds:g} s of processor time",
            )
        return Reason(Code.CLEANING_FAILED, f"its cleaning broke the process that did it (status {status})")

    def close(self) -> None:
        """End the processes; posts that were submitted are cleaned first."""
        self._threads.shutdown()
        for _ in range(self.num_processes):
            self._idle.get().end()


def _effect(rules: Rules, rule: str, answer: dict[str, Any] | Reason) -> Effect:
    value, other_value = values(rules, rule)
    problem = answer.message if isinstance(answer, Reason) else answer.get("message", "")
    return Effect(rule, value, other_value, "" if isinstance(answer, Reason) else answer.get("diff", ""), problem)


def _outcome(fields: dict[str, Any] | Reason) -> Outcome:
    if isinstance(fields, Reason):
        return fields
    if "code" in fields:
        return Reason(Code(fields["code"]), fields["message"])
    notes = tuple(Reason(Code(code), message) for code, message in fields["notes"])
    return Document(
        *(fields["title"], tuple(fields["tags"]), fields["date"], fields["text"], notes, Marks(**fields["marks"])),
        language=fields["language"],
        quality=fields["quality"],
        signature=bytes.fromhex(fields["signature"]),
    )

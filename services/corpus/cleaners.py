"""Cleaners: a few child processes that clean posts, so that no post can hang or end the service.

Each post has a limit of processor time; one that uses it up, or breaks its process, is left out with a
reason, and a new process takes over. Posts that wait go to a process several at a time, as a message takes
about as long as a paragraph; where such a batch ends its process, each post of it is tried alone.
See cleaning_process.py for the other side.
"""

from __future__ import annotations

import json
import logging
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import services
from services.corpus.cleaning.documents import Document, Measures
from services.corpus.cleaning.effects import RULES, Effect, values
from services.corpus.cleaning.marks import Marks
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules

Outcome = Document | Reason

# A process may wait for a processor far longer than it uses one; only a stopped one takes this long.
_WALL_PER_PROCESSOR_SECOND = 20
_POSTS_AT_A_TIME = 16
_RETRY_SECONDS = 1.0
_BYTES_AT_A_TIME = 256 << 10
_ROOT = Path(services.__file__).parent.parent
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    """A post to be cleaned, with the one rule whose effect is asked for, if any."""

    path: str
    content: bytes
    rules: Rules
    rule: str
    answer: Future[dict[str, Any] | Reason]


class _Process:
    """One child and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "services.corpus.cleaning_process", str(theirs.fileno())]
        try:
            self._child = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=_ROOT, stdin=subprocess.DEVNULL)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._connection = Connection(ours.detach())

    def ask(self, jobs: list[_Job], processor_seconds: float) -> list[dict[str, Any]] | None:
        """The answers, or None if the child died or had to be killed."""
        request = {
            "processor_seconds": processor_seconds,
            "posts": [[job.path, len(job.content), _rules_json(job.rules), job.rule] for job in jobs],
        }
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            self._connection.send_bytes(b"".join(job.content for job in jobs))
            if not self._connection.poll(len(jobs) * processor_seconds * _WALL_PER_PROCESSOR_SECOND):
                return None
            answers: list[dict[str, Any]] = json.loads(self._connection.recv_bytes())
            return answers
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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"cleaner {n}") for n in range(num_processes)]
        for thread in self._threads:
            thread.start()

    def submit(self, path: str, content: bytes, rules: Rules) -> Future[Outcome]:
        """Begin to clean a post; the future's result is its document, or the reason why there is none."""
        outcome: Future[Outcome] = Future()
        self._put(path, content, rules, "").add_done_callback(lambda done: _hand_on(done, outcome))
        return outcome

    def effects(self, path: str, content: bytes, rules: Rules) -> list[Effect]:
        """What each rule of cleaning does to a post; each may use as much processor time as a post."""
        answers = [self._put(path, content, rules, rule) for rule in RULES]
        return [_effect(rules, rule, answer.result()) for rule, answer in zip(RULES, answers, strict=True)]

    def close(self) -> None:
        """End the processes; posts that were submitted are cleaned first."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _put(self, path: str, content: bytes, rules: Rules, rule: str) -> Future[dict[str, Any] | Reason]:
        job = _Job(path, content, rules, rule, Future())
        self._jobs.put(job)
        return job.answer

    def _work(self) -> None:
        """What the thread of one process does until it is told to end."""
        process = _started()
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            # Only a share of what waits: the other processes are to have work, too.
            room, size = min(_POSTS_AT_A_TIME, self._jobs.qsize() // self.num_processes), len(job.content)
            is_last = False
            while len(jobs) <= room and size <= _BYTES_AT_A_TIME:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_last = True
                    break
                jobs.append(more)
                size += len(more.content)
            process = self._answer(jobs, process)
            if is_last:
                break
        process.end()

    def _answer(self, jobs: list[_Job], process: _Process) -> _Process:
        """Answer jobs, and return the process that is there afterwards."""
        answers = process.ask(jobs, self._processor_seconds)
        if answers is not None:
            for job, answer in zip(jobs, answers, strict=True):
                job.answer.set_result(answer)
            return process
        status = process.end()
        process = _started()
        if len(jobs) > 1:
            for job in jobs:
                process = self._answer([job], process)
        elif status in (-signal.SIGPROF, -signal.SIGKILL):
            message = f"its cleaning took more than {self._processor_seconds:g} s of processor time"
            jobs[0].answer.set_result(Reason(Code.CLEANING_FAILED, message))
        else:
            message = f"its cleaning broke the process that did it (status {status})"
            jobs[0].answer.set_result(Reason(Code.CLEANING_FAILED, message))
        return process


def _started() -> _Process:
    """A process; where the machine has no room for one, as soon as it has: posts that wait are not forgotten."""
    while True:
        try:
            return _Process()
        except OSError as error:
            _log.warning("no process could be started that cleans posts (%s); trying again", error)
            time.sleep(_RETRY_SECONDS)


def _hand_on(answer: Future[dict[str, Any] | Reason], outcome: Future[Outcome]) -> None:
    try:
        outcome.set_result(_outcome(answer.result()))
    except Exception as error:  # noqa: BLE001 (whoever waits is to know)
        outcome.set_exception(error)


@lru_cache(maxsize=8)
def _rules_json(rules: Rules) -> str:
    return rules.to_json()


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
        measures=Measures(**fields["measures"]),
    )

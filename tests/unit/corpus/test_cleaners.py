"""Cleaners: the pool of processes when the machine has no room for one."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from services.corpus import cleaners
from services.corpus.cleaning.documents import Document
from services.corpus.rules import Rules


def test_posts_wait_for_a_process_that_cannot_be_started_at_once(monkeypatch: pytest.MonkeyPatch):
    start, refused = subprocess.Popen, []

    def no_room_at_first(*arguments: Any, **options: Any) -> Any:
        if len(refused) < 2:
            refused.append(arguments)
            raise BlockingIOError("no room for another process")
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", no_room_at_first)
    monkeypatch.setattr(cleaners, "_RETRY_SECONDS", 0.01)
    pool = cleaners.Cleaners(1, processor_seconds=5.0)
    try:
        outcome = pool.submit("a.md", b"words", Rules()).result(timeout=60)
    finally:
        pool.close()

    assert len(refused) == 2
    assert isinstance(outcome, Document)
    assert outcome.text == "words"

"""Imports whose posts are cleaned in the test's own process."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from services.corpus.catalogue import Catalogue
from services.corpus.cleaning.documents import make_document
from services.corpus.imports import Import
from services.corpus.reasons import Code, LeftOut
from services.corpus.reports import Report
from services.corpus.rules import Rules


class InlineCleaners:
    """Cleans at once, in this process, and fails where it is told to."""

    num_processes = 1

    def __init__(self) -> None:
        self.cleaned: list[str] = []
        self.broken: set[str] = set()

    def submit(self, path: str, content: bytes, rules: Rules) -> Future:
        self.cleaned.append(path)
        future: Future = Future()
        try:
            if path in self.broken:
                raise LeftOut(Code.CLEANING_FAILED, "it broke")
            future.set_result(make_document(path, content, rules))
        except LeftOut as left_out:
            future.set_result(left_out.reason)
        return future


def bring(catalogue: Catalogue, cleaners: InlineCleaners, posts: Mapping[str, str | bytes], **options: Any) -> Report:
    """Import posts by path; `options` are `corpus` and those of Import."""
    with catalogue.importing():
        running = Import(catalogue, cleaners, options.pop("corpus", "default"), **options)
        for path, content in posts.items():
            running.add(path, content if isinstance(content, bytes) else content.encode())
        return running.commit()

"""`nonesuch posts add --watch`: bring in what changes in the folders, a line for each time, until Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from protos import corpus_pb2
from services.client.commands import terminal
from services.client.commands.posts import print_report
from services.client.folder import BUNDLE_SUFFIXES, POST_SUFFIXES
from services.client.following_folder import changes
from services.client.nonesuch import Nonesuch
from services.common.errors import Busy, Cancelled, NonesuchError, Unavailable

FIRST_PAUSE_S = 1.0  # after an attempt that failed; doubled each time
LONGEST_PAUSE_S = 30.0
MAX_NAMES = 3


def watch_posts(nonesuch: Nonesuch, paths: Sequence[Path], *, corpus: str, prune: bool, as_json: bool) -> None:
    """Add the posts, then add again whenever something changes. Ctrl-C ends it.

    A service that is away is asked again, less and less often; what changed meanwhile is not lost, since everything
    is compared with what the service holds.

    Raises:
        NonesuchError: the first time fails for another reason than that the service is away.
    """
    given = [path.expanduser() for path in paths]
    waiting: set[str] = set()  # what changed and has not been brought in
    is_first = is_due = True
    pause_s = FIRST_PAUSE_S
    next_attempt_s = 0.0
    try:
        for changed in changes(given, threading.Event()):
            waiting.update(changed)
            is_due = is_due or bool(changed)
            if not is_due or time.monotonic() < next_attempt_s:
                continue
            try:
                report = nonesuch.add_posts(*given, corpus=corpus, prune=prune)
            except (Unavailable, Cancelled, Busy) as error:
                if pause_s == FIRST_PAUSE_S:  # once for each time that it is away
                    terminal.note(f"{_now()}  {error.message}; trying again until it answers")
                next_attempt_s = time.monotonic() + pause_s
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
                continue
            except NonesuchError as error:
                if is_first:
                    raise
                terminal.note(f"{_now()}  {error.message}")  # the next change may mend it
                is_due = False
                continue
            pause_s = FIRST_PAUSE_S
            _tell(report, waiting, is_first=is_first, as_json=as_json)
            if is_first and not as_json:
                terminal.say(f"watching {', '.join(map(str, paths))}; Ctrl-C ends it")
            is_first = is_due = False
            waiting.clear()
    except KeyboardInterrupt:
        if not as_json:
            terminal.say("no longer watching")


def _tell(report: corpus_pb2.ImportReport, changed: set[str], *, is_first: bool, as_json: bool) -> None:
    if as_json:
        terminal.print_json_line(report)
    elif is_first:
        print_report(report)
    else:
        terminal.say(f"{_now()}  {_names(changed)}: {_outcome(report, changed)}")


def _outcome(report: corpus_pb2.ImportReport, changed: set[str]) -> str:
    """What became of the files that changed, on one line."""
    counts = ((report.num_added, "added"), (report.num_changed, "changed"), (report.num_removed, "removed"))
    parts = [f"{number:,} {word}" for number, word in counts if number]
    left_out = [entry for entry in report.skipped if _is_among(entry.path, changed)]
    parts += [f"left out: {entry.path}: {entry.reason.message}" for entry in left_out[:MAX_NAMES]]
    if len(left_out) > MAX_NAMES:
        parts.append(f"{len(left_out) - MAX_NAMES:,} more left out")
    return f"{', '.join(parts) or 'nothing to do'}; {terminal.count(report.num_documents, 'document')}"


def _is_among(path: str, changed: set[str]) -> bool:
    """Whether a path is one that changed, or is inside an archive that did."""
    parts = path.split("/")
    return any("/".join(parts[:length]) in changed for length in range(1, len(parts) + 1))


def _names(changed: set[str]) -> str:
    # Editors leave other files beside the one that is saved.
    names = sorted(name for name in changed if name.lower().endswith((*POST_SUFFIXES, *BUNDLE_SUFFIXES))) or sorted(
        changed
    )
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more or "again"


def _now() -> str:
    return time.strftime("%H:%M:%S")

"""`python -m services.trainer.fetching`: one fetch; a child of the service.

In: a line of JSON on standard input, an Order. Out: lines of JSON on standard output, `progress` and `remark`, and
last `done` or `error`. It ends when standard input does: its service is gone, and the next one goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.common.child import die_first
from services.common.errors import NonesuchError
from services.trainer.fetching.names import resolve
from services.trainer.fetching.sources import Sources


@dataclass(frozen=True, slots=True)
class Order:
    """What the service wants of the process.

    Args:
        asked: as a person named it.
        name: what to call it.
        folder: for the files.
        nice: added to the niceness.
    """

    asked: str
    name: str
    folder: str
    sources: Sources
    nice: int = 0

    def line(self) -> bytes:
        """As the process reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> int:
    """Do what standard input says."""
    values = json.loads(sys.stdin.readline())
    sources = Sources(**values["sources"] | {"order": tuple(values["sources"]["order"])})
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    os.nice(values["nice"])
    die_first()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # files are read and written: no GPU is needed

    import dataclasses

    from services.trainer.fetching.work import Fetch, explain

    wanted = dataclasses.replace(resolve(values["asked"]), name=values["name"])
    fetch = Fetch(wanted, Path(values["folder"]), sources, tell=_tell, remark=lambda text: _say("remark", message=text))
    try:
        fetch.run()
    except (NonesuchError, OSError) as error:
        _say("error", message=explain(error))
        return 1
    _say("done")
    return 0


def _tell(phase: str, url: str, file: str, done: int, total: int) -> None:
    _say("progress", phase=phase, url=url, file=file, bytes_done=done, bytes_total=total)


def _say(kind: str, **facts: Any) -> None:
    print(json.dumps({"kind": kind, **facts}), flush=True)


def _end_with_the_service() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

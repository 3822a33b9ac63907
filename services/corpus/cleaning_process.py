"""The cleaning process: one child of the service that cleans one post after another, and may die of it.

`python -m services.corpus.cleaning_process FD`, started by cleaners.py alone; FD is one end of a socket pair.
A request is two messages (a line of JSON, the posts' bytes), an answer one: for each post its document, or what one
rule does. A post that uses up its processor time is ended by the kernel's timer, whatever C code holds the
interpreter. The service then starts another.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import signal
import sys
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

from services.corpus.child import confine
from services.corpus.cleaning.documents import make_document
from services.corpus.cleaning.effects import difference
from services.corpus.reasons import Code, LeftOut
from services.corpus.rules import Rules

MAX_ADDRESS_SPACE_BYTES = 2 << 30  # a post that needs more gets a MemoryError, the machine keeps its memory


def answer(path: str, content: bytes, rules: Rules, rule: str = "") -> dict[str, Any]:
    """Clean one post, or tell what one rule does to it; what the answer holds is what cleaners.py reads."""
    try:
        if rule:
            return {"diff": difference(path, content, rules, rule)}
        document = make_document(path, content, rules)
    except LeftOut as left_out:
        return {"code": left_out.reason.code, "message": left_out.reason.message}
    except RecursionError:
        return {"code": Code.CLEANING_FAILED, "message": "its markup is nested too deeply"}
    except MemoryError:
        return {
            "code": Code.CLEANING_FAILED,
            "message": "its cleaning takes more memory than a post may have",
        }
    return {
        "title": document.title,
        "tags": document.tags,
        "date": document.date,
        "text": document.text,
        "notes": [[note.code, note.message] for note in document.notes],
        "marks": dataclasses.asdict(document.marks),
        "language": document.language,
        "quality": document.quality,
        "signature": document.signature.hex(),
        "measures": dataclasses.asdict(document.measure()),
    }


def main() -> None:
    """Answer until the service hangs up."""
    connection = Connection(int(sys.argv[1]))
    confine(MAX_ADDRESS_SPACE_BYTES)
    # What was imported stays; there is no need to look through it for garbage again and again.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    while True:
        try:
            request = json.loads(connection.recv_bytes())
            contents = memoryview(connection.recv_bytes())
        except EOFError:
            return
        answers = []
        for path, size, rules, rule in request["posts"]:
            # The default action of SIGPROF ends the process, so no Python needs to run for it.
            signal.setitimer(signal.ITIMER_PROF, request["processor_seconds"])
            answers.append(answer(path, bytes(contents[:size]), _rules(rules), rule))
            signal.setitimer(signal.ITIMER_PROF, 0)
            contents = contents[size:]
        try:
            # Whatever a parser made of a post, what leaves here is valid Unicode: half a surrogate pair becomes `?`.
            connection.send_bytes(json.dumps(answers, ensure_ascii=False).encode(errors="replace"))
        except BrokenPipeError:
            return


@lru_cache(maxsize=8)
def _rules(text: str) -> Rules:
    return Rules.from_json(text)


if __name__ == "__main__":
    main()

"""One line format for all processes, as text or JSON, with the service's name and the request's id.

Prompts, posts and samples are never logged.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import time

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


class _TextFormatter(logging.Formatter):
    """`2019-09-01T12:00:00Z INFO corpus [request] message`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_timestamp(record)} {record.levelname} {self._service} [{request_id.get()}]"
        line = f"{head} {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    """The same facts as one JSON object per line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "time": _timestamp(record),
            "level": record.levelname,
            "service": self._service,
            "request_id": request_id.get(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts, ensure_ascii=False)


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def configure(service: str, *, log_format: str, level: str) -> None:
    """Send this process's log to standard error. Called once, by `__main__`.

    Args:
        log_format: `text` or `json`.
        level: `debug`, `info`, `warning` or `error`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(service) if log_format == "json" else _TextFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("h5py", "numba", "tensorflow", "absl", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

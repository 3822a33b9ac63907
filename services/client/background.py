"""Makes calls on threads of their own, so that Ctrl-C never strikes inside grpc.

A KeyboardInterrupt is raised wherever the main thread happens to be. Within grpc, between the start of a call
and that of the thread that polls its channel, it leaves a channel that can never be closed: the process
hangs. So the main thread only ever waits here. Calls from other threads, which no signal reaches, are made
directly.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

QUEUE_LENGTH = 64  # items that may wait for a slow reader before the stream is held back
# Waits are short ones in a row: a signal that arrives just before a long one is not seen until it ends.
POLL_S = 0.1


def _is_reached_by_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _start(work: Callable[[], None]) -> None:
    """Run `work` on a thread that sees the caller's context and does not keep the process alive."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), daemon=True).start()


def call(function: Callable[[], T]) -> T:
    """Return or raise what `function` does. After a KeyboardInterrupt it goes on unheard."""
    if not _is_reached_by_signals():
        return function()
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again where the caller is
            errors.append(error)
        finally:
            done.set()

    _start(work)
    while not done.wait(POLL_S):
        pass
    if errors:
        raise errors[0]
    return results[0]


def stream(open_call: Callable[[], Any]) -> Iterator[Any]:
    """Yield what a streaming call brings; cancel the call when the reader leaves.

    Args:
        open_call: starts the call; what it returns is iterated and has `cancel()`.
    """
    if not _is_reached_by_signals():
        opened = open_call()
        try:
            yield from opened
        finally:
            opened.cancel()
        return
    items: queue.Queue[tuple[str, Any]] = queue.Queue(QUEUE_LENGTH)
    has_left = threading.Event()
    calls: list[Any] = []

    def put(kind: str, item: Any) -> None:
        while not has_left.is_set():
            try:
                return items.put((kind, item), timeout=POLL_S)
            except queue.Full:
                continue

    def work() -> None:
        try:
            calls.append(open_call())
            if has_left.is_set():
                calls[0].cancel()
            for item in calls[0]:
                put("item", item)
            put("end", None)
        except BaseException as error:  # noqa: BLE001 - raised again where the caller is
            put("error", error)

    _start(work)
    try:
        while True:
            try:
                kind, item = items.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
    finally:
        has_left.set()
        if calls:
            _start(calls[0].cancel)

from __future__ import annotations

import threading
from itertools import count

import pytest

from services.client import background

WAIT_S = 120.0


class FakeCall:
    def __init__(self, items, error=None):
        self.items = items
        self.error = error
        self.cancelled = threading.Event()
        self.thread = None

    def __iter__(self):
        self.thread = threading.current_thread()
        for item in self.items:
            if self.cancelled.is_set():
                return
            yield item
        if self.error is not None:
            raise self.error

    def cancel(self):
        self.cancelled.set()


def test_the_main_thread_never_makes_a_call_itself():
    assert background.call(threading.current_thread) is not threading.main_thread()


def test_other_threads_make_their_calls_directly():
    seen = []

    def work():
        seen.append(background.call(threading.current_thread))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [thread]


def test_errors_come_back_to_the_caller():
    def fail():
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        background.call(fail)
    with pytest.raises(LookupError, match="gone"):
        list(background.stream(fail))


def test_a_stream_brings_everything_and_then_its_error():
    seen = []

    with pytest.raises(LookupError, match="gone"):
        for item in background.stream(lambda: FakeCall(range(1000), LookupError("gone"))):
            seen.append(item)

    assert seen == list(range(1000))


def test_a_reader_that_leaves_cancels_the_call():
    call = FakeCall(count())

    items = background.stream(lambda: call)
    assert next(items) == 0
    items.close()

    assert call.cancelled.wait(WAIT_S)
    assert call.thread is not threading.main_thread()

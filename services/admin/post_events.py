"""A whole post while it is written, as the page's script reads it.

Server-sent events: nothing but heartbeats until it is on the shelf, then `shelved` with its address, or `problem`. The
post is written to its end and shelved also when the browser has gone away meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from protos import generator_pb2, shelf_pb2
from services.admin import streams
from services.admin.problems import explain
from services.client.connection import Connection
from services.client.shelf import Shelf
from services.common.errors import NonesuchError


def lines(
    services: Connection, request: generator_pb2.GeneratePostRequest, shelf_address: str, stopping: threading.Event
) -> Iterator[str]:
    """The events of one post.

    Args:
        shelf_address: of the shelf's page, below which each post has its own.
    """
    yield streams.HEARTBEAT  # the browser learns at once that it was heard
    try:
        for batch in streams.batches(_written(services, request), stopping):
            if not batch:
                yield streams.HEARTBEAT
            for post in batch:
                yield streams.event("shelved", {"address": f"{shelf_address}/{post.id}"})
    except NonesuchError as error:
        yield streams.event("problem", explain(error).as_json())


def _written(services: Connection, request: generator_pb2.GeneratePostRequest) -> Iterator[shelf_pb2.ShelfPost]:
    yield Shelf(services).write(request)

"""Connections to the four services: stubs made when first used, a deadline on every call, readable errors.

    connection.trainer.GetRun(trainer_pb2.GetRunRequest(run="run1"))
    connection.trainer.WatchRun(request, timeout_s=3600)       # an iterator; closing it cancels the call

Every call raises the errors of services/common/errors.py, never grpc.RpcError. Safe to use from several
threads. Make it after a fork, not before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc

from protos import corpus_pb2_grpc, generator_pb2_grpc, shelf_pb2_grpc, tokenizer_pb2_grpc, trainer_pb2_grpc
from services.client import background, statuses
from services.common import rpc
from services.common.settings import CommonSettings

CALL_S = 30.0  # deadline of a call that the caller gives none
PAGE_SIZE = 500  # entries per page when everything is wanted

_STUBS: dict[str, Callable[[grpc.Channel], Any]] = {
    "corpus": corpus_pb2_grpc.CorpusServiceStub,
    "shelf": shelf_pb2_grpc.ShelfServiceStub,
    "tokenizer": tokenizer_pb2_grpc.TokenizerServiceStub,
    "trainer": trainer_pb2_grpc.TrainerServiceStub,
    "generator": generator_pb2_grpc.GeneratorServiceStub,
}


class Service:
    """One service: its rpcs are attributes, called `service.Rpc(request, timeout_s=…, wait_for_ready=…)`.

    Args:
        stub: which of the process's gRPC services, where it has several; empty is the one that is named as it is.
    """

    def __init__(self, name: str, address: str, stub: str = "") -> None:
        try:
            rpc.split_address(address)
        except ValueError as error:
            raise ValueError(f"{error}; mend NONESUCH_{name.upper()}_ADDRESS") from None
        self.name = name
        self.address = address
        self._make_stub = _STUBS[stub or name]
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: Any = None

    def __getattr__(self, rpc_name: str) -> Callable[..., Any]:
        if rpc_name.startswith("_"):
            raise AttributeError(rpc_name)
        method = getattr(self._connected(), rpc_name)
        streams = isinstance(method, grpc.UnaryStreamMultiCallable | grpc.StreamStreamMultiCallable)

        def call(request: Any, *, timeout_s: float = CALL_S, wait_for_ready: bool = False) -> Any:
            ask = partial(method, request, timeout=timeout_s, wait_for_ready=wait_for_ready)
            if streams:
                return self._stream(ask)
            try:
                return background.call(ask)
            except grpc.RpcError as error:
                raise statuses.readable(error, self.name, self.address) from error

        return call

    def _connected(self) -> Any:
        with self._lock:
            if self._stub is None:
                self._channel = rpc.channel(self.address)
                self._stub = self._make_stub(self._channel)
            return self._stub

    def _stream(self, ask: Callable[[], Any]) -> Iterator[Any]:
        try:
            yield from background.stream(ask)
        except grpc.RpcError as error:
            raise statuses.readable(error, self.name, self.address) from error

    def close(self) -> None:
        """Close the channel; calls under way end."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = self._stub = None


class Connection:
    """The four services at the addresses of `settings`. A context manager; close it when done.

    Raises:
        ValueError: an address is not `host:port`.
    """

    def __init__(self, settings: CommonSettings) -> None:
        self.corpus = Service("corpus", settings.corpus_address)
        self.shelf = Service("corpus", settings.corpus_address, stub="shelf")
        self.tokenizer = Service("tokenizer", settings.tokenizer_address)
        self.trainer = Service("trainer", settings.trainer_address)
        self.generator = Service("generator", settings.generator_address)

    @property
    def services(self) -> tuple[Service, ...]:
        """All four, in the order in which a post meets them."""
        return (self.corpus, self.tokenizer, self.trainer, self.generator)

    def close(self) -> None:
        """Close all channels."""
        for service in (*self.services, self.shelf):
            service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def pages(method: Callable[..., Any], request: Any, field: str, **options: Any) -> Iterator[Any]:
    """Yield every entry of a paginated list.

    Args:
        method: the list rpc, such as `connection.corpus.ListPosts`.
        request: its request; page size and token are set here.
        field: the response's field that holds the entries, such as `posts`.
        options: of each call, such as `timeout_s`.
    """
    request.page_size = PAGE_SIZE
    while True:
        response = method(request, **options)
        yield from getattr(response, field)
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token

"""The corpus service as the tokenizer calls it: snapshots and their documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import json_format

from protos import corpus_pb2 as pb
from protos import corpus_pb2_grpc
from services.common import rpc
from services.common.errors import BY_STATUS, NonesuchError, NotFound, Unavailable
from services.tokenizer.documents import Document, OpenDocuments, Snapshot

CALL_S = 60.0  # a snapshot of a large corpus takes seconds
CONNECT_S = 30.0  # the two services may start together
STREAM_S = 6 * 3600.0  # training a vocabulary reads the stream as slowly as it counts


class CorpusPeer:
    """Asks the corpus service at an address; its errors become ours. Close it when done."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = rpc.channel(address)
        self._stub = corpus_pb2_grpc.CorpusServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel; calls that run end."""
        self._channel.close()

    def snapshot(self, corpus: str, digest: str) -> Snapshot:
        """The snapshot of this digest; an empty digest takes one now.

        Raises:
            NotFound: no such corpus or snapshot.
            FailedPrecondition: the corpus holds no document.
            Unavailable: the corpus service does not answer.
        """
        with self._our_errors():
            if not digest:
                request = pb.CreateSnapshotRequest(corpus=corpus)
                return _snapshot(self._stub.CreateSnapshot(request, timeout=CALL_S).snapshot)
            page = pb.ListSnapshotsRequest(corpus=corpus, page_size=1000)
            while True:
                response = self._stub.ListSnapshots(page, timeout=CALL_S)
                for snapshot in response.snapshots:
                    if snapshot.digest == digest:
                        return _snapshot(snapshot)
                if not response.next_page_token:
                    break
                page.page_token = response.next_page_token
        raise NotFound(
            f"corpus {corpus!r} has no snapshot {digest!r}; list its snapshots, or take one",
            metadata={"corpus": corpus, "snapshot": digest},
        )

    def documents(self, snapshot: Snapshot) -> OpenDocuments:
        """How to read a snapshot's documents; each call of the result opens a new stream."""

        def open_documents() -> Iterator[Document]:
            request = pb.ListDocumentsRequest(corpus=snapshot.corpus, snapshot=snapshot.digest)
            with self._our_errors():
                self._wait_until_there()
                call = self._stub.ListDocuments(request, timeout=STREAM_S)
                try:
                    for document in call:
                        yield Document(
                            document.id,
                            document.path,
                            document.title,
                            tuple(document.tags),
                            document.date,
                            document.text,
                        )
                finally:
                    call.cancel()  # tells the corpus service when nobody reads on

        return open_documents

    def style(self, snapshot: Snapshot) -> dict[str, Any]:
        """How the blog writes its posts, as plain values that services.blog.style reads."""
        request = pb.GetBlogStyleRequest(corpus=snapshot.corpus, snapshot=snapshot.digest)
        with self._our_errors():
            self._wait_until_there()
            style = self._stub.GetBlogStyle(request, timeout=CALL_S).style
        return json_format.MessageToDict(style, preserving_proto_field_name=True)

    def _wait_until_there(self) -> None:
        request = pb.ListCorporaRequest(page_size=1)
        self._stub.ListCorpora(request, timeout=CONNECT_S, wait_for_ready=True)

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            details = error.details() or error.code().name
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise Unavailable(
                    f"the corpus service at {self._address} does not answer ({details}); "
                    "start it, or try again in a moment",
                    retry_after_s=2,
                ) from None
            if error.code().name in BY_STATUS:
                raise BY_STATUS[error.code().name](details) from None
            raise NonesuchError(f"the corpus service at {self._address} failed: {details}") from None


def _snapshot(snapshot: pb.Snapshot) -> Snapshot:
    return Snapshot(snapshot.corpus, snapshot.digest, snapshot.num_documents)

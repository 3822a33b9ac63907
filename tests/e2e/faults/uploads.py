"""Uploads as any gRPC client may make them, well or badly."""

import threading
from collections.abc import Iterator

import grpc
import pytest

from protos import corpus_pb2 as pb
from protos import corpus_pb2_grpc
from services.common import rpc
from tests.e2e.faults.service import CorpusProcess

DEADLINE_S = 120.0
CHUNK_BYTES = 1 << 20
END = pb.UploadPostsRequest(end=pb.UploadEnd())


def parts(posts: dict[str, bytes], *, end: bool = True, **header) -> Iterator[pb.UploadPostsRequest]:
    """The messages of an upload.

    Args:
        end: with the last one, which says that the upload is whole.
        header: fields of UploadHeader.
    """
    yield pb.UploadPostsRequest(header=pb.UploadHeader(**header))
    for path, content in posts.items():
        yield pb.UploadPostsRequest(file=pb.UploadFile(path=path))
        for start in range(0, len(content), CHUNK_BYTES):
            yield pb.UploadPostsRequest(chunk=content[start : start + CHUNK_BYTES])
    if end:
        yield END


def upload(service: CorpusProcess, posts: dict[str, bytes], **header) -> pb.ImportReport:
    """A whole upload, and its report."""
    return service.stub.UploadPosts(parts(posts, **header), timeout=DEADLINE_S).report


class Unfinished:
    """An upload that has sent some posts and then says nothing, on a connection of its own.

    The posts are sent when this is made, unless the service refused them, though they may still be on their way.
    """

    def __init__(self, service: CorpusProcess, posts: dict[str, bytes], **header) -> None:
        self._said = threading.Event()
        self._goes_on = threading.Event()
        self._channel = rpc.channel(service.address)
        stub = corpus_pb2_grpc.CorpusServiceStub(self._channel)
        self.call = stub.UploadPosts.future(self._parts(posts, header), timeout=DEADLINE_S)
        self.call.add_done_callback(lambda _: self._said.set())  # refused before it said all
        assert self._said.wait(DEADLINE_S)

    def _parts(self, posts: dict[str, bytes], header: dict) -> Iterator[pb.UploadPostsRequest]:
        yield from parts(posts, end=False, **header)
        self._said.set()
        self._goes_on.wait()
        yield END

    def finish(self) -> pb.ImportReport:
        """Say the end, and return the report."""
        self._goes_on.set()
        try:
            return self.call.result().report
        finally:
            self._channel.close()

    def cancel(self) -> None:
        """Give the call up, as a client does whose person pressed Ctrl-C."""
        self.call.cancel()
        self._goes_on.set()
        self._channel.close()

    def disconnect(self) -> None:
        """Close the connection, as a client does that ends."""
        self._channel.close()
        self._goes_on.set()


def refused(call, *arguments, **options) -> grpc.RpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=DEADLINE_S, **options)
    return caught.value


def posts_of(service: CorpusProcess, corpus: str) -> list[str]:
    """Paths of a corpus's posts."""
    return [post.path for post in service.stub.ListPosts(pb.ListPostsRequest(corpus=corpus, page_size=1000)).posts]


def snapshot(service: CorpusProcess, corpus: str) -> str:
    """The digest of a corpus as it is."""
    return service.stub.CreateSnapshot(pb.CreateSnapshotRequest(corpus=corpus)).snapshot.digest

"""Uploads as a client makes them, and the calls that must fail."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import corpus_pb2 as pb

DEADLINE_S = 120
END = pb.UploadPostsRequest(end=pb.UploadEnd())


def messages(posts: dict[str, bytes], header: pb.UploadHeader) -> Iterator[pb.UploadPostsRequest]:
    yield from messages_but_the_end(posts, header)
    yield END


def messages_but_the_end(posts: dict[str, bytes], header: pb.UploadHeader) -> Iterator[pb.UploadPostsRequest]:
    yield pb.UploadPostsRequest(header=header)
    for path, content in posts.items():
        yield pb.UploadPostsRequest(file=pb.UploadFile(path=path, modified_at=Timestamp(seconds=1_567_296_000)))
        for start in range(0, len(content), 1 << 20):
            yield pb.UploadPostsRequest(chunk=content[start : start + (1 << 20)])


def upload(stub, corpus: str, posts: dict[str, bytes], **header) -> pb.ImportReport:
    sent = messages(posts, pb.UploadHeader(corpus=corpus, **header))
    return stub.UploadPosts(sent, timeout=DEADLINE_S).report


def failure(call, *arguments) -> tuple[grpc.StatusCode, str, str]:
    """Status, message and offending field of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call(*arguments, timeout=DEADLINE_S)
        if not hasattr(answer, "DESCRIPTOR"):
            list(answer)
    status = rpc_status.from_call(caught.value)
    field = ""
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            field = bad.field_violations[0].field
    return caught.value.code(), caught.value.details(), field

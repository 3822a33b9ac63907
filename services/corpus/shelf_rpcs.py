"""The rpcs of the shelf: what came is checked and put into bytes, one call into shelf.py, back to the wire."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from protos import generator_pb2, shelf_pb2_grpc
from protos import shelf_pb2 as pb
from services.common.errors import Corrupt, InvalidRequest
from services.corpus import messages
from services.corpus.shelf import NewPost, Shelf, ShelfPost, State, Which

SHELF_NAME = pb.DESCRIPTOR.services_by_name["ShelfService"].full_name

MOST_POST_BYTES = 4 << 20
MOST_NOTE_CHARACTERS = 2000
MOST_PATH_CHARACTERS = 1000
BEGINNING_CHARACTERS = 400
_LAST_SECOND = 253_402_300_799  # of the year 9999, after which a Timestamp is none
_REVIEWED = (State.WAITING, State.APPROVED, State.REJECTED)


class ShelfServicer(shelf_pb2_grpc.ShelfServiceServicer):
    """Answers from a shelf; its errors become statuses in services.common.rpc."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def AddPost(self, request: pb.AddPostRequest, context: grpc.ServicerContext) -> pb.AddPostResponse:
        """Put a post on the shelf."""
        return pb.AddPostResponse(post=_whole(self._shelf.add(_new_post(request))))

    def ListPosts(self, request: pb.ListPostsRequest, context: grpc.ServicerContext) -> pb.ListPostsResponse:
        """A page of posts."""
        size = messages.page_size(request.page_size, default=100, most=1000)
        after = messages.read_number_token(request.page_token) if request.page_token else None
        if request.last_changed_first and (request.page_token or request.oldest_first):
            raise InvalidRequest(
                "a list with last_changed_first has one page and that order alone: leave page_token and oldest_first "
                "out",
                field="last_changed_first",
            )
        which = Which(
            states=tuple(_state(state, "states", tuple(State)) for state in request.states),
            model=request.model,
            oldest_first=request.oldest_first,
            whole=request.include_body,
            last_changed_first=request.last_changed_first,
        )
        posts, has_more = self._shelf.posts(which, after, size)
        return pb.ListPostsResponse(
            posts=[_listed(post, with_body=request.include_body) for post in posts],
            next_page_token=messages.page_token(posts[-1].id) if has_more and not which.last_changed_first else "",
            total_size=self._shelf.count(which),
            room_left=self._shelf.room_left(),
        )

    def GetPost(self, request: pb.GetPostRequest, context: grpc.ServicerContext) -> pb.GetPostResponse:
        """One post."""
        return pb.GetPostResponse(post=_whole(self._shelf.post(request.id)))

    def ReviewPost(self, request: pb.ReviewPostRequest, context: grpc.ServicerContext) -> pb.ReviewPostResponse:
        """Decide about a post."""
        state = _state(request.state, "state", _REVIEWED)
        note = _note(request.note) if request.HasField("note") else None
        return pb.ReviewPostResponse(post=_whole(self._shelf.review(request.id, state, note)))

    def ReleasePost(self, request: pb.ReleasePostRequest, context: grpc.ServicerContext) -> pb.ReleasePostResponse:
        """Note that a post went out."""
        at = _moment(request.released_at) if request.HasField("released_at") else None
        return pb.ReleasePostResponse(post=_whole(self._shelf.release(request.id, _path(request.path), at)))

    def DeletePost(self, request: pb.DeletePostRequest, context: grpc.ServicerContext) -> pb.DeletePostResponse:
        """Delete a post."""
        self._shelf.delete(request.id)
        return pb.DeletePostResponse()


def _new_post(request: pb.AddPostRequest) -> NewPost:
    """What is to be kept of a post, or InvalidRequest."""
    answer = request.response
    if not request.HasField("request"):
        raise InvalidRequest("say what asked for the post: `request` is not set", field="request")
    if not answer.model.name:
        raise InvalidRequest("say which model wrote the post: it has no name", field="response.model.name")
    if not answer.body.strip():
        raise InvalidRequest(
            "the post has no word in its body; have another written, with another seed", field="response.body"
        )
    num_bytes = request.request.ByteSize() + answer.ByteSize()
    if num_bytes > MOST_POST_BYTES:
        raise InvalidRequest(
            f"the post has {num_bytes:,} bytes, what asked for it included; the shelf takes {MOST_POST_BYTES:,} at "
            "most: have a shorter one written",
            field="response",
        )
    return NewPost(
        uuid=_uuid(request.uuid),
        model=answer.model.name,
        request=request.request.SerializeToString(),
        response=answer.SerializeToString(),
        summary=_lighter(answer, with_body=False).SerializeToString(),
        beginning=_beginning(answer.body),
        num_words=len(answer.body.split()),
        note=_note(request.note),
    )


def _lighter(answer: generator_pb2.GeneratePostResponse, *, with_body: bool) -> generator_pb2.GeneratePostResponse:
    """An answer as lists hold it."""
    light = generator_pb2.GeneratePostResponse()
    light.CopyFrom(answer)
    for field in ("markdown", "text") if with_body else ("markdown", "text", "body"):
        light.ClearField(field)
    if light.HasField("originality"):
        light.originality.ClearField("runs")
    return light


def _beginning(body: str) -> str:
    """The first characters of a body, cut between words where there are words."""
    text = body.strip()
    if len(text) <= BEGINNING_CHARACTERS:
        return text
    head = text[: BEGINNING_CHARACTERS - 2]
    return f"{head.rsplit(None, 1)[0]} …"


def _whole(post: ShelfPost) -> pb.ShelfPost:
    return _message(post, _read(generator_pb2.GeneratePostResponse, post.response, post))


def _listed(post: ShelfPost, *, with_body: bool) -> pb.ShelfPost:
    return _message(post, _lighter(_read(generator_pb2.GeneratePostResponse, post.response, post), with_body=with_body))


def _message(post: ShelfPost, answer: generator_pb2.GeneratePostResponse) -> pb.ShelfPost:
    moments = {
        name: messages.timestamp(moment)
        for name in ("created_at", "reviewed_at", "released_at")
        if (moment := getattr(post, name)) is not None
    }
    return pb.ShelfPost(
        id=post.id,
        uuid=post.uuid,
        state=f"SHELF_STATE_{post.state.name}",
        request=_read(generator_pb2.GeneratePostRequest, post.request, post),
        response=answer,
        beginning=post.beginning,
        num_words=post.num_words,
        released_path=post.released_path,
        note=post.note,
        **moments,
    )


def _read(kind: Any, content: bytes, post: ShelfPost) -> Any:
    try:
        return kind.FromString(content)
    except DecodeError:
        raise Corrupt(
            f"post {post.id} of the shelf is damaged; `nonesuch shelf remove {post.id}` takes it away",
            metadata={"post": str(post.id)},
        ) from None


def _state(value: Any, field: str, allowed: tuple[State, ...]) -> State:
    name = pb.ShelfState.Name(value).removeprefix("SHELF_STATE_") if value in pb.ShelfState.values() else str(value)
    if name not in {state.name for state in allowed}:
        choices = ", ".join(state.name for state in allowed)
        raise InvalidRequest(f"{name} is no state to give or ask for here; choose one of {choices}", field=field)
    return State[name]


def _uuid(given: str) -> str:
    try:
        return str(uuid.UUID(given) if given else uuid.uuid4())
    except ValueError:
        raise InvalidRequest(f"{given[:100]!r} is no UUID; leave it empty to have one drawn", field="uuid") from None


def _note(text: str) -> str:
    if len(text) > MOST_NOTE_CHARACTERS:
        raise InvalidRequest(
            f"the note has {len(text):,} characters; {MOST_NOTE_CHARACTERS:,} are allowed", field="note"
        )
    return text


def _path(text: str) -> str:
    if len(text) > MOST_PATH_CHARACTERS or not text.isprintable():
        raise InvalidRequest(
            f"{text[:100]!r} is no path: use at most {MOST_PATH_CHARACTERS} characters, and no control characters",
            field="path",
        )
    return text


def _moment(moment: Timestamp) -> float:
    if not (0 <= moment.seconds <= _LAST_SECOND and 0 <= moment.nanos < 1_000_000_000):
        raise InvalidRequest(f"{moment.seconds} s and {moment.nanos} ns are no time to release at", field="released_at")
    return moment.seconds + moment.nanos / 1e9

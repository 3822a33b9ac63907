"""The shelf over the wire: what is put on it, decided and released, and each refusal with its code and words."""

from __future__ import annotations

import errno
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import generator_pb2, shelf_pb2_grpc
from protos import shelf_pb2 as pb
from services.common import rpc
from services.corpus import shelf as shelves
from services.corpus.shelf import Shelf
from services.corpus.shelf_rpcs import MOST_POST_BYTES, SHELF_NAME, ShelfServicer
from tests.rpc.corpus.uploading import failure

INVALID = grpc.StatusCode.INVALID_ARGUMENT
WAITING, APPROVED = pb.SHELF_STATE_WAITING, pb.SHELF_STATE_APPROVED
REJECTED, RELEASED = pb.SHELF_STATE_REJECTED, pb.SHELF_STATE_RELEASED


class Served:
    """A shelf in a folder, and a server in front of it that can be started again."""

    def __init__(self, folder, most_posts=1000):
        self.folder, self.most_posts = folder, most_posts
        self.start()

    def start(self):
        self.shelf = Shelf(self.folder, self.most_posts)
        servicer = ShelfServicer(self.shelf)
        self.server = rpc.start(
            "127.0.0.1:0",
            lambda server: shelf_pb2_grpc.add_ShelfServiceServicer_to_server(servicer, server),
            services=[SHELF_NAME],
        )
        self.channel = rpc.channel(f"127.0.0.1:{self.server.port}")
        self.stub = shelf_pb2_grpc.ShelfServiceStub(self.channel)

    def stop(self):
        self.channel.close()
        self.server.stop(0)
        self.shelf.close()


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path / "shelf")
    yield made
    made.stop()


@pytest.fixture
def stub(served):
    return served.stub


def written(title="The heron", body="It stood there all day.", model="run1", **fields):
    request = generator_pb2.GeneratePostRequest(model=model, seed=7, originality=True)
    response = generator_pb2.GeneratePostResponse(
        title=title,
        tags=["birds"],
        date="2019-09-01",
        body=body,
        markdown=f"---\ntitle: {title}\n---\n\n{body}\n",
        text=f"title: {title}\n\n{body}",
        path="_posts/2019-09-01-the-heron.md",
        model=generator_pb2.ModelReference(name=model, version=2, engine="litert"),
        finish_reason=generator_pb2.FINISH_REASON_END_OF_TEXT,
        effective=generator_pb2.EffectiveParameters(seed=7),
    )
    response.originality.verbatim_share = 0.25
    response.originality.runs.add(start=0, end=4, num_tokens=12, post="default/a.md", excerpt="x" * 500)
    return pb.AddPostRequest(request=request, response=response, **fields)


def add(stub, *arguments, **fields):
    return stub.AddPost(written(*arguments, **fields)).post


def reason_of(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    for detail in rpc_status.from_call(caught.value).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return caught.value.code(), info.reason, caught.value.details()
    raise AssertionError("no reason")


def review(stub, number, state, **fields):
    return stub.ReviewPost(pb.ReviewPostRequest(id=number, state=state, **fields)).post


def test_a_post_comes_back_as_it_was_put_there(stub):
    sent = written(note="the best of three")

    added = stub.AddPost(sent).post
    found = stub.GetPost(pb.GetPostRequest(id=added.id)).post

    assert found == added
    assert (found.request, found.response) == (sent.request, sent.response)
    assert found.state == WAITING
    assert uuid.UUID(found.uuid).version == 4
    assert (found.beginning, found.num_words, found.note) == ("It stood there all day.", 5, "the best of three")
    assert found.created_at.seconds > 1_600_000_000
    assert not (found.HasField("reviewed_at") or found.HasField("released_at") or found.released_path)


def test_asking_again_with_the_same_uuid_adds_nothing(stub):
    name = str(uuid.uuid4())

    first, again = add(stub, uuid=name.upper()), add(stub, uuid=name)

    assert again == first and first.uuid == name
    assert stub.ListPosts(pb.ListPostsRequest()).total_size == 1


def test_posts_are_listed_newest_first_without_what_is_heavy(stub):
    for title in ("one", "two", "three"):
        add(stub, title)

    listed = stub.ListPosts(pb.ListPostsRequest(page_size=2))
    rest = stub.ListPosts(pb.ListPostsRequest(page_size=2, page_token=listed.next_page_token))

    assert [post.response.title for post in [*listed.posts, *rest.posts]] == ["three", "two", "one"]
    assert listed.total_size == rest.total_size == 3 and not rest.next_page_token
    light = listed.posts[0]
    assert (light.response.body, light.response.markdown, light.response.text) == ("", "", "")
    assert light.response.originality.verbatim_share == 0.25 and not light.response.originality.runs
    assert light.beginning and light.response.model.version == 2 and light.request.seed == 7


def test_a_list_tells_how_many_posts_the_shelf_still_takes(tmp_path):
    served = Served(tmp_path / "shelf", most_posts=2)
    try:
        for left in (2, 1, 0):
            listed = served.stub.ListPosts(pb.ListPostsRequest(page_size=1, states=[APPROVED]))
            assert listed.HasField("room_left") and listed.room_left == left
            if left:
                add(served.stub)
    finally:
        served.stop()


def test_those_that_changed_last_come_first_on_one_page(served, stub):
    now = iter(range(1000, 2000))
    served.shelf._now = lambda: float(next(now))
    for _ in range(5):
        add(stub)
    for number in (1, 4):
        review(stub, number, APPROVED)
    stub.ReleasePost(pb.ReleasePostRequest(id=1))
    review(stub, 3, REJECTED)

    listed = stub.ListPosts(pb.ListPostsRequest(last_changed_first=True))
    assert [post.id for post in listed.posts] == [3, 1, 4, 5, 2]
    feed = pb.ListPostsRequest(last_changed_first=True, states=[APPROVED, RELEASED], page_size=1, include_body=True)
    listed = stub.ListPosts(feed)
    assert [post.id for post in listed.posts] == [1] and not listed.next_page_token and listed.total_size == 2
    for wrong in ({"oldest_first": True}, {"page_token": "MQ=="}):
        request = pb.ListPostsRequest(last_changed_first=True, **wrong)
        assert failure(stub.ListPosts, request)[0] == INVALID


def test_bodies_come_when_asked_for_and_the_oldest_first(stub):
    for title in ("one", "two", "three"):
        add(stub, title)

    first = stub.ListPosts(pb.ListPostsRequest(page_size=2, oldest_first=True, include_body=True))
    rest = stub.ListPosts(
        pb.ListPostsRequest(page_size=2, oldest_first=True, include_body=True, page_token=first.next_page_token)
    )

    assert [post.response.title for post in [*first.posts, *rest.posts]] == ["one", "two", "three"]
    assert first.posts[0].response.body == "It stood there all day."
    assert not first.posts[0].response.markdown and not first.posts[0].response.originality.runs


def test_lists_hold_the_states_and_the_model_asked_for(stub):
    one, two, three = add(stub, "one"), add(stub, "two", model="run2"), add(stub, "three")
    review(stub, one.id, APPROVED)
    review(stub, two.id, REJECTED)

    def ids(**fields):
        return [post.id for post in stub.ListPosts(pb.ListPostsRequest(**fields)).posts]

    assert ids(states=[APPROVED]) == [one.id]
    assert ids(states=[APPROVED, REJECTED]) == [two.id, one.id]
    assert ids(model="run1") == [three.id, one.id]
    assert ids(model="run1", states=[REJECTED]) == [] == ids(model="no-such")


def test_a_page_that_would_not_fit_in_a_message_is_shorter(stub):
    for _ in range(4):
        add(stub, body="word " * 200_000)

    token, sizes = "", []
    while True:
        page = stub.ListPosts(pb.ListPostsRequest(include_body=True, page_token=token))
        sizes.append(len(page.posts))
        token = page.next_page_token
        if not token:
            break

    assert sum(sizes) == 4 and max(sizes) < 4
    assert len(stub.ListPosts(pb.ListPostsRequest()).posts) == 4


def test_what_was_decided_can_be_decided_again_until_it_is_released(stub):
    number = add(stub).id

    approved = review(stub, number, APPROVED, note="fine")
    same = review(stub, number, APPROVED)
    waiting = review(stub, number, WAITING)
    rejected = review(stub, number, REJECTED, note="")

    assert (approved.state, approved.note) == (APPROVED, "fine") and approved.HasField("reviewed_at")
    assert same == approved
    assert waiting.state == WAITING and not waiting.HasField("reviewed_at") and waiting.note == "fine"
    assert (rejected.state, rejected.note) == (REJECTED, "")


def test_a_release_keeps_path_and_time_and_is_final(stub):
    number = add(stub).id
    review(stub, number, APPROVED)
    request = pb.ReleasePostRequest(id=number, path="_posts/heron.md", released_at=Timestamp(seconds=1_567_296_000))

    released = stub.ReleasePost(request).post
    again = stub.ReleasePost(pb.ReleasePostRequest(id=number, path="_posts/heron.md")).post

    assert (released.state, released.released_path, released.released_at.seconds) == (
        RELEASED, "_posts/heron.md", 1_567_296_000,
    )  # fmt: skip
    assert again == released
    code, reason, words = reason_of(stub.ReviewPost, pb.ReviewPostRequest(id=number, state=REJECTED))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RELEASED")
    assert f"post {number} is released to _posts/heron.md, which nothing takes back" in words
    elsewhere = pb.ReleasePostRequest(id=number, path="elsewhere.md")
    assert reason_of(stub.ReleasePost, elsewhere)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "RELEASED")


@pytest.mark.parametrize("state", [WAITING, REJECTED])
def test_only_approved_posts_are_released(stub, state):
    number = add(stub).id
    review(stub, number, state)

    code, reason, words = reason_of(stub.ReleasePost, pb.ReleasePostRequest(id=number))

    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_APPROVED")
    assert f"nonesuch shelf approve {number}" in words


def test_a_deleted_post_is_gone_and_its_id_is_not_given_again(stub):
    first = add(stub).id
    stub.DeletePost(pb.DeletePostRequest(id=first))

    assert stub.ListPosts(pb.ListPostsRequest()).total_size == 0
    assert add(stub).id > first


@pytest.mark.parametrize("number", [0, -1, 99, 2**62])
def test_an_unknown_post_is_told_by_every_rpc(stub, number):
    for call, request in (
        (stub.GetPost, pb.GetPostRequest(id=number)),
        (stub.ReviewPost, pb.ReviewPostRequest(id=number, state=APPROVED)),
        (stub.ReleasePost, pb.ReleasePostRequest(id=number)),
        (stub.DeletePost, pb.DeletePostRequest(id=number)),
    ):
        code, message, _ = failure(call, request)
        assert code is grpc.StatusCode.NOT_FOUND
        assert f"there is no post {number} on the shelf" in message


def changed(**changes):
    request = written()
    for path, value in changes.items():
        *way, last = path.split("__")
        target = request
        for name in way:
            target = getattr(target, name)
        setattr(target, last, value)
    return request


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (pb.AddPostRequest(response=written().response), "request", "is not set"),
        (pb.AddPostRequest(request=written().request), "response.model.name", "no name"),
        (changed(response__body=" \n "), "response.body", "another seed"),
        (changed(response__text="x" * MOST_POST_BYTES), "response", "a shorter one"),
        (changed(uuid="../../etc"), "uuid", "is no UUID"),
        (changed(note="x" * 2001), "note", "2,001 characters"),
    ],
)
def test_a_post_that_cannot_be_kept_is_refused(stub, request_, field, words):
    code, message, named = failure(stub.AddPost, request_)

    assert (code, named) == (INVALID, field) and words in message
    assert stub.ListPosts(pb.ListPostsRequest()).total_size == 0


@pytest.mark.parametrize(
    ("name", "request_", "field"),
    [
        ("ListPosts", pb.ListPostsRequest(page_size=-1), "page_size"),
        ("ListPosts", pb.ListPostsRequest(page_token="*"), "page_token"),
        ("ListPosts", pb.ListPostsRequest(page_token="LTE="), "page_token"),
        ("ListPosts", pb.ListPostsRequest(states=[0]), "states"),
        ("ListPosts", pb.ListPostsRequest(states=[9]), "states"),
        ("ReviewPost", pb.ReviewPostRequest(id=1), "state"),
        ("ReviewPost", pb.ReviewPostRequest(id=1, state=RELEASED), "state"),
        ("ReviewPost", pb.ReviewPostRequest(id=1, state=77), "state"),
        ("ReviewPost", pb.ReviewPostRequest(id=1, state=APPROVED, note="x" * 2001), "note"),
        ("ReleasePost", pb.ReleasePostRequest(id=1, path="a\nb"), "path"),
        ("ReleasePost", pb.ReleasePostRequest(id=1, path="x" * 1001), "path"),
        ("ReleasePost", pb.ReleasePostRequest(id=1, released_at=Timestamp(seconds=-1)), "released_at"),
        ("ReleasePost", pb.ReleasePostRequest(id=1, released_at=Timestamp(seconds=1 << 60)), "released_at"),
    ],
)
def test_a_value_that_is_none_is_refused_with_its_field(stub, name, request_, field):
    review(stub, add(stub).id, APPROVED)

    assert failure(getattr(stub, name), request_)[::2] == (INVALID, field)


def test_a_full_shelf_says_what_to_do(tmp_path):
    served = Served(tmp_path, most_posts=2)
    try:
        first = add(served.stub)
        add(served.stub)

        code, reason, words = reason_of(served.stub.AddPost, written())
        served.stub.DeletePost(pb.DeletePostRequest(id=first.id))

        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SHELF_FULL")
        assert "nonesuch shelf remove" in words and "NONESUCH_CORPUS_MAX_SHELF_POSTS" in words
        assert add(served.stub).id
    finally:
        served.stop()


def test_a_restart_keeps_everything(served):
    kept, dropped = add(served.stub), add(served.stub)
    review(served.stub, kept.id, APPROVED, note="good")
    before = served.stub.ReleasePost(pb.ReleasePostRequest(id=kept.id, path="a.md")).post
    served.stub.DeletePost(pb.DeletePostRequest(id=dropped.id))

    served.stop()
    served.start()

    assert served.stub.GetPost(pb.GetPostRequest(id=kept.id)).post == before
    assert served.stub.ListPosts(pb.ListPostsRequest()).total_size == 1
    assert add(served.stub).id > dropped.id


def test_a_damaged_file_is_told_and_served_again_once_it_is_mended(tmp_path):
    (tmp_path / "shelf.db").write_bytes(b"not a database" * 100)
    served = Served(tmp_path)
    try:
        code, message, _ = failure(served.stub.ListPosts, pb.ListPostsRequest())
        assert code is grpc.StatusCode.DATA_LOSS
        assert "shelf.db is damaged" in message and "begin an empty shelf" in message
        assert failure(served.stub.AddPost, written())[0] is grpc.StatusCode.DATA_LOSS

        (tmp_path / "shelf.db").unlink()

        assert add(served.stub).id == 1
    finally:
        served.stop()


def test_a_file_that_cannot_be_opened_is_told_each_time_and_served_again_once_it_can(tmp_path):
    (tmp_path / "shelf.db").mkdir()
    served = Served(tmp_path)
    try:
        for _ in range(2):
            code, message, _ = failure(served.stub.ListPosts, pb.ListPostsRequest())
            assert code is grpc.StatusCode.FAILED_PRECONDITION and "shelf.db cannot be written" in message

        (tmp_path / "shelf.db").rmdir()

        assert add(served.stub).id == 1
    finally:
        served.stop()


def test_a_damaged_post_is_told_by_its_number_and_can_be_taken_away(served):
    number = add(served.stub).id
    with sqlite3.connect(served.folder / "shelf.db") as connection:
        connection.execute("UPDATE posts SET response = x'ffff'")
    connection.close()

    code, message, _ = failure(served.stub.GetPost, pb.GetPostRequest(id=number))
    served.stub.DeletePost(pb.DeletePostRequest(id=number))

    assert code is grpc.StatusCode.DATA_LOSS and f"nonesuch shelf remove {number}" in message


def test_a_volume_that_cannot_be_written_is_told(served, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)

    code, message, _ = failure(served.stub.ListPosts, pb.ListPostsRequest())

    assert code is grpc.StatusCode.FAILED_PRECONDITION and "cannot be written" in message


def test_many_callers_at_once_lose_nothing(stub):
    with ThreadPoolExecutor(8) as pool:
        ids = [post.id for post in pool.map(lambda number: add(stub, f"post {number}"), range(40))]

    assert sorted(ids) == list(range(1, 41))
    assert stub.ListPosts(pb.ListPostsRequest()).total_size == 40


def test_hostile_words_are_kept_and_never_name_a_file(served):
    request = written(title="<script>alert(1)</script>\x00\x1b[31m", body="'; DROP TABLE posts; --")
    request.response.path = "../../../etc/passwd"

    number = served.stub.AddPost(request).post.id

    assert served.stub.GetPost(pb.GetPostRequest(id=number)).post.response == request.response
    assert {path.name for path in served.folder.iterdir()} <= {".lock", "shelf.db", "shelf.db-wal", "shelf.db-shm"}
    assert failure(served.stub.ListPosts, pb.ListPostsRequest(page_token="JyBPUiAx"))[::2] == (INVALID, "page_token")


def test_pages_have_half_a_message_at_most():
    assert shelves.PAGE_BYTES * 2 <= rpc.MAX_MESSAGE_BYTES

"""The shelf's pages, and the page that has a post written."""

import html
import json
import re
import threading
from xml.etree import ElementTree

import pytest

from protos import generator_pb2, shelf_pb2
from services.admin import post_events, shelf_words
from services.admin.keys import Keys
from services.common.errors import Busy, FailedPrecondition, InvalidRequest, NotFound, Unavailable
from tests.unit.admin.test_events import parsed

EVENTS = {"Accept": "text/event-stream"}
NAMED = "title: <b>Heron</b>\ntags: birds\n\n"
BODY = "It stood there all day.\n\n<script>alert(1)</script> nobody asked."


def a_post(number=12, state=shelf_pb2.SHELF_STATE_WAITING, **fields):
    answer = generator_pb2.GeneratePostResponse(
        title="<b>Heron</b>",
        tags=["birds"],
        date="2019-09-01",
        body=BODY,
        text=NAMED + BODY,
        markdown=f"---\ntitle: Heron\n---\n\n{BODY}\n",
        path="../../etc/The Heron é.md",
        model=generator_pb2.ModelReference(name="run1", version=2, engine="litert"),
        finish_reason=generator_pb2.FINISH_REASON_END_OF_TEXT,
        effective=generator_pb2.EffectiveParameters(
            seed=2**64 - 1, sampling=generator_pb2.SamplingParameters(temperature=0.8, top_k=40, top_p=1, min_p=0.05)
        ),
    )
    start = len(NAMED) + BODY.index("stood")
    answer.originality.verbatim_share = 0.25
    answer.originality.longest_run_tokens = 14
    answer.originality.nearest_post = "default/old/heron.md"
    answer.originality.runs.add(
        start=start, end=start + 11, num_tokens=14, num_places=2, post="default/old/heron.md", title="Old <i>heron</i>",
        excerpt="The heron stood there then", excerpt_start=10, excerpt_end=21,
    )  # fmt: skip
    request = generator_pb2.GeneratePostRequest(
        model="run1", title="<b>Heron</b>", seed=7, max_verbatim_tokens=20, sampling={"min_p": 0.05}
    )
    post = shelf_pb2.ShelfPost(
        id=number, uuid="a", state=state, request=request, response=answer, beginning="It stood <em>there</em>",
        num_words=9, **fields,
    )  # fmt: skip
    post.created_at.GetCurrentTime()
    return post


@pytest.fixture
def shelf(services):
    """A shelf with one post; it is returned so that a test may change it."""
    post = a_post()
    services.shelf.answer("GetPost", lambda asked: shelf_pb2.GetPostResponse(post=post))
    services.shelf.answer("ListPosts", lambda asked: shelf_pb2.ListPostsResponse(posts=[post], total_size=1))
    services.shelf.answer("ReviewPost", lambda asked: shelf_pb2.ReviewPostResponse(post=post))
    services.shelf.answer("AddPost", lambda asked: shelf_pb2.AddPostResponse(post=a_post(13)))
    served = generator_pb2.ServedModel(name="run1", version=2, state=generator_pb2.MODEL_STATE_SERVING)
    services.generator.answer("ListModels", generator_pb2.ListModelsResponse(models=[served]))
    services.generator.answer("GeneratePost", lambda asked: post.response)
    return post


def test_an_empty_shelf_leads_to_writing(client):
    page = client.get("/shelf")

    assert page.status_code == 200
    assert 'class="button primary" href="/shelf/write"' in page.text
    assert "The shelf is empty" in page.text


def test_posts_are_cards_with_what_matters(client, shelf):
    page = client.get("/shelf").text

    for words in ("&lt;b&gt;Heron&lt;/b&gt;", "waits for you", "2019-09-01", "birds", "run1, version 2", "9 words",
                  "25 % borrowed", "It stood &lt;em&gt;there&lt;/em&gt;", "written <time"):  # fmt: skip
        assert words in page, words
    assert 'value="approved">Approve<' in page and 'value="rejected">Reject<' in page
    assert "Decide later" not in page
    assert "<b>Heron" not in page and "<em>there" not in page


def test_the_list_asks_for_the_state_and_the_model(client, services, shelf):
    client.get("/shelf?state=approved&model=run1&page=MTI=")
    client.get("/shelf?state=nonsense")

    first, second = services.shelf.asked(shelf_pb2.ListPostsRequest)
    assert (list(first.states), first.model, first.page_token) == ([shelf_pb2.SHELF_STATE_APPROVED], "run1", "MTI=")
    assert not second.states


@pytest.mark.parametrize(
    ("state", "there", "not_there"),
    [
        (shelf_pb2.SHELF_STATE_APPROVED, ["Reject", "Decide later"], ["Approve"]),
        (shelf_pb2.SHELF_STATE_REJECTED, ["Approve", "Decide later"], ["Reject"]),
        (shelf_pb2.SHELF_STATE_RELEASED, ["Remove"], ["Approve", "Reject", "Decide later"]),
    ],
)
def test_only_what_can_be_decided_is_offered(client, shelf, state, there, not_there):
    shelf.state = state
    page = client.get("/shelf").text

    assert all(f">{word}</button>" in page for word in there)
    assert not any(f">{word}</button>" in page for word in not_there)


def test_a_post_is_read_with_its_borrowed_words_marked(client, shelf):
    page = client.get("/shelf/12").text

    assert re.search(
        r'It <mark data-run="0" tabindex="0" title="[^"]*Old &lt;i&gt;[^"]*">stood there</mark> all day', page
    )
    assert "&lt;script&gt;alert(1)&lt;/script&gt; nobody asked." in page and "<script>alert" not in page
    assert "25 % stands word for word" in page
    assert 'href="/posts/view?corpus=default&amp;path=old/heron.md"' in page
    runs = json.loads(html.unescape(re.search(r'id="runs">(.*?)</script>', page)[1]))
    assert (runs[0]["before"], runs[0]["text"], runs[0]["others"]) == ("The heron ", "stood there", 1)
    for words in ("18446744073709551615", "0.8", "0.05", "20 tokens", "title", "The model ended the text itself."):
        assert words in page, words


def test_a_post_whose_originality_is_not_known_says_so(client, shelf):
    shelf.response.ClearField("originality")
    page = client.get("/shelf/12")

    assert page.status_code == 200
    assert "is not known" in page.text and "<mark data-run" not in page.text and 'id="runs"' not in page.text


def test_marks_stand_in_the_title_too_and_nowhere_when_the_text_is_another():
    post = a_post()
    post.response.originality.runs.insert(0, generator_pb2.VerbatimRun(start=10, end=15, num_tokens=12))
    assert shelf_words.marked(post).title == [("<b>", None), ("Heron", 0), ("</b>", None)]

    post.response.text = "something else"
    assert shelf_words.marked(post) == shelf_words.Marked([("<b>Heron</b>", None)], [(BODY, None)])


def test_a_missing_post_is_a_page_that_says_so(client, services):
    services.shelf.answer("GetPost", NotFound("there is no post 5 on the shelf"))

    for path in ("/shelf/5", "/shelf/5/download"):
        page = client.get(path)
        assert page.status_code == 404 and "There is no post 5 on the shelf." in page.text
    assert client.get("/shelf/-1").status_code == client.get("/shelf/../x").status_code == 404


def test_a_number_that_no_post_can_have_is_no_page(client, csrf, shelf):
    beyond = f"/shelf/{2**63}"
    for page in (beyond, f"{beyond}/download"):
        assert client.get(page).status_code == 404
    for deed in ("review", "delete", "again", "more"):
        form = {"csrf_token": csrf, "state": "approved"}
        assert client.post(f"{beyond}/{deed}", data=form).status_code == 404


def test_the_download_is_named_by_plain_letters_of_the_blog_s_path(client, shelf):
    answer = client.get("/shelf/12/download")

    assert answer.mimetype == "text/markdown" and answer.text == shelf.response.markdown
    disposition = answer.headers["Content-Disposition"]
    assert disposition == "attachment; filename=\"The Heron e.md\"; filename*=UTF-8''The%20Heron%20%C3%A9.md"
    shelf.response.path = '..\\"; filename=evil.exe\r\nX: y'
    disposition = client.get("/shelf/12/download").headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="?[\w. -]+\.md"?', disposition)


@pytest.mark.parametrize("state", ["approved", "rejected", "waiting"])
def test_a_decision_is_sent_and_leads_back(client, csrf, services, shelf, state):
    answer = client.post(
        "/shelf/12/review",
        data={"csrf_token": csrf, "state": state},
        headers={"Referer": "http://localhost/shelf?state=waiting"},
    )

    (asked,) = services.shelf.asked(shelf_pb2.ReviewPostRequest)
    assert (asked.id, shelf_pb2.ShelfState.Name(asked.state)) == (12, f"SHELF_STATE_{state.upper()}")
    assert answer.location == "http://localhost/shelf?state=waiting"
    assert "“&lt;b&gt;Heron&lt;/b&gt;”" in client.get("/shelf").text


def test_a_decision_that_is_none_or_refused_is_told(client, csrf, services, shelf):
    client.post("/shelf/12/review", data={"csrf_token": csrf, "state": "released"})
    assert not services.shelf.asked(shelf_pb2.ReviewPostRequest)
    assert "is no decision about a post" in client.get("/shelf").text

    services.shelf.answer("ReviewPost", FailedPrecondition("post 12 is released, which nothing takes back"))
    client.post("/shelf/12/review", data={"csrf_token": csrf, "state": "rejected"})
    assert "Post 12 is released, which nothing takes back." in client.get("/shelf").text


@pytest.mark.parametrize(
    ("referrer", "back"), [("/shelf/12", "/shelf"), ("/shelf?state=rejected", "http://localhost/shelf?state=rejected")]
)
def test_removing_leads_back_to_the_list(client, csrf, services, shelf, referrer, back):
    answer = client.post(
        "/shelf/12/delete", data={"csrf_token": csrf}, headers={"Referer": f"http://localhost{referrer}"}
    )

    assert services.shelf.asked(shelf_pb2.DeletePostRequest)[0].id == 12
    assert answer.location == back


def test_the_form_offers_models_or_leads_to_training(client, services, shelf):
    assert 'name="model" value="run1"' in client.get("/shelf/write").text

    services.generator.answer("ListModels", generator_pb2.ListModelsResponse())
    assert "No model has been published yet" in client.get("/shelf/write").text

    services.generator.answer("ListModels", Unavailable("the generator starts", retry_after_s=1))
    assert "The generator starts." in client.get("/shelf/write").text


WISH = {
    "model": "run1@2", "title": " Tides ", "tags": "sea, , moon", "date": "2024-05-31", "opening": "Once\r\nmore",
    "temperature": "0.7", "top_k": "0", "top_p": "0.9", "max_new_tokens": "300", "max_verbatim_tokens": "12",
    "seed": str(2**64 - 1),
}  # fmt: skip


def test_without_a_script_the_form_s_answer_is_the_post(client, csrf, services, shelf):
    answer = client.post("/shelf/write", data={"csrf_token": csrf, **WISH})

    assert answer.location == "/shelf/13"
    (asked,) = services.generator.asked(generator_pb2.GeneratePostRequest)
    assert (asked.model, asked.version, asked.title, list(asked.tags)) == ("run1", 2, "Tides", ["sea", "moon"])
    assert (asked.date, asked.opening, asked.seed) == ("2024-05-31", "Once\nmore", 2**64 - 1)
    assert (asked.max_new_tokens, asked.max_verbatim_tokens, asked.originality) == (300, 12, True)
    assert asked.sampling.HasField("top_k") and round(asked.sampling.top_p, 5) == 0.9
    (added,) = services.shelf.asked(shelf_pb2.AddPostRequest)
    assert added.request == asked and added.response == shelf.response


def test_what_is_left_empty_is_not_asked_for(client, csrf, services, shelf):
    client.post("/shelf/write", data={"csrf_token": csrf, **dict.fromkeys(WISH, "")})

    asked = services.generator.asked(generator_pb2.GeneratePostRequest)[0]
    assert asked == generator_pb2.GeneratePostRequest(originality=True)


def test_with_a_script_events_lead_to_the_post(client, csrf, shelf):
    answer = client.post("/shelf/write", data={"csrf_token": csrf, **WISH}, headers=EVENTS)

    assert answer.mimetype == "text/event-stream" and answer.text.startswith(": still here")
    assert parsed([answer.text]) == [("shelved", {"address": "/shelf/13"}, None)]


def test_a_model_without_an_index_writes_all_the_same(client, csrf, services, shelf):
    def answer(asked):
        if asked.originality:
            raise FailedPrecondition("no index", reason="NO_INDEX")
        return shelf.response

    services.generator.answer("GeneratePost", answer)

    assert client.post("/shelf/write", data={"csrf_token": csrf}).location == "/shelf/13"
    assert not services.shelf.asked(shelf_pb2.AddPostRequest)[0].request.originality


PROBLEMS = [
    ("generator", "GeneratePost", Unavailable("the model is loading", retry_after_s=2), 503, "The model is loading."),
    ("generator", "GeneratePost", FailedPrecondition("no index", reason="NO_INDEX"), 409, "No index."),
    ("generator", "GeneratePost", InvalidRequest("must be below 1", field="sampling.top_p"), 400, "Must be below 1."),
    ("shelf", "ListPosts", Unavailable("the corpus is away", reason="UNREACHABLE"), 503, "The corpus is away."),
    ("shelf", "AddPost", Busy("the shelf is full", reason="SHELF_FULL"), 429, "The shelf is full."),
]


@pytest.mark.parametrize(("service", "rpc", "error", "status", "words"), PROBLEMS)
def test_a_problem_is_told_in_words_and_the_form_stays_filled_in(
    client, csrf, services, shelf, service, rpc, error, status, words
):
    getattr(services, service).answer(rpc, error)

    page = client.post("/shelf/write", data={"csrf_token": csrf, **WISH})
    events = client.post("/shelf/write", data={"csrf_token": csrf, **WISH}, headers=EVENTS)

    assert page.status_code == status
    assert words in page.text and 'value=" Tides "' in page.text
    ((name, told, _),) = parsed([events.text])
    assert name == "problem" and told["message"] == words
    assert "Try again in a moment" not in told["remedy"]


def test_what_makes_no_sense_is_shown_beside_its_field(client, csrf, services, shelf):
    wrong = {"csrf_token": csrf, "temperature": "hot", "seed": "-1", "date": "soon"}

    page = client.post("/shelf/write", data=wrong)
    answer = client.post("/shelf/write", data=wrong, headers=EVENTS)

    assert page.status_code == answer.status_code == 400
    assert "Give a number." in page.text
    assert set(answer.json["problems"]) == {"temperature", "seed", "date"}
    assert not services.generator.asked(generator_pb2.GeneratePostRequest)


def test_again_asks_the_same_with_another_seed_and_more_keeps_tags_and_settings(client, csrf, services, shelf):
    assert client.post("/shelf/12/again", data={"csrf_token": csrf}).location == "/shelf/13"
    events = client.post("/shelf/12/more", data={"csrf_token": csrf}, headers=EVENTS).text

    again, more = services.generator.asked(generator_pb2.GeneratePostRequest)
    assert again.title == "<b>Heron</b>" and not again.HasField("seed") and again.max_verbatim_tokens == 20
    assert not more.HasField("title") and list(more.tags) == ["birds"] and more.sampling == again.sampling
    assert parsed([events])[0][0] == "shelved"


def test_a_post_is_shelved_also_when_the_browser_has_gone(services, shelf):
    reached, released = threading.Event(), threading.Event()

    def slow(asked):
        reached.set()
        assert released.wait(30)
        return shelf.response

    services.generator.answer("GeneratePost", slow)
    added = threading.Event()

    def add(asked):
        added.set()
        return shelf_pb2.AddPostResponse(post=a_post(13))

    services.shelf.answer("AddPost", add)
    stopping = threading.Event()
    events = post_events.lines(services, generator_pb2.GeneratePostRequest(), "/shelf", stopping)
    next(events)
    reader = threading.Thread(target=lambda: list(events))
    reader.start()
    assert reached.wait(30)
    stopping.set()
    reader.join(30)
    released.set()

    assert added.wait(30)


KEYS = Keys(token="a-token", session="session")


def test_a_feed_reader_needs_the_feed_s_key_and_nothing_else(app, visitor, client, shelf):
    page = client.get("/shelf").text
    address = html.unescape(re.search(r'type="application/atom\+xml"[^>]*href="([^"]+)"', page)[1])

    answer = visitor.get(address)

    assert answer.status_code == 200 and answer.content_type == "application/atom+xml; charset=utf-8"
    found = ElementTree.fromstring(answer.data)
    title = found.find("{http://www.w3.org/2005/Atom}entry/{http://www.w3.org/2005/Atom}title")
    assert title.text == "<b>Heron</b>"
    assert visitor.get("/shelf").status_code == 302  # the key signs in nobody
    assert visitor.get("/shelf/feed.atom?key=wrong").status_code == 401
    assert visitor.get("/shelf/feed.atom?key=").status_code == 401
    assert visitor.get("/shelf/feed.atom").location.startswith("/login")
    assert client.get("/shelf/feed.atom").status_code == 200
    assert visitor.get(address.replace("feed.atom", "12")).status_code == 302
    again = visitor.get(address, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304 and not again.data


def test_the_feed_asks_for_approved_and_released_posts_alone(client, services, shelf):
    client.get("/shelf/feed.atom")

    (asked,) = services.shelf.asked(shelf_pb2.ListPostsRequest)
    assert set(asked.states) == {shelf_pb2.SHELF_STATE_APPROVED, shelf_pb2.SHELF_STATE_RELEASED}
    assert asked.include_body and asked.last_changed_first


def test_the_feed_s_key_tells_nothing_and_goes_with_the_token_while_its_id_stays():
    other = Keys(token="another", session="session")

    assert "a-token" not in KEYS.feed and KEYS.feed != other.feed and len(KEYS.feed) == 32
    assert KEYS.opens_feed(KEYS.feed) and not KEYS.opens_feed(other.feed) and not KEYS.opens_feed("a-token")
    assert not KEYS.opens(KEYS.feed)
    assert KEYS.feed_id == other.feed_id != Keys(token="a-token", session="x").feed_id

"""The game's page, with services that answer from memory."""

import re
import threading

import pytest

from protos import generator_pb2, tokenizer_pb2, trainer_pb2
from services.admin.context import EXTENSION
from services.admin.game import gatherings
from services.admin.game.version import from_message
from services.admin.jobs import PREPARING
from services.client import statuses
from services.common.errors import NotFound, Unavailable
from tests.unit.admin.conftest import TOKEN

DOWN = Unavailable("the generator does not answer at 127.0.0.1:50054; start it", reason=statuses.UNREACHABLE)


@pytest.fixture
def finish(app):
    """Wait until a version's gathering has ended, and return its job."""

    def wait(message):
        found = app.extensions[EXTENSION].gatherings
        job = found.find(from_message(message))
        while job is not None and job.state == PREPARING:
            job = found.jobs.after(job, 60.0)
        return job

    return wait


@pytest.fixture
def gathered(blog, client, finish):
    """A version whose excerpts are here."""
    client.get("/game")
    assert finish(blog.message).problem is None
    return blog


def hidden(page, name):
    return re.search(rf'name="{name}" value="([^"]+)"', page)[1]


def guess(client, csrf, side="left"):
    """Play a round and return the page that tells."""
    page = client.get("/game").text
    form = {"csrf_token": csrf, "version": hidden(page, "version"), "round": hidden(page, "round"), "guess": side}
    return client.post("/game/answer", data=form, follow_redirects=True).text


def real_side(app, player_page):
    """Which side is real: known to the server alone."""
    with app.extensions[EXTENSION].game.reading() as connection:
        row = connection.execute("SELECT real_side FROM rounds WHERE id = ?", (hidden(player_page, "round"),))
        return row.fetchone()[0]


def test_who_opens_the_printed_link_again_stays_the_same_player(gathered, client):
    dealt = hidden(client.get("/game").text, "round")
    client.get(f"/?token={TOKEN}")
    assert hidden(client.get("/game").text, "round") == dealt


@pytest.fixture
def served(blog):
    """Tell which versions the generator has."""

    def tell(*versions):
        models = [
            generator_pb2.ServedModel(name=each.model, version=each.version, state=generator_pb2.MODEL_STATE_SERVING)
            for each in versions
        ]
        blog.services.generator.answer("ListModels", generator_pb2.ListModelsResponse(models=models))

    return tell


def test_the_classifier_judges_a_new_version_without_anybody_playing(blog, client, finish, served):
    assert client.get("/models").status_code == 200 and finish(blog.message) is None, "the generator has it not"
    served(blog.message)
    client.get("/models")
    assert finish(blog.message).problem is None
    assert re.search(r"classifier \d+ % right", client.get("/models").text)
    asked = len(blog.services.generator.asked(generator_pb2.GenerateRequest))
    client.get("/models")
    assert finish(blog.message) and len(blog.services.generator.asked(generator_pb2.GenerateRequest)) == asked


def test_one_version_is_judged_at_a_time_and_of_each_model_the_newest(blog, app, client, finish, served, monkeypatch):
    held, old, other = threading.Event(), trainer_pb2.ModelVersion(), trainer_pb2.ModelVersion()
    for message, model, version, seconds in ((old, "run1", 2, 5), (other, "run2", 1, 6)):
        message.CopyFrom(blog.message)
        message.model, message.version, message.created_at.seconds = model, version, seconds
    models = [trainer_pb2.Model(name="run2", versions=[other])]
    models.append(trainer_pb2.Model(name="run1", versions=[blog.message, old]))
    blog.services.trainer.answer("ListModels", trainer_pb2.ListModelsResponse(models=models))
    served(blog.message, old, other)

    def slow(request):
        held.wait(60)
        return blog.generate(request)

    blog.services.generator.answer("Generate", slow)
    underway = app.extensions[EXTENSION].gatherings.jobs.underway
    client.get("/models")
    assert "the classifier is at it" in client.get("/models").text
    assert [job.run for job in underway()] == ["run1@3"]
    held.set()
    finish(blog.message)
    client.get("/models")
    assert finish(other).problem is None
    client.get("/models")
    assert finish(old) is None and underway() == []


def test_one_that_failed_unasked_rests(blog, client, finish, served, monkeypatch):
    served(blog.message)
    blog.services.generator.answer("Generate", DOWN)
    client.get("/models")
    failed = finish(blog.message)
    client.get("/models")
    assert failed.problem is not None and finish(blog.message).id == failed.id
    monkeypatch.setattr(gatherings, "UNASKED_REST_S", 0.0)
    blog.services.generator.answer("Generate", blog.generate)
    client.get("/models")
    assert finish(blog.message).problem is None


def test_opening_the_page_gathers_by_itself_and_shows_how_far_it_is(blog, client, finish):
    held = threading.Event()

    def slow(request):
        held.wait(60)
        return blog.generate(request)

    blog.services.generator.answer("Generate", slow)
    page = client.get("/game").text
    assert "Setting the table" in page and 'id="round"' not in page
    events = re.search(r'data-events="([^"]+)"', page)[1]
    assert client.get("/game").text.count(events) == 1, "a second look begins no second gathering"
    held.set()
    assert '"state": "started"' in client.get(events).text
    finish(blog.message)
    page = client.get("/game").text
    assert 'id="round"' in page and "Setting the table" not in page
    assert "100 %</span> of 48 excerpts told right" in page
    assert "Nobody has played against this version yet." in page
    assert len(blog.services.tokenizer.asked(tokenizer_pb2.ExportDatasetRequest)) == 1


def test_a_round_can_be_played_while_the_rest_is_gathered(blog, client, finish):
    held, answered = threading.Event(), threading.Event()

    def slow(request):
        if request.seed >= 16:
            answered.set()
            held.wait(60)
        return blog.generate(request)

    blog.services.generator.answer("Generate", slow)
    client.get("/game")
    assert answered.wait(60)
    page = client.get("/game").text
    held.set()
    finish(blog.message)
    assert 'id="round"' in page and 'id="job"' in page and "It plays when all excerpts are here." in page


def test_the_answer_is_not_in_the_page(gathered, client):
    page = client.get("/game").text
    left, right = re.findall(r'<p class="text">(.*?)</p>', page, re.S)
    assert {left[:6], right[:6]} == {"On Fri", "Nobody"}
    assert not re.search(r"is-real|is-made|Post \d|p\d+\.md|Made up", page)
    buttons = re.findall(r"<button name=\"guess\" value=\"\w+\">.*?</button>", page)
    assert [button.replace("left", "right") for button in buttons] == [buttons[1]] * 2


def test_html_in_excerpts_and_titles_is_escaped(blog, client, csrf, finish):
    blog.held_out = [(path, "<i>T</i>", text) for path, _, text in blog.held_out]
    client.get("/game")
    finish(blog.message)
    page = client.get("/game").text
    assert "&lt;b&gt;the river&lt;/b&gt;" in page and "<b>the river" not in page
    told = guess(client, csrf)
    assert "&lt;i&gt;T&lt;/i&gt;" in told and "<i>T</i>" not in told


@pytest.mark.parametrize("right", [True, False])
def test_a_guess_is_told_with_the_title_and_counted_once(gathered, app, client, csrf, right):
    page = client.get("/game").text
    side = real_side(app, page)
    other = {"left": "right", "right": "left"}[side]
    form = {"csrf_token": csrf, "version": "run1@3", "round": hidden(page, "round")}
    told = client.post("/game/answer", data=form | {"guess": side if right else other}, follow_redirects=True).text
    assert ("Right." if right else "Fooled.") in told
    assert re.search(rf"The {side} one is real, from “Post \d+”", told)
    assert f"{0 if right else 100} %</span> of 1 guess was wrong" in re.sub(r"\s+", " ", told)
    assert "Next round" in told
    again = client.post("/game/answer", data=form | {"guess": other if right else side}, follow_redirects=True).text
    assert ("Right." if right else "Fooled.") in again
    assert "of 1 guess" in again
    assert hidden(client.get("/game").text, "round") != form["round"]


def test_people_at_other_browsers_have_rounds_of_their_own_and_one_score(gathered, app, client, csrf):
    mine = client.get("/game").text
    other = app.test_client()
    other.get(f"/?token={TOKEN}")
    theirs = other.get("/game").text
    assert hidden(mine, "round") != hidden(theirs, "round")
    token = re.search(r'name="csrf-token" content="([^"]+)"', theirs)[1]
    form = {"csrf_token": token, "version": "run1@3", "guess": "left"}
    stolen = other.post("/game/answer", data=form | {"round": hidden(mine, "round")}, follow_redirects=True).text
    assert "That round is over. Here is another." in stolen
    guess(other, token)
    page = guess(client, csrf)
    assert "of 2 guesses" in page and re.search(r"You were right \d of 1 times", page)


def test_a_guess_needs_the_forms_token_and_a_side(gathered, client, csrf):
    page = client.get("/game").text
    form = {"version": "run1@3", "round": hidden(page, "round"), "guess": "left"}
    assert client.post("/game/answer", data=form).status_code == 400
    assert client.post("/game/gather", data={"version": "run1@3"}).status_code == 400
    wrong = client.post("/game/answer", data=form | {"guess": "both", "csrf_token": csrf}, follow_redirects=True)
    assert "Choose the left or the right excerpt." in wrong.text
    assert "of 1 guess" not in client.get("/game").text


def test_without_a_model_and_for_a_base_model_the_page_says_what_to_do(blog, client):
    blog.publish()
    assert "No model has been published yet." in client.get("/game").text
    blog.publish(trainer_pb2.ModelVersion(model="run1", version=1))
    page = client.get("/game").text
    assert "run1 is a base model as it came." in page and 'href="/start"' in page
    assert not blog.services.tokenizer.requests


def test_a_dataset_that_holds_nothing_back_says_what_to_do(blog, client, finish):
    blog.held_out = []
    client.get("/game")
    finish(blog.message)
    assert "holds no post back" in client.get("/game").text


@pytest.mark.parametrize(
    ("service", "rpc", "error", "said"),
    [
        ("generator", "Generate", DOWN, "The generator does not answer at 127.0.0.1:50054."),
        ("tokenizer", "ExportDataset", Unavailable("draining"), "Draining."),
        ("tokenizer", "ExportDataset", NotFound("no dataset 'blog-1'"), "was deleted"),
        ("generator", "Generate", NotFound("no version 3 of run1"), "No version 3 of run1."),
    ],
)
def test_a_failure_is_told_rests_and_is_tried_again_when_asked(
    blog, client, csrf, finish, monkeypatch, service, rpc, error, said
):
    getattr(blog.services, service).answer(rpc, error)
    client.get("/game")
    finish(blog.message)
    page = client.get("/game").text
    assert said in page and "Try again" in page
    failed = finish(blog.message)

    client.get("/game")
    assert finish(blog.message).id == failed.id, "opening the page does not hide a failure"
    blog.services.tokenizer.answer("ExportDataset", blog.export)
    blog.services.generator.answer("Generate", blog.generate)
    client.post("/game/gather", data={"csrf_token": csrf, "version": "run1@3"})
    assert finish(blog.message).problem is None
    assert 'id="round"' in client.get("/game").text


def test_after_a_while_opening_the_page_is_enough_to_try_again(blog, client, finish, monkeypatch):
    blog.services.generator.answer("Generate", DOWN)
    client.get("/game")
    failed = finish(blog.message)
    monkeypatch.setattr(gatherings, "REST_S", 0.0)
    client.get("/game")
    assert finish(blog.message).id != failed.id


def test_while_the_trainer_is_down_what_is_there_is_played(gathered, client):
    gathered.services.trainer.answer("ListModels", Unavailable("the trainer does not answer"))
    page = client.get("/game").text
    assert "The trainer does not answer." in page and 'id="round"' in page
    assert client.get("/game?version=gone@1").status_code == 200


def test_an_unknown_version_or_gathering_is_not_found(gathered, client):
    assert client.get("/game?version=run1@9").status_code == 404
    assert client.get("/game?version=%3Cb%3E").status_code == 404
    assert client.get("/game/gathering/gone/events").status_code == 404


def test_the_newest_version_that_learned_from_posts_is_played_and_others_can_be_chosen(gathered, client):
    older = trainer_pb2.ModelVersion(model="run1", version=2, run="run1", step=20, dataset="blog-1")
    base = trainer_pb2.ModelVersion(model="run1", version=4)
    base.created_at.seconds = 9
    gathered.publish(base, gathered.message, older)
    page = client.get("/game").text
    assert re.search(r'<option value="run1@3" selected>run1, version 3</option>', page)
    assert 'value="run1@2"' in page and 'value="run1@4"' in page
    assert "base model as it came" in client.get("/game?version=run1@4").text


def test_too_few_excerpts_play_but_are_not_judged(blog, client, finish):
    blog.held_out = blog.held_out[:2]
    client.get("/game")
    finish(blog.message)
    page = client.get("/game").text
    assert 'id="round"' in page
    assert "It needs 10 excerpts of each side to say anything: 6 more real excerpts." in page


def test_models_show_both_figures_and_lead_to_the_game(blog, app, client, csrf, finish):
    page = client.get("/models").text
    assert re.search(r'href="/game\?version=run1@3">Play</a>', page)
    client.get("/game")
    finish(blog.message)
    guess(client, csrf)
    page = client.get("/models").text
    assert re.search(r"people (0|100) % wrong<br>classifier 100 % right", page)
    blog.message.created_at.seconds += 1
    blog.publish(blog.message)
    assert "classifier" not in re.sub(r'title="[^"]*"', "", client.get("/models").text)


def test_a_damaged_file_is_named_and_stops_nothing_else(gathered, app, client, tmp_path):
    path = app.extensions[EXTENSION].game.path
    path.write_bytes(b"no database" * 100)
    page = client.get("/game")
    assert page.status_code == 500
    assert f"{path} is damaged" in page.text and "move it away" in page.text
    assert "Use an earlier checkpoint" not in page.text
    models = client.get("/models")
    assert models.status_code == 200 and "is damaged" in models.text and "run1" in models.text
    for other in ("/", "/try", "/runs", "/samples"):
        page = client.get(other)
        assert page.status_code == 200 and "is damaged" not in page.text

import json
import re
import threading

import pytest

from protos import corpus_pb2, trainer_pb2
from services.admin.context import EXTENSION
from services.admin.jobs import FAILED, STARTED, Jobs
from services.admin.train_form import UP_FRONT, TrainForm
from services.client.run_settings import FIELDS, SETTINGS, words_of
from services.common.errors import FailedPrecondition, NotFound, Unavailable

DEADLINE_S = 120.0


@pytest.fixture
def ready(services):
    """Posts to learn from, two bases to start from, and no run yet."""
    corpus = corpus_pb2.Corpus(name="default", num_documents=30)
    services.corpus.answer("ListCorpora", corpus_pb2.ListCorporaResponse(corpora=[corpus]))
    bases = [
        trainer_pb2.Base(name="nano", fresh=True, num_parameters=1_000_000),
        trainer_pb2.Base(name="124M", context=1024),
    ]
    services.trainer.answer("ListBases", trainer_pb2.ListBasesResponse(bases=bases))
    services.trainer.answer("GetRun", NotFound("no run"))
    return services


@pytest.fixture
def started(monkeypatch):
    """What the client library was asked to start."""
    calls = []

    def start_run(connection, **options):
        options["on_progress"]("building the dataset", 3, 30)
        calls.append(options)

    monkeypatch.setattr("services.admin.pages.starting.start_run", start_run)
    return calls


def finished(app, location):
    """The job behind an address, once it is no longer preparing."""
    jobs = app.extensions[EXTENSION].jobs
    job = jobs.get(location.rpartition("/")[2])
    while job.state == "preparing":
        changed = jobs.after(job, DEADLINE_S)
        assert changed != job, "the job did not end"
        job = changed
    return job


def test_the_form_offers_a_free_name_and_every_base(client, ready):
    ready.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[trainer_pb2.Run(name="run1")]))

    page = client.get("/runs").text

    assert 'value="run2"' in page
    assert 'value="nano" checked' in page
    assert 'value="124M"' in page


def test_the_form_offers_what_can_be_fetched_with_its_size(client, ready):
    known = [
        trainer_pb2.FetchableBase(name="124M", is_here=True),
        trainer_pb2.FetchableBase(name="355M", num_parameters=354_823_168, download_bytes=1_519_955_968),
    ]
    ready.trainer.answer("ListFetchableBases", trainer_pb2.ListFetchableBasesResponse(bases=known))

    page = client.get("/runs").text

    assert page.count('value="124M"') == 1
    assert 'value="355M"' in page and "1.5 GB" in page


def test_the_form_offers_runs_with_a_checkpoint_and_published_models(client, ready):
    best = trainer_pb2.Validation(step=400, loss=3.0)
    runs = [
        trainer_pb2.Run(name="young"),
        trainer_pb2.Run(name="turned", base="nano", checkpoint_step=500, best_validation=best),
        trainer_pb2.Run(name="falling", base="124M", checkpoint_step=400, best_validation=best),
    ]
    ready.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=runs))
    versions = [trainer_pb2.ModelVersion(model="voice", version=3, run="turned", step=400)]
    models = [trainer_pb2.Model(name="voice", versions=versions), trainer_pb2.Model(name="gone")]
    ready.trainer.answer("ListModels", trainer_pb2.ListModelsResponse(models=models))

    page = client.get("/start").text

    offered = re.findall(r'name="base" value="([^"]*)"', page)
    words = ["nano", "124M", "runs/turned@best", "runs/turned", "runs/falling", "models/voice", "fresh/"]
    assert offered == words
    assert "At its best, after 400 steps" in page and "Version 3, the newest" in page


@pytest.mark.parametrize(
    ("chosen", "shape", "base"),
    [
        ("runs/turned@best", "", "runs/turned@best"),
        ("fresh/", " 6 x 256 \u00d7 8", "fresh/6x256x8"),
        ("fresh/", "355M", "fresh/355M"),
    ],
)
def test_a_run_starts_from_what_was_chosen_or_a_shape_of_ones_own(
    app, client, ready, started, csrf, chosen, shape, base
):
    answer = client.post("/start", data={"csrf_token": csrf, "run": "voice", "base": chosen, "shape": shape})

    assert finished(app, answer.location).state == STARTED
    assert started[0]["base"] == base


@pytest.mark.parametrize(
    ("chosen", "shape", "complaint"),
    [
        ("fresh/", "", "Give layers x width x heads"),
        ("fresh/", "large", "Give layers x width x heads"),
        ("nano", "6x256x8", "You gave a shape and chose nano"),
    ],
)
def test_a_shape_that_is_none_or_not_chosen_is_complained_about(client, ready, started, csrf, chosen, shape, complaint):
    page = client.post("/start", data={"csrf_token": csrf, "run": "voice", "base": chosen, "shape": shape})

    assert page.status_code == 400
    assert complaint in page.text
    assert not started


def test_training_starts_with_what_was_filled_in_and_nothing_else(app, client, ready, started, csrf):
    answer = client.post(
        "/start",
        data={
            "csrf_token": csrf, "run": "voice", "base": "nano", "steps": "250", "learning_rate": "0.001",
            "schedule": "linear", "publish": "at-end", "batch_size": "", "sample_prompts": "Dear\n\nToday ",
            "sample_temperatures": "0.5, 1", "save_best": "no", "fit_memory": "",
        },
    )  # fmt: skip

    assert finished(app, answer.location).state == STARTED
    options = started[0]
    assert (options["run"], options["base"], options["corpus"], options["fresh"]) == (
        "voice",
        "nano",
        "default",
        True,
    )
    expected = trainer_pb2.RunSettings(
        steps=250,
        learning_rate=0.001,
        schedule=trainer_pb2.SCHEDULE_LINEAR,
        publish=trainer_pb2.PUBLISH_RULE_AT_END,
        sample_prompts=["Dear", "", "Today"],
        sample_temperatures=[0.5, 1.0],
        save_best=False,
    )
    assert options["settings"] == expected
    assert client.get(answer.location).location == "/runs/voice"


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("steps", "0", "between 1 and"),
        ("steps", "many", "Give a whole number."),
        ("learning_rate", "fast", "Give a number."),
        ("learning_rate", "nan", "must be at least"),
        ("dropout", "2", "between 0 and"),
        ("run", "../x", "no spaces"),
        ("run", "", "Give the run a name."),
        ("base", "", "Choose what to start from."),
    ],
)
def test_a_wrong_value_is_complained_about_beside_its_field(client, ready, started, csrf, field, value, complaint):
    page = client.post(
        "/start", data={"csrf_token": csrf, "run": "voice", "base": "nano", "steps": "250"} | {field: value}
    )

    assert page.status_code == 400
    assert complaint in page.text
    assert not started


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("", []),
        (" \r\n", []),
        ("Dear\r\n", ["Dear"]),
        ("Dear\r\n\r\nToday \r\n\r\n", ["Dear", "", "Today"]),
        ("\r\nDear", ["", "Dear"]),
    ],
)
def test_an_empty_line_among_the_prompts_is_a_sample_from_nothing(app, client, ready, started, csrf, text, prompts):
    data = {"csrf_token": csrf, "run": "voice", "base": "nano", "sample_prompts": text}

    answer = client.post("/start", data=data)

    assert finished(app, answer.location).state == STARTED
    assert list(started[0]["settings"].sample_prompts) == prompts


def test_a_name_that_is_taken_is_refused_before_anything_is_built(client, ready, started, csrf):
    ready.trainer.answer("GetRun", trainer_pb2.GetRunResponse(run=trainer_pb2.Run(name="voice")))

    page = client.post("/start", data={"csrf_token": csrf, "run": "voice", "base": "nano"})

    assert page.status_code == 400
    assert "There is a run called voice already." in page.text
    assert not started


def test_a_preparation_that_fails_says_why_on_its_page(app, client, ready, csrf, monkeypatch):
    def start_run(connection, **options):
        raise Unavailable("the tokenizer is starting")

    monkeypatch.setattr("services.admin.pages.starting.start_run", start_run)

    answer = client.post("/start", data={"csrf_token": csrf, "run": "voice", "base": "nano"})

    assert finished(app, answer.location).state == FAILED
    page = client.get(answer.location).text
    assert "The tokenizer is starting." in page
    assert "Wait a few seconds and try again." in page


def test_the_events_of_a_preparation_end_with_its_outcome(app, client, ready, started, csrf):
    answer = client.post("/start", data={"csrf_token": csrf, "run": "voice", "base": "nano"})
    finished(app, answer.location)

    stream = client.get(f"{answer.location}/events")

    assert stream.mimetype == "text/event-stream"
    last = stream.text.strip().split("\n\n")[-1]
    head, data = last.split("\n")
    assert head == "event: job"
    assert json.loads(data.removeprefix("data: "))["state"] == STARTED


def test_progress_is_seen_while_a_job_works():
    jobs, go_on = Jobs(), threading.Event()

    def work(progress):
        progress("reading", 1, 2)
        assert go_on.wait(DEADLINE_S)

    job = jobs.start("voice", work)
    while (seen := jobs.get(job.id)).total == 0:
        jobs.after(seen, DEADLINE_S)

    assert (seen.message, seen.done, seen.total) == ("reading", 1, 2)
    assert [underway.run for underway in jobs.underway()] == ["voice"]
    go_on.set()
    while (seen := jobs.get(job.id)).state != STARTED:
        jobs.after(seen, DEADLINE_S)
    assert jobs.underway() == []


def test_a_bug_in_a_job_ends_it_instead_of_leaving_it_waiting():
    jobs = Jobs()

    def work(progress):
        raise KeyError("x")

    job = jobs.start("voice", work)
    while (seen := jobs.get(job.id)).state != FAILED:
        jobs.after(seen, DEADLINE_S)

    assert "mistake" in seen.problem.message


def test_every_setting_of_a_run_has_one_field_on_the_page(app, client, ready):
    settings = {field.name for field in trainer_pb2.RunSettings.DESCRIPTOR.fields}
    with app.test_request_context():
        form = TrainForm()
        folded = [name for _, names in form.ADVANCED for name in names]
        assert {field.name for field in form} >= settings
    assert sorted([*folded, *UP_FRONT]) == sorted(settings)
    page = client.get("/start").text
    assert [name for name in settings if page.count(f'name="{name}"') != 1] == []


def test_the_words_of_every_choice_are_those_that_it_has():
    for group in SETTINGS.values():
        for name, setting in group.items():
            assert set(setting.words) <= set(words_of(FIELDS[name]) if FIELDS[name].enum_type else ()), name


def test_a_plan_is_shown_and_leads_to_the_run_with_the_same_form(app, client, ready, started, csrf, monkeypatch):
    asked = []

    def plan_run(connection, **options):
        asked.append(options)
        options["on_progress"]("trying step 1 of 3", 0, 0)
        if not options["skip_probe"]:
            raise FailedPrecondition("a run is training", reason="RUN_TRAINING")
        return trainer_pb2.RunPlan(
            settings=options["settings"],
            num_parameters=1_088_256,
            num_trained_parameters=1_088_256,
            memory_bytes={"weights": 2 * 1024**3, "gradients": 1024**3},
            peak_memory_bytes=3 * 1024**3,
            available_memory_bytes=8 * 1024**3,
            total_seconds=150,
            fits=True,
            changes=["with gradient checkpointing"],
            remarks=["the dataset holds no validation documents"],
        )

    monkeypatch.setattr("services.admin.pages.starting.plan_run", plan_run)
    filled_in = {"run": "voice", "base": "nano", "steps": "250", "publish": "never"}

    answer = client.post("/start/plan", data={"csrf_token": csrf} | filled_in)

    assert finished(app, answer.location).state == STARTED
    assert [options["skip_probe"] for options in asked] == [False, True]
    page = client.get(answer.location).text
    for words in ("1,088,256", "3.0 GiB of 8.0 GiB", "2 min", "with gradient checkpointing", "no validation documents"):
        assert words in page
    for name, value in filled_in.items():
        assert f'<input type="hidden" name="{name}" value="{value}">' in page
    assert not started


@pytest.mark.parametrize("name", ["steps", "batch_size", "seed", "sample_length"])
def test_a_number_that_no_run_can_have_is_a_complaint_beside_its_field(client, ready, started, csrf, name):
    data = {"csrf_token": csrf, "run": "voice", "base": "nano", name: str(2**70)}

    answer = client.post("/start", data=data)

    assert answer.status_code == 400
    assert "Number must be between" in answer.text
    assert not started

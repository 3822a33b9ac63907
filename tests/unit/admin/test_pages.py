import html
import io
import json
import re

import pytest

from protos import corpus_pb2, generator_pb2, trainer_pb2
from services.client import statuses
from services.common.errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable

PAGES = ["/", "/posts", "/runs", "/start", "/samples", "/models", "/try", "/shelf", "/shelf/write", "/game"]
DOWN = Unavailable("the trainer does not answer at 127.0.0.1:50053; start it", reason=statuses.UNREACHABLE)


def a_run(name="run1", state=trainer_pb2.RUN_STATE_RUNNING, **facts):
    run = trainer_pb2.Run(name=name, state=state, base="nano", step=12, **facts)
    run.settings.steps = 400
    run.metrics.step = 12
    run.metrics.average_loss = 3.25
    return run


def posts_are_there(services):
    corpus = corpus_pb2.Corpus(name="default", num_posts=2, num_documents=1, num_words=700)
    services.corpus.answer("ListCorpora", corpus_pb2.ListCorporaResponse(corpora=[corpus]))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_when_there_is_nothing_yet(client, path):
    assert client.get(path).status_code == 200


def test_the_overview_leads_from_posts_to_training_to_reading(client, services):
    at_first = client.get("/").text
    posts_are_there(services)
    with_posts = client.get("/").text
    model = trainer_pb2.Model(name="run1", versions=[trainer_pb2.ModelVersion(model="run1", version=1)])
    services.trainer.answer("ListModels", trainer_pb2.ListModelsResponse(models=[model]))
    with_model = client.get("/").text

    assert 'class="button primary" href="/posts"' in at_first
    assert 'class="button primary" href="/runs"' in with_posts
    assert "700 words" in with_posts
    assert 'class="button primary" href="/try"' in with_model


def test_a_service_that_is_down_leaves_the_overview_whole(client, services):
    posts_are_there(services)
    services.trainer.answer("ListRuns", DOWN)
    services.trainer.answer("ListModels", DOWN)

    page = client.get("/")

    assert page.status_code == 200
    assert "The trainer does not answer at 127.0.0.1:50053." in page.text
    assert "1 post" in page.text
    assert "does not answer</span>" in page.text  # the generator's health


def test_a_service_that_is_down_gets_a_page_that_says_so(client, services):
    services.trainer.answer("ListRuns", DOWN)

    page = client.get("/runs")

    assert page.status_code == 503
    assert "The trainer does not answer" in page.text
    assert "Try again" in page.text


def test_the_posts_of_a_corpus_are_listed_with_why_some_are_left_out(client, services):
    posts_are_there(services)
    draft = corpus_pb2.Post(path="b.md", title="Later", included=False)
    draft.reasons.add(code=corpus_pb2.REASON_CODE_DRAFT, message="it says draft: true")
    first = corpus_pb2.Post(path="a & b.md", title="<b>First</b>", included=True, num_words=700)
    services.corpus.answer(
        "ListPosts",
        corpus_pb2.ListPostsResponse(posts=[first, draft], total_size=120, next_page_token="t2"),
    )

    page = client.get("/posts").text

    assert "&lt;b&gt;First&lt;/b&gt;" in page
    assert "path=a+%26+b.md" in page or "path=a+&amp;+b.md" in page or "a%20%26%20b.md" in page
    assert "left out: draft" in page
    assert "page=t2" in page


def test_going_back_through_pages_returns_to_the_first(client, services):
    services.corpus.answer(
        "ListPosts",
        lambda request: corpus_pb2.ListPostsResponse(
            posts=[corpus_pb2.Post(path="a.md")], total_size=9, next_page_token="t3"
        ),
    )

    page = client.get("/posts?page=t2&before=").text

    assert services.corpus.asked(corpus_pb2.ListPostsRequest)[-1].page_token == "t2"
    assert "Page 2" in page
    assert re.search(r'href="/posts\?[^"]*"[^>]*>← Previous', page)
    assert re.search(r"before=&amp;before=t2", page)


def test_a_post_shows_its_document_and_its_source(client, services):
    post = corpus_pb2.Post(path="a.md", title="A", included=True)
    document = corpus_pb2.Document(path="a.md", title="A", tags=["walks"], text="The text.")
    services.corpus.answer("GetPost", corpus_pb2.GetPostResponse(post=post, document=document, source=b"# A\n\xff"))

    page = client.get("/posts/view?path=a.md").text

    assert "The text." in page
    assert "walks" in page
    assert "# A\n\ufffd" in page


def files(*names, content=b"text"):
    return [(io.BytesIO(content), name) for name in names]


def test_an_upload_streams_header_files_and_what_was_left_out(client, services, csrf):
    seen = []

    def take(messages):
        seen.extend(messages)
        return corpus_pb2.UploadPostsResponse(report=corpus_pb2.ImportReport(import_id=7))

    services.corpus.answer("UploadPosts", take)

    answer = client.post(
        "/posts/upload",
        data={
            "csrf_token": csrf,
            "corpus": "letters",
            "files": files("blog/a.md", "blog/2024/b.md"),
            "skipped": '[["blog/cat.jpg", "UNKNOWN_KIND", "not a post"]]',
        },
        headers={"Accept": "application/json"},
    )

    assert answer.json == {"address": "/posts/report/7?corpus=letters"}
    assert seen[0].header.corpus == "letters"
    assert [m.file.path for m in seen if m.WhichOneof("part") == "file"] == ["a.md", "2024/b.md"]
    assert b"".join(m.chunk for m in seen) == b"texttext"
    assert seen[-2].skipped.path == "cat.jpg"
    assert seen[-2].skipped.reason.code == corpus_pb2.REASON_CODE_UNKNOWN_KIND
    assert seen[-1].WhichOneof("part") == "end"


def test_an_upload_of_too_many_or_too_large_files_is_refused(client, services, csrf):
    many = client.post(
        "/posts/upload",
        data={"csrf_token": csrf, "files": files(*(f"{number}.md" for number in range(6)))},
        headers={"Accept": "application/json"},
    )
    large = client.post(
        "/posts/upload",
        data={"csrf_token": csrf, "files": files("a.md", content=b"x" * (1 << 20))},
        headers={"Accept": "application/json", "X-CSRFToken": csrf},
    )

    for answer in (many, large):
        assert answer.status_code == 413
        assert "1 MiB in 5 files" in answer.json["message"]
    assert not services.corpus.requests


def test_an_upload_that_the_corpus_refuses_says_why(client, services, csrf):
    services.corpus.answer("UploadPosts", InvalidRequest("path '../a.md' leaves its folder", field="path"))

    page = client.post("/posts/upload", data={"csrf_token": csrf, "files": files("a.md")}, follow_redirects=True)

    assert "leaves its folder." in page.text
    assert page.request.path == "/posts"


def test_an_import_report_gives_the_reasons(client, services):
    report = corpus_pb2.ImportReport(import_id=7, corpus="default", num_added=3)
    report.skipped.add(path="x.bin").reason.message = "the bytes are not text"
    services.corpus.answer("ListImports", corpus_pb2.ListImportsResponse(imports=[report]))

    assert "The bytes are not text." in client.get("/posts/report/7").text
    assert client.get("/posts/report/8").status_code == 404


def test_a_run_shows_its_state_and_place_in_the_queue(client, services):
    queued = a_run(state=trainer_pb2.RUN_STATE_PENDING, queue_position=2)
    services.trainer.answer("GetRun", trainer_pb2.GetRunResponse(run=queued))
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[queued]))

    assert "number 2 in the queue" in client.get("/runs/run1").text
    assert "place 2 in the queue" in client.get("/runs").text


def test_an_unknown_run_is_a_page_that_names_it(client, services):
    services.trainer.answer("GetRun", NotFound("no run 'gone'"))

    page = client.get("/runs/gone")

    assert page.status_code == 404
    assert "No run &#39;gone&#39;." in page.text


@pytest.mark.parametrize(("deed", "rpc"), [("stop", "StopRun"), ("resume", "ResumeRun"), ("delete", "DeleteRun")])
def test_an_error_of_a_deed_comes_back_as_a_line_on_the_page(client, services, csrf, deed, rpc):
    services.trainer.answer("GetRun", trainer_pb2.GetRunResponse(run=a_run()))
    services.trainer.answer(rpc, FailedPrecondition("run 'run1' is not training; nothing to stop"))

    page = client.post(
        f"/runs/run1/{deed}",
        data={"csrf_token": csrf},
        headers={"Referer": "http://localhost/runs/run1"},
        follow_redirects=True,
    )

    assert page.request.path == "/runs/run1"
    assert "nothing to stop." in page.text


def test_a_form_from_elsewhere_is_not_sent_back_there(client, services, csrf):
    services.trainer.answer("StopRun", FailedPrecondition("no"))

    answer = client.post("/runs/run1/stop", data={"csrf_token": csrf}, headers={"Referer": "https://evil.example/"})

    assert answer.location == "/runs"


def test_publishing_takes_the_chosen_step_or_the_newest(client, services, csrf):
    version = trainer_pb2.ModelVersion(model="voice", version=3)
    services.trainer.answer("PublishModel", trainer_pb2.PublishModelResponse(version=version))

    client.post("/runs/run1/publish", data={"csrf_token": csrf, "step": "200", "model": " voice "})
    page = client.post("/runs/run1/publish", data={"csrf_token": csrf, "step": "", "model": ""}, follow_redirects=True)

    chosen, newest = services.trainer.asked(trainer_pb2.PublishModelRequest)
    assert (chosen.checkpoint.step, chosen.model) == (200, "voice")
    assert not newest.checkpoint.HasField("step")
    assert "Version 3 of voice is published." in page.text


def test_samples_of_each_prompt_and_temperature_stand_side_by_side_from_first_to_newest(client, services):
    wishes = [("", 0.7), ("", 1.2), ("The ferry", 0.7)]
    found = [
        trainer_pb2.Sample(run="run1", step=step, index=index, prompt=prompt, temperature=temperature, text=f"T{step}")
        for step in range(10, 110, 10)
        for index, (prompt, temperature) in enumerate(wishes, 1)
    ]
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[a_run()]))
    services.trainer.answer("ListSamples", trainer_pb2.ListSamplesResponse(samples=found))

    strips = client.get("/samples").text.split('class="growth"')[1:]

    for strip, (prompt, temperature) in zip(strips, wishes, strict=True):
        assert f"“{prompt}”" in strip if prompt else "From nothing" in strip
        assert f"temperature {temperature}" in strip
    steps = re.findall(r"<h3>Step (\d+)</h3>", strips[0])
    assert steps == ["10", "40", "70", "100"]


def test_samples_and_versions_tell_what_they_recite_where_it_is_known(client, services):
    known = {"verbatim_share": 0.004, "longest_run_tokens": 14}
    found = [
        trainer_pb2.Sample(run="run1", step=10, index=1, text="a", **known),
        trainer_pb2.Sample(run="run1", step=9),
    ]
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[a_run()]))
    services.trainer.answer("ListSamples", trainer_pb2.ListSamplesResponse(samples=found))
    versions = [trainer_pb2.ModelVersion(model="run1", version=1, verbatim_share=0.12)]
    models = trainer_pb2.ListModelsResponse(models=[trainer_pb2.Model(name="run1", versions=versions)])
    services.trainer.answer("ListModels", models)

    page = client.get("/samples").text

    assert page.count("recited, at most") == 1
    assert "less than 1 % recited, at most 14 tokens in a row" in page
    assert ">12 %</td>" in client.get("/models").text


def test_a_sample_without_a_word_says_so(client, services):
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[a_run()]))
    empty = trainer_pb2.Sample(run="run1", step=10, index=1, temperature=1.0, text="")
    services.trainer.answer("ListSamples", trainer_pb2.ListSamplesResponse(samples=[empty]))

    assert "Not a word: it drew end-of-text first." in client.get("/samples").text


def history(request, losses):
    yield trainer_pb2.RunUpdate(run=a_run(request.run, trainer_pb2.RUN_STATE_SUCCEEDED))
    for step, loss in enumerate(losses, 1):
        yield trainer_pb2.RunUpdate(metrics=trainer_pb2.Metrics(step=step, average_loss=loss, tokens_per_second=5))
        yield trainer_pb2.RunUpdate(validation=trainer_pb2.Validation(step=step, loss=loss + 1, token_accuracy=0.25))
        recited = trainer_pb2.Originality(step=step, verbatim_share=step / 10, longest_run_tokens=10 * step)
        yield trainer_pb2.RunUpdate(originality=recited)


def test_runs_are_compared_on_one_chart_and_in_tables(client, services):
    losses = {"run1": [5.0, 4.0, 3.0], "run2": [5.5, 4.5]}
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[a_run("run1"), a_run("run2")]))
    services.trainer.answer("WatchRun", lambda request: history(request, losses[request.run]))

    listed = client.get("/runs").text
    one = client.get("/runs/-compare?run=run1").text
    both = client.get("/runs/-compare?run=run1&run=run2").text

    assert listed.count('form="compare"') == 2
    assert "data-curves" not in one and "Tick two runs" in one
    curves = json.loads(html.unescape(re.search(r"data-curves='([^']*)'", both)[1]))
    assert [curve["average"] for curve in curves] == list(losses.values())
    assert [curve["recited"] for curve in curves] == [[0.1, 0.2, 0.3], [0.1, 0.2]]
    assert "30 %" in both and "20 tokens" in both
    assert "4.000 at step 3" in both and "5.500 at step 2" in both and "25.0%" in both
    common = both.split("Unread posts at the same steps")[1]
    assert re.findall(r'class="figure">(\d\.\d+)<', common) == ["6.000", "6.500", "5.000", "5.500"]


def test_samples_are_shown_newest_first_and_can_be_taken_away(client, services):
    texts = ["the the", "title: The tide\ntags: sea\n\nIt went out."]
    found = [
        trainer_pb2.Sample(run="run1", step=100 * number, index=1, text=text) for number, text in enumerate(texts, 1)
    ]
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[a_run()]))
    services.trainer.answer("ListSamples", trainer_pb2.ListSamplesResponse(samples=found))

    page = client.get("/samples").text
    one = client.get("/samples/download?run=run1&step=200&index=1&form=md")
    everything = client.get("/samples/download?run=run1")

    assert page.index("<h2>Step 200") < page.index("<h2>Step 100")
    assert "<h3>The tide</h3>" in page
    assert one.text == '---\ntitle: "The tide"\ntags: ["sea"]\n---\n\nIt went out.\n'
    assert one.headers["Content-Disposition"] == 'attachment; filename="the-tide.md"'
    assert everything.text.count("======== SAMPLE 1") == 2
    assert client.get("/samples/download?run=run1&step=300").status_code == 404


def test_models_show_what_the_generator_makes_of_each_version(client, services):
    versions = [trainer_pb2.ModelVersion(model="run1", version=number, run="run1") for number in (2, 1)]
    services.trainer.answer(
        "ListModels",
        trainer_pb2.ListModelsResponse(models=[trainer_pb2.Model(name="run1", versions=versions)]),
    )
    failed = generator_pb2.ServedModel(
        name="run1", version=2, state=generator_pb2.MODEL_STATE_FAILED, error="wte is truncated"
    )
    services.generator.answer("ListModels", generator_pb2.ListModelsResponse(models=[failed]))

    page = client.get("/models").text

    assert "could not be loaded" in page
    assert "Wte is truncated." in page
    assert "not seen by the generator yet" in page


def test_models_are_shown_while_the_generator_is_down(client, services):
    model = trainer_pb2.Model(name="run1", versions=[trainer_pb2.ModelVersion(model="run1", version=1)])
    services.trainer.answer("ListModels", trainer_pb2.ListModelsResponse(models=[model]))
    services.generator.answer("ListModels", Unavailable("loading"))

    page = client.get("/models")

    assert page.status_code == 200
    assert "run1" in page.text
    assert "Loading." in page.text


def test_deleting_a_model_deletes_one_version_only_when_one_is_named(client, services, csrf):
    client.post("/models/run1/delete", data={"csrf_token": csrf, "version": "2"})
    client.post("/models/run1/delete", data={"csrf_token": csrf})
    client.post("/models/run1/rollback", data={"csrf_token": csrf})

    one, whole = services.trainer.asked(trainer_pb2.DeleteModelRequest)
    assert one.version == 2
    assert not whole.HasField("version")
    assert services.trainer.asked(trainer_pb2.RollbackModelRequest)[0].model == "run1"


def test_publishing_nothing_asks_to_choose(client, services, csrf):
    page = client.post("/models/publish", data={"csrf_token": csrf}, follow_redirects=True)

    assert "Choose a run or a base model to publish." in page.text
    assert not services.trainer.asked(trainer_pb2.PublishModelRequest)


def test_a_bug_is_shown_with_the_id_that_the_log_has(client, services, app, caplog):
    app.testing = False
    app.config["PROPAGATE_EXCEPTIONS"] = False
    services.trainer.answer("ListRuns", RuntimeError("secret"))

    page = client.get("/runs")

    assert page.status_code == 500
    assert "Nonesuch made a mistake on this page." in page.text
    assert "secret" not in page.text
    assert re.search(r"request [0-9a-f]{16}", page.text)
    assert "secret" in caplog.text


def test_a_broken_version_deletes_nothing_rather_than_every_version(client, services, csrf):
    for version in ("all", "-1", str(2**40), "²"):
        client.post("/models/voice/delete", data={"csrf_token": csrf, "version": version})

    assert not services.trainer.asked(trainer_pb2.DeleteModelRequest)


def test_a_broken_step_or_cursor_is_no_fault_of_the_page(client, services, csrf):
    answers = [
        client.post("/samples/delete", data={"csrf_token": csrf, "run": "run1", "step": str(2**40)}),
        client.post("/runs/run1/publish", data={"csrf_token": csrf, "step": "²"}),
        client.post(f"/runs/run1/checkpoints/{2**40}/delete", data={"csrf_token": csrf}),
        client.get("/runs/run1/events", headers={"Last-Event-ID": "9" * 30}),
    ]

    assert [answer.status_code for answer in answers] == [302, 302, 404, 200]


def test_the_drop_zone_takes_archives_and_exports(client, services):
    posts_are_there(services)

    page = client.get("/posts").text

    assert re.search(r'data-bundles="\.zip [^"]*\.tar\.gz [^"]*\.json \.xml"', page)
    assert re.search(r'accept="[^"]*\.zip,[^"]*\.xml', page)

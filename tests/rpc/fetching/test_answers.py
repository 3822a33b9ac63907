"""Servers that answer with pages, redirects and refusals, or not at all: never an error page as weights."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from services.trainer.fetching import web, work
from services.trainer.fetching.names import Wanted
from services.trainer.fetching.sources import HUB, OPENAI
from services.trainer.fetching.web import WrongAnswer
from tests.rpc.fetching import fake_sources
from tests.rpc.fetching.fake_sources import (
    PAGE,
    answers,
    hangs,
    sends,
)
from tests.rpc.fetching.trial import BOTH, REPOSITORY, SHORT_S, Trial, weights_of
from tests.unit.trainer.tiny import CONFIG


@BOTH
def test_a_page_with_status_200_is_never_saved_as_weights(fake, tmp_path, source):
    fake.always(weights_of(fake, source), answers(200, PAGE, Content_Type="text/html"))
    trial = Trial(fake, tmp_path, source)
    trial.fails("answers with a page", "open the address in a browser")
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("model.ckpt.data*"))


@BOTH
@pytest.mark.parametrize(
    "page", [PAGE, b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', b"\n <HTML>sign in</HTML>"]
)
def test_a_page_instead_of_a_small_file_is_named(fake, tmp_path, source, page):
    name = "/config.json" if source == HUB else "/hparams.json"
    fake.always(name, answers(200, page))
    Trial(fake, tmp_path, source).fails(name, "instead of")


@BOTH
def test_a_page_as_long_as_the_file_is_found_by_its_beginning(fake, tmp_path, source):
    name = weights_of(fake, source)
    [path] = [path for path in fake.files if path.endswith(name)]
    fake.always(name, sends(PAGE.ljust(len(fake.files[path]))))
    Trial(fake, tmp_path, source).fails("answers with a page", "model")


@BOTH
def test_a_missing_file_is_named(fake, tmp_path, source):
    name = weights_of(fake, source)
    [path] = [path for path in fake.files if path.endswith(name)]
    del fake.files[path]
    Trial(fake, tmp_path, source).fails("404", "model.safetensors" if source == HUB else name)


def test_a_bucket_that_knows_no_head_is_asked_for_the_files_themselves(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_sources.Handler, "do_HEAD", lambda handler: handler.reply(405, b""))
    Trial(fake, tmp_path, OPENAI).gives_the_model()


def test_a_bucket_s_address_is_not_taken_for_its_answer(fake, tmp_path):
    Trial(fake, tmp_path, OPENAI, wanted=Wanted("x", "", "405", CONFIG)).fails("404")
    assert not fake.asked_for("", "GET")


@pytest.mark.parametrize("name", ["/cdn/model.safetensors", f"/api/models/{REPOSITORY}"])
def test_a_server_that_asks_to_wait_for_hours_is_refused(fake, tmp_path, name):
    fake.always(name, answers(429, Retry_After="86400"))
    Trial(fake, tmp_path, HUB).fails("86,400 s")


def test_a_redirect_of_the_bucket_to_another_host_is_refused(fake, tmp_path):
    path = "/gpt-2/models/tiny/encoder.json"
    fake.redirects[path] = f"http://localhost:{fake.port}/login"
    Trial(fake, tmp_path, OPENAI).fails("redirects elsewhere", "/login")


def test_a_redirect_within_the_host_is_followed(fake, tmp_path):
    path = "/gpt-2/models/tiny/encoder.json"
    fake.files["/moved.json"] = fake.files[path]
    fake.redirects[path] = "/moved.json"
    Trial(fake, tmp_path, OPENAI).gives_the_model()


@BOTH
def test_redirects_without_end_are_an_error(fake, tmp_path, source):
    path = "/gpt-2/models/tiny/encoder.json" if source == OPENAI else f"/api/models/{REPOSITORY}"
    fake.redirects[path] = path
    Trial(fake, tmp_path, source).fails("redirects more than 5 times")


def test_the_hub_s_files_may_redirect_to_a_page_and_it_is_found(fake, tmp_path):
    fake.files["/login"] = PAGE
    fake.redirects["/cdn/model.safetensors"] = "/login"
    Trial(fake, tmp_path, HUB).fails("bytes instead of")


def test_a_hub_that_answers_with_a_page_is_named(fake, tmp_path):
    fake.files[f"/api/models/{REPOSITORY}"] = PAGE
    Trial(fake, tmp_path, HUB).fails("does not answer as a hub does", "NONESUCH_TRAINER_HUB_URL")


def test_a_repository_that_does_not_exist_is_named(fake, tmp_path):
    wanted = Wanted("x", "someone/nothing")
    Trial(fake, tmp_path, HUB, wanted=wanted).fails("someone/nothing")


def test_when_the_hub_does_not_answer_the_bucket_is_tried_and_that_is_said(fake, tmp_path):
    fake.always(f"/api/models/{REPOSITORY}", answers(503))
    trial = Trial(fake, tmp_path, HUB, OPENAI)
    trial.gives_the_model()
    assert "Trying OpenAI's bucket" in trial.remarks[-1] and "503" in trial.remarks[-1]


def test_when_no_source_has_it_the_error_says_of_each_why(fake, tmp_path):
    fake.always(f"/api/models/{REPOSITORY}", answers(503))
    fake.files["/gpt-2/models/tiny/model.ckpt.data-00000-of-00001"] = PAGE
    Trial(fake, tmp_path, HUB, OPENAI).fails("503", "an error page")


def test_nobody_listening_is_an_error_that_names_the_address(fake, tmp_path):
    trial = Trial(fake, tmp_path, HUB)
    trial.fetch._sources = replace(trial.fetch._sources, hub_url="http://127.0.0.1:9")
    trial.fails("http://127.0.0.1:9 does not answer")


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(fake, tmp_path):
    Trial(fake, tmp_path, HUB, hub_token="hf_secret").gives_the_model()
    [asked] = fake.asked_for("/config.json")
    assert asked["Authorization"] == "Bearer hf_secret"
    [asked] = fake.asked_for("/cdn/model.safetensors")
    assert "Authorization" not in asked


def test_the_proxy_of_the_environment_is_used(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", fake.hub_url)
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    fake.redirects.clear()
    [path] = [path for path in fake.files if path.endswith("/config.json")]
    fake.files[path.replace("config.json", "model.safetensors")] = fake.files["/cdn/model.safetensors"]
    trial = Trial(fake, tmp_path, HUB)
    trial.fetch._sources = replace(trial.fetch._sources, hub_url="http://hub.invalid")
    trial.gives_the_model()


def test_a_proxy_that_is_no_address_is_named(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://nowhere")
    Trial(fake, tmp_path, OPENAI).fails("HTTP_PROXY", "gopher")


def test_a_redirect_from_https_to_http_is_refused():
    answer = httpx2.Response(302, headers={"Location": "http://hub.invalid/x"})
    with pytest.raises(WrongAnswer, match="from https to http"):
        web._redirected(httpx2.URL("https://hub.invalid/x"), answer, "https://hub.invalid/x", may_leave=True)


def test_a_hub_that_says_nothing_is_given_up(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "ASK_RETRIES", 1)
    fake.always(f"/api/models/{REPOSITORY}", hangs)
    Trial(fake, tmp_path, HUB, timeout_s=SHORT_S).fails("does not answer", fake.hub_url)

"""A whole fetch against a server that misbehaves: a right model or a clear error, never an error page as weights."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import pytest

from services.common.errors import FailedPrecondition, InvalidRequest, NotFound
from services.gpt2 import checkpoint, model
from services.gpt2.hugging_face import hugging_face_name
from services.trainer.fetching import download, space, web, work
from services.trainer.fetching.names import KNOWN, Wanted, folder_name, resolve
from services.trainer.fetching.sources import HUB, OPENAI, Sources
from services.trainer.fetching.web import WrongAnswer
from services.trainer.fetching.work import Fetch
from tests.rpc import fake_sources
from tests.rpc.fake_sources import (
    PAGE,
    FakeSources,
    answers,
    chunks,
    cuts_after,
    drips,
    gives_a_little_of_what_is_asked,
    gzips,
    hangs,
    ignores_range,
    sends,
)
from tests.rpc.hugging_face_files import hugging_face_tensors, write_hugging_face
from tests.unit.trainer.tiny import CONFIG, write_vocabulary

REPOSITORY = "someone/tiny"
WANTED = Wanted("tiny", REPOSITORY, "tiny", CONFIG)
TIMEOUT_S = 120.0
SHORT_S = 1.0  # for what never comes


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hugging_face(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def bucket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as OpenAI's seven files."""
    folder = write_vocabulary(tmp_path_factory.mktemp("bucket"))
    checkpoint.write_weights(folder, 1, model.init_params(CONFIG, 1), CONFIG)
    for path in folder.glob("model-1.*"):
        path.rename(folder / path.name.replace("model-1.", "model.ckpt."))
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (folder / "model.ckpt.meta").write_bytes(b"\x0a\x00graph")
    return folder


@pytest.fixture
def fake(hub_folder: Path, bucket_folder: Path) -> Iterator[FakeSources]:
    with fake_sources.running() as server:
        server.add_repository(REPOSITORY, hub_folder)
        server.add_bucket("tiny", bucket_folder)
        yield server


class Trial:
    """A fetch in this process, with what it told."""

    def __init__(self, fake: FakeSources, folder: Path, *order: str, wanted: Wanted = WANTED, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.remarks: list[str] = []
        self.pauses: list[float] = []
        self.told: list[tuple[str, str, str, int, int]] = []
        addresses = {"hub_url": fake.hub_url, "openai_url": fake.openai_url, "timeout_s": TIMEOUT_S}
        sources = Sources(order=order, **addresses | options)
        self.fetch = Fetch(
            wanted,
            folder,
            sources,
            tell=lambda *facts: self.told.append(facts),
            remark=self.remarks.append,
            pause=self.pauses.append,
        )

    def gives_the_model(self) -> Path:
        folder = self.fetch.run()
        config, params = checkpoint.read_weights(folder)
        assert config == CONFIG
        for name, value in model.init_params(CONFIG, 1).items():
            np.testing.assert_array_equal(params[name], value)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["num_parameters"] == CONFIG.num_parameters and manifest["source"]["files"]
        return folder

    def fails(self, *words: str) -> str:
        with pytest.raises(FailedPrecondition) as caught:
            self.fetch.run()
        for word in words:
            assert word in caught.value.message
        return caught.value.message


def weights_of(fake: FakeSources, source: str) -> str:
    return "/cdn/model.safetensors" if source == HUB else "model.ckpt.data-00000-of-00001"


BOTH = pytest.mark.parametrize("source", [HUB, OPENAI])


@BOTH
def test_a_fetched_base_holds_the_weights_that_the_source_has(fake, tmp_path, source):
    trial = Trial(fake, tmp_path, source)
    folder = trial.gives_the_model()
    assert {"checkpoint", "hparams.json", "encoder.json", "vocab.bpe", "model.ckpt.index"} <= set(
        path.name for path in folder.iterdir()
    )
    phases = [facts[0] for facts in trial.told]
    assert phases[0] == "asking" and phases[-1] == "checking"
    assert not trial.remarks


@BOTH
def test_a_download_that_is_cut_goes_on_from_where_it_was(fake, tmp_path, source):
    name = weights_of(fake, source)
    fake.spoil(name, cuts_after(10_000), cuts_after(20_000))
    trial = Trial(fake, tmp_path, source)
    trial.gives_the_model()
    assert [headers.get("Range") for headers in fake.asked_for(name)] == [None, "bytes=10000-", "bytes=30000-"]
    assert all("If-Range" in headers for headers in fake.asked_for(name)[1:])
    assert len(trial.remarks) == 2 and len(trial.pauses) == 2


@BOTH
def test_another_process_goes_on_from_what_the_first_left(fake, tmp_path, source):
    name = weights_of(fake, source)
    fake.always(name, cuts_after(100))
    Trial(fake, tmp_path, source).fails("given up after 6 attempts")
    fake.spoilers.clear()
    fake.requests.clear()
    Trial(fake, tmp_path, source).gives_the_model()
    [again] = fake.asked_for(name)
    assert again["Range"] == "bytes=600-"
    assert not fake.asked_for("encoder.json") and not fake.asked_for("vocab.json"), "what was whole is not asked again"


@BOTH
def test_a_server_that_ignores_ranges_is_read_from_the_beginning(fake, tmp_path, source):
    fake.spoil(weights_of(fake, source), cuts_after(10_000), ignores_range)
    Trial(fake, tmp_path, source).gives_the_model()


@BOTH
def test_content_that_changed_before_it_was_resumed_is_begun_anew(fake, tmp_path, source):
    name = weights_of(fake, source)
    [path] = [path for path in fake.files if path.endswith(name)]
    good, other = fake.files[path], bytes(len(fake.files[path]))
    fake.spoil(name, lambda handler, content: handler.cut(other, 10_000))
    trial = Trial(fake, tmp_path, source)
    trial.gives_the_model()
    assert "comes from its beginning" in trial.remarks[-1]
    assert fake.files[path] == good


def test_content_that_changed_without_a_sign_is_found_by_its_checksum(fake, tmp_path):
    name = weights_of(fake, HUB)
    other = bytes(len(fake.files[name]))
    fake.spoil(name, lambda handler, content: handler.cut(other, 10_000), lambda h, c: h.serve("", c, etag=""))
    trial = Trial(fake, tmp_path, HUB)
    # The good server takes the range without looking at If-Range.
    fake.spoilers[name][1] = lambda handler, content: handler.reply(
        206,
        content[10_000:],
        Content_Range=f"bytes 10000-{len(content) - 1}/{len(content)}",
    )
    trial.gives_the_model()
    assert "SHA-256" in trial.remarks[-1]


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
def test_a_file_of_another_size_is_refused_before_it_is_read(fake, tmp_path, source):
    fake.always(weights_of(fake, source), sends(b"\x01" * 1234))
    Trial(fake, tmp_path, source).fails("has 1,234 bytes instead of")


def test_weights_of_another_size_are_refused_by_the_bucket_s_own_word(fake, tmp_path):
    fake.files["/gpt-2/models/tiny/model.ckpt.data-00000-of-00001"] = PAGE
    Trial(fake, tmp_path, OPENAI).fails(f"has {len(PAGE)} bytes", "error page, or another model")
    assert not fake.asked_for("model.ckpt.data-00000-of-00001")


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


@BOTH
def test_a_server_in_trouble_is_asked_again(fake, tmp_path, source):
    fake.spoil(weights_of(fake, source), answers(503), answers(500), answers(429, Retry_After="7"))
    trial = Trial(fake, tmp_path, source)
    trial.gives_the_model()
    assert trial.pauses[-1] == 7.0 and len(trial.pauses) == 3


@pytest.mark.parametrize("name", ["/cdn/model.safetensors", f"/api/models/{REPOSITORY}"])
def test_a_server_that_asks_to_wait_for_hours_is_refused(fake, tmp_path, name):
    fake.always(name, answers(429, Retry_After="86400"))
    Trial(fake, tmp_path, HUB).fails("86,400 s")


@BOTH
def test_a_slow_drip_ends_in_an_error_and_not_in_waiting(fake, tmp_path, source, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 1)
    # Every byte that drips takes longer than is waited for; what comes at once takes the time it takes.
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 2 * TIMEOUT_S * len(fake.drops))
    monkeypatch.setattr(download, "time", clock)
    fake.always(weights_of(fake, source), drips)
    Trial(fake, tmp_path, source).fails("bytes a second")


def test_a_server_that_says_nothing_is_given_up(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 1)
    fake.always(weights_of(fake, OPENAI), hangs)
    trial = Trial(fake, tmp_path, OPENAI, timeout_s=SHORT_S)
    trial.fails("nothing came in time", weights_of(fake, OPENAI))


@BOTH
def test_content_that_comes_compressed_is_unpacked(fake, tmp_path, source):
    fake.spoil(weights_of(fake, source), gzips)
    fake.spoil("/vocab.json" if source == HUB else "/encoder.json", gzips)
    Trial(fake, tmp_path, source).gives_the_model()


def test_compressed_content_that_is_damaged_is_fetched_again(fake, tmp_path):
    fake.spoil(weights_of(fake, HUB), answers(200, b"\x1f\x8bno gzip at all", Content_Encoding="gzip"))
    trial = Trial(fake, tmp_path, HUB)
    trial.gives_the_model()
    assert "compressed content is damaged" in trial.remarks[0]


def test_a_wrong_checksum_twice_is_an_error(fake, tmp_path):
    name = weights_of(fake, HUB)
    fake.always(name, sends(bytes(len(fake.files[name]))))
    Trial(fake, tmp_path, HUB).fails("SHA-256", "twice")
    assert not list(tmp_path.rglob("*.part"))


def test_small_files_of_the_hub_are_checked_by_git_s_object_id(fake, tmp_path):
    [path] = [path for path in fake.files if path.endswith("/merges.txt")]
    fake.always("/merges.txt", sends(fake.files[path][:-1] + b"x"))
    Trial(fake, tmp_path, HUB).fails("Git object id", "twice")


def test_damaged_weights_without_a_checksum_are_found_by_tensorflow_s(fake, tmp_path):
    name = "/gpt-2/models/tiny/model.ckpt.data-00000-of-00001"
    content = bytearray(fake.files[name])
    content[5000] ^= 1
    fake.files[name] = bytes(content)
    Trial(fake, tmp_path, OPENAI).fails("damaged at")


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


def test_a_full_disk_is_known_before_the_weights_are_fetched(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(space, "SPARE_BYTES", 1 << 60)
    for source in (HUB, OPENAI):
        Trial(fake, tmp_path / source, source).fails("GB free", "make room")
        assert not fake.asked_for(weights_of(fake, source))


def spoiled(tmp_path: Path, fake: FakeSources, **changes: Any) -> Trial:
    """A fetch of a repository whose files are those of `write_hugging_face` with changes."""
    write_hugging_face(tmp_path / "spoiled", **changes)
    fake.add_repository("someone/spoiled", tmp_path / "spoiled")
    return Trial(fake, tmp_path / "fetch", HUB, wanted=Wanted("spoiled", "someone/spoiled"))


def test_another_architecture_is_refused_before_its_weights_are_fetched(fake, tmp_path):
    spoiled(tmp_path, fake, model_type="llama").fails("'llama'", "only 'gpt2'")
    assert not fake.asked_for(weights_of(fake, HUB))


def test_wrong_shapes_are_refused_and_the_tensor_is_named(fake, tmp_path):
    tensors = hugging_face_tensors()
    tensors["h.1.mlp.c_fc.weight"] = tensors["h.1.mlp.c_fc.weight"].T
    spoiled(tmp_path, fake, tensors=tensors).fails("h.1.mlp.c_fc.weight", "[64, 16]")


def test_a_size_that_is_not_the_one_named_is_refused(fake, tmp_path):
    wanted = replace(WANTED, config=replace(CONFIG, n_layer=3))
    Trial(fake, tmp_path, HUB, wanted=wanted).fails("'n_layer': 2", "'n_layer': 3")


def test_a_repository_of_pickles_is_refused(fake, tmp_path, hub_folder):
    shutil.copytree(hub_folder, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    fake.add_repository("someone/pickled", tmp_path / "pickled")
    trial = Trial(fake, tmp_path / "fetch", HUB, wanted=Wanted("pickled", "someone/pickled"))
    trial.fails("pickle", "model.safetensors")


def test_weights_in_several_files_are_joined(fake, tmp_path, hub_folder):
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "sharded"
    shutil.copytree(hub_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[:9], names[9:]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    fake.add_repository("someone/sharded", folder)
    Trial(fake, tmp_path / "fetch", HUB, wanted=Wanted("x", "someone/sharded")).gives_the_model()


def test_a_new_commit_keeps_the_files_that_are_the_same_and_begins_the_others_anew(fake, tmp_path, hub_folder):
    name = weights_of(fake, HUB)
    fake.always(name, cuts_after(100))
    Trial(fake, tmp_path / "fetch", HUB).fails("given up")
    fake.spoilers.clear()
    fake.add_repository(REPOSITORY, hub_folder, commit="b" * 40)
    trial = Trial(fake, tmp_path / "fetch", HUB)
    fake.spoil(name, cuts_after(100))
    trial.gives_the_model()
    assert fake.asked_for(name)[-1]["Range"] == "bytes=700-"

    fake.always(name, cuts_after(100))
    shutil.rmtree(tmp_path / "fetch")
    Trial(fake, tmp_path / "fetch", HUB).fails("given up")
    fake.spoilers.clear()
    changed = {name: value + 1 for name, value in hugging_face_tensors().items()}
    fake.add_repository(REPOSITORY, write_hugging_face(tmp_path / "changed", changed), commit="c" * 40)
    folder = Trial(fake, tmp_path / "fetch", HUB).fetch.run()
    assert "Range" not in fake.asked_for(name)[-1]
    _, params = checkpoint.read_weights(folder)
    np.testing.assert_array_equal(params["model/ln_f/g"], 2.0)


@BOTH
def test_content_whose_size_is_not_said_is_taken(fake, tmp_path, source):
    fake.spoil(weights_of(fake, source), chunks)
    fake.spoil("/vocab.json" if source == HUB else "/encoder.json", chunks)
    Trial(fake, tmp_path, source).gives_the_model()


@BOTH
def test_a_range_that_is_answered_in_parts_is_gone_on_with(fake, tmp_path, source):
    name = weights_of(fake, source)
    fake.spoil(name, cuts_after(10_000), gives_a_little_of_what_is_asked, gives_a_little_of_what_is_asked)
    Trial(fake, tmp_path, source).gives_the_model()
    assert fake.asked_for(name)[-1]["Range"] == "bytes=14000-"


def test_a_hub_that_says_nothing_is_given_up(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "ASK_RETRIES", 1)
    fake.always(f"/api/models/{REPOSITORY}", hangs)
    Trial(fake, tmp_path, HUB, timeout_s=SHORT_S).fails("does not answer", fake.hub_url)


def test_names_mean_the_published_sizes():
    assert resolve("117M") == resolve("124M") == resolve("gpt2") == resolve("openai-community/gpt2")
    assert resolve("345m").name == "355M" and resolve("345m").in_bucket == "355M"
    assert resolve("distilgpt2").config.n_layer == 6 and not resolve("distilgpt2").in_bucket
    assert resolve("Some-One/my.model") == Wanted("Some-One--my.model", "Some-One/my.model")
    for name in ("", "125M", "a/b/c", "../x", "-a/b", "fresh/124M", "runs/x", "models/x@2"):
        with pytest.raises((NotFound, InvalidRequest)):
            resolve(name)
    assert {known.name for known in KNOWN} == {"124M", "355M", "774M", "1558M", "distilgpt2"}


def test_what_names_a_run_or_a_model_names_no_repository():
    assert folder_name("runs/voice@best") == "runs/voice@best" and folder_name("fresh/124M") == "fresh/124M"
    assert folder_name("345M") == "355M" and folder_name("someone/tiny") == "someone--tiny"


def test_hugging_face_s_names_are_those_of_every_array():
    assert hugging_face_name("model/h11/mlp/c_proj/b") == "h.11.mlp.c_proj.bias"
    assert hugging_face_name("model/wpe") == "wpe.weight"

"""Files that come cut, slowly, changed or damaged: the right content in the end, or a clear error."""

from __future__ import annotations

import shutil
import time
from types import SimpleNamespace

import numpy as np

from services.gpt2 import checkpoint
from services.trainer.fetching import download
from services.trainer.fetching.sources import HUB, OPENAI
from tests.hugging_face_files import hugging_face_tensors, write_hugging_face
from tests.rpc.fetching.fake_sources import (
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
from tests.rpc.fetching.trial import BOTH, REPOSITORY, SHORT_S, TIMEOUT_S, Trial, weights_of


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
def test_a_file_of_another_size_is_refused_before_it_is_read(fake, tmp_path, source):
    fake.always(weights_of(fake, source), sends(b"\x01" * 1234))
    Trial(fake, tmp_path, source).fails("has 1,234 bytes instead of")


@BOTH
def test_a_server_in_trouble_is_asked_again(fake, tmp_path, source):
    fake.spoil(weights_of(fake, source), answers(503), answers(500), answers(429, Retry_After="7"))
    trial = Trial(fake, tmp_path, source)
    trial.gives_the_model()
    assert trial.pauses[-1] == 7.0 and len(trial.pauses) == 3


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

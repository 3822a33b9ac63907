"""`nonesuch dataset` and `nonesuch tokens`."""

from __future__ import annotations

import json


def test_dataset_build_waits_over_a_broken_stream(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.tokenizer.breaks = 1

    built = json.loads(run("dataset", "build", "--vocabulary", "own:512", "--json").stdout)

    assert built["state"] == "SUCCEEDED"
    assert built["vocabulary_size"] == 512


def test_dataset_build_passes_a_failure_on(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.tokenizer.build_error = "the disk is full"

    assert "the disk is full" in run("dataset", "build", status=1).stderr


def test_dataset_list_show_and_delete(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    name = json.loads(run("dataset", "build", "--vocabulary", "124M", "--json").stdout)["id"]

    assert name in run("dataset", "list").stdout
    assert json.loads(run("dataset", "list", "--json").stdout)[0]["vocabulary"] == "124M"
    assert name in run("dataset", "show", name).stdout
    run("dataset", "delete", name)
    assert f"no dataset {name!r}" in run("dataset", "show", name, status=1).stderr


def test_a_vocabulary_size_that_is_no_number_is_wrong_usage(run):
    assert "own:SIZE" in run("dataset", "build", "--vocabulary", "own:big", status=2).stderr


def test_an_own_vocabulary_has_the_size_that_training_asks_for(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}
    fakes.trainer.bases[0].vocabulary_size = 1234

    built = json.loads(run("dataset", "build", "--json").stdout)
    run("train")

    assert fakes.trainer.started[0].dataset == built["id"]
    assert built["vocabulary"] == "own-1234"


def test_tokens_go_there_and_back(run):
    assert run("tokens", "encode", "hé").stdout == "104 195 169\n"
    assert run("tokens", "decode", "104", "195", "169").stdout == "hé\n"
    assert run("tokens", "encode", "--json", stdin="hi").stdout_bytes == b'{\n  "ids": [\n    104,\n    105\n  ]\n}\n'
    assert run("tokens", "decode", stdin="[104, 105]").stdout == "hi\n"
    assert run("tokens", "count", "hé").stdout == "3 tokens, 3 bytes\n"
    assert json.loads(run("tokens", "count", "hé", "--json").stdout)["num_bytes"] == 3
    assert "'x' is not a token id" in run("tokens", "decode", "x", status=2).stderr


def test_tokens_without_any_vocabulary_say_how_to_get_one(run, fakes):
    fakes.tokenizer.vocabularies = []

    assert "nonesuch dataset build" in run("tokens", "encode", "x", status=1).stderr
    assert "no vocabulary 'gpt9'" in run("tokens", "encode", "x", "--vocabulary", "gpt9", status=1).stderr

"""`nonesuch bases`: imported, fetched, listed."""

from __future__ import annotations

import json

from protos import trainer_pb2
from tests.rpc.client.answers import WAIT_S
from tests.rpc.client.telling import interrupt_when


def test_bases_import_sends_the_files_of_the_layout(run, fakes, tmp_path):
    folder = tmp_path / "117M"
    folder.mkdir()
    for name in (
        "checkpoint",
        "hparams.json",
        "encoder.json",
        "vocab.bpe",
        "model.ckpt.index",
        "model.ckpt.meta",
    ):
        (folder / name).write_text(name)
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(bytes(700_000))
    (folder / "notes.txt").write_text("mine")

    run("bases", "import", folder)
    again = run("bases", "import", folder, status=1)

    assert "117M" in run("bases", "list").stdout
    assert len(fakes.trainer.imported["model.ckpt.data-00000-of-00001"]) == 700_000
    assert not {"notes.txt", "model.ckpt.meta"} & set(fakes.trainer.imported)
    assert "exists" in again.stderr
    run("bases", "delete", "117M")
    assert "117M" not in run("bases", "list").stdout


def test_bases_import_sends_a_folder_of_hugging_face(run, fakes, tmp_path):
    for name in ("config.json", "model.safetensors", "vocab.json", "merges.txt", "README.md", "pytorch_model.bin"):
        (tmp_path / name).write_text(name)

    run("bases", "import", tmp_path, "--name", "theirs")

    assert set(fakes.trainer.imported) == {"config.json", "model.safetensors", "vocab.json", "merges.txt"}


def test_bases_list_shows_what_can_be_fetched_and_what_is_being_fetched(run, fakes):
    fakes.trainer.fetches = [
        trainer_pb2.Fetch(
            name="someone--tiny",
            state=trainer_pb2.FETCH_STATE_RUNNING,
            phase=trainer_pb2.FETCH_PHASE_DOWNLOADING,
            bytes_done=25,
            bytes_total=100,
        )
    ]

    listed = run("bases", "list").stdout

    assert "355M" in listed and "to fetch: 1.0 GB" in listed
    assert "fetching: 25%" in listed
    names = [base["name"] for base in json.loads(run("bases", "list", "--json").stdout)]
    assert names == ["nano", "micro", "124M", "355M", "someone--tiny"]


def test_bases_fetch_waits_until_the_base_is_here_and_tells_what_went_wrong_meanwhile(run, fakes):
    fakes.trainer.fetch_script = [
        trainer_pb2.Fetch(
            state=trainer_pb2.FETCH_STATE_RUNNING,
            phase=trainer_pb2.FETCH_PHASE_DOWNLOADING,
            bytes_done=5,
            bytes_total=10,
            remarks=["the hub answers 503; trying again in 1 s"],
        )
    ] * 2

    result = run("bases", "fetch", "345M", "--from", "hub", "--as", "mine")

    assert "base mine: 1,000 parameters" in result.stdout
    assert "fetching mine" in result.stderr and result.stderr.count("503") == 1
    [request] = fakes.trainer.fetch_requests
    assert (request.base, request.name, request.source) == ("345M", "mine", trainer_pb2.FETCH_SOURCE_HUB)
    assert json.loads(run("bases", "fetch", "someone/tiny", "--json").stdout)["name"] == "someone--tiny"


def test_a_failed_fetch_says_why_and_how_to_go_on(run, fakes):
    fakes.trainer.fetch_error = "http://hub/x answers with a page"

    stderr = run("bases", "fetch", "355M", status=1).stderr

    assert "answers with a page" in stderr and "nonesuch bases fetch 355M" in stderr


def test_an_interrupt_of_a_fetch_cancels_it_and_says_that_the_same_command_goes_on(run, fakes):
    fakes.trainer.holds_fetch = True
    interrupt_when(fakes.trainer.fetch_waits)

    assert "the same command goes on" in run("bases", "fetch", "355M", status=130).stderr
    assert fakes.trainer.fetch_cancelled.wait(WAIT_S)


def test_bases_cancel_stops_a_fetch(run, fakes):
    assert "go on with" in run("bases", "cancel", "355M").stdout
    assert "nothing is kept" in run("bases", "cancel", "355M", "--discard").stdout

"""Datasets as other tools' files, over the wire and through the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protos import tokenizer_pb2 as pb
from tests.rpc.tokenizer.serving import House, assert_refused, command


def exported(house: House, dataset: str, form: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    messages = list(house.call("ExportDataset", pb.ExportDatasetRequest(dataset=dataset, format=form)))
    for message in messages[:-1]:
        if message.WhichOneof("message") == "file":
            name = message.file.name
            files[name] = b""
        else:
            assert len(message.chunk) <= 1 << 20
            files[name] += message.chunk
    assert messages[-1].done.num_documents == 12
    return files


def imported(house: House, header: pb.ImportHeader, files: dict[str, bytes], splits: dict[str, int]) -> Any:
    def requests() -> Iterator[pb.ImportDatasetRequest]:
        yield pb.ImportDatasetRequest(header=header)
        for name, content in files.items():
            yield pb.ImportDatasetRequest(file=pb.ImportFile(name=name, split=splits.get(name, 0)))
            for start in range(0, len(content), 500):
                yield pb.ImportDatasetRequest(chunk=content[start : start + 500])
        yield pb.ImportDatasetRequest(end=pb.ImportEnd())

    return house.call("ImportDataset", requests())


@pytest.mark.parametrize(
    "form",
    [
        pb.DATASET_FORMAT_NPZ,
        pb.DATASET_FORMAT_BIN,
        pb.DATASET_FORMAT_JSONL,
        pb.DATASET_FORMAT_TXT,
        pb.DATASET_FORMAT_CSV,
    ],
)
def test_a_dataset_goes_out_and_comes_back_over_the_wire(house: House, form: int) -> None:
    done = house.finish(house.build())
    files = exported(house, done.id, form)
    splits = {name: 1 if name.startswith("train") else 2 for name in files if name.startswith(("train", "val."))}

    content = {name: content for name, content in files.items() if name not in ("encoder.json", "vocab.bpe")}
    back = imported(house, pb.ImportHeader(format=form, vocabulary=done.vocabulary), content, splits)

    assert back.num_empty_documents == 0
    assert back.dataset.corpus == "imported"
    assert back.dataset.state == pb.DATASET_STATE_SUCCEEDED
    for name in ("num_documents", "num_tokens", "num_train_tokens", "vocabulary_digest", "header_format"):
        assert getattr(back.dataset, name) == getattr(done, name)
    assert not list((house.data / "datasets").glob(".partial*"))


def test_a_wrong_export_or_import_is_refused_and_leaves_nothing(house: House) -> None:
    bin_format = pb.DATASET_FORMAT_BIN
    chunk = pb.ImportDatasetRequest(chunk=b"\x01\x00")
    named = pb.ImportDatasetRequest(file=pb.ImportFile(name="a.bin"))

    def send(*requests: pb.ImportDatasetRequest) -> Callable[[], Any]:
        return lambda: house.call("ImportDataset", iter(requests))

    def first(**values: Any) -> pb.ImportDatasetRequest:
        return pb.ImportDatasetRequest(header=pb.ImportHeader(**{"format": bin_format, "vocabulary": "124M", **values}))

    assert_refused("INVALID_ARGUMENT", "first message", send(), "header")
    assert_refused("INVALID_ARGUMENT", "first message", send(named), "header")
    end = pb.ImportDatasetRequest(end=pb.ImportEnd())
    assert_refused("INVALID_ARGUMENT", "no file came", send(first(), end), "file")
    assert_refused("INVALID_ARGUMENT", "broke off", send(first(), named, chunk), "end")
    assert_refused("INVALID_ARGUMENT", "after the header", send(first(), chunk), "chunk")
    assert_refused("INVALID_ARGUMENT", "after the header", send(first(), first()), "header")
    assert_refused("INVALID_ARGUMENT", "which format", send(first(format=0)), "header.format")
    assert_refused(
        "INVALID_ARGUMENT", "which vocabulary", send(pb.ImportDatasetRequest(header=pb.ImportHeader(format=2)))
    )
    assert_refused("INVALID_ARGUMENT", "'../x'", send(first(corpus="../x")), "header.corpus")
    assert_refused("INVALID_ARGUMENT", "is 2:", send(first(validation_fraction=2)), "validation_fraction")
    assert_refused("NOT_FOUND", "'nope'", send(first(vocabulary="nope")))
    too_long = pb.ImportDatasetRequest(chunk=b"x" * ((1 << 20) + 1))
    assert_refused("INVALID_ARGUMENT", "at most 1048576", send(first(), named, too_long), "chunk")
    bad_name = pb.ImportDatasetRequest(file=pb.ImportFile(name="a\nb"))
    assert_refused("INVALID_ARGUMENT", "not a file's name", send(first(), bad_name), "file.name")
    bad_ids = pb.ImportDatasetRequest(chunk=b"\xff\xff")
    assert_refused("INVALID_ARGUMENT", "a.bin holds id 65535", send(first(), named, bad_ids, end), "chunk")
    assert_refused(
        "NOT_FOUND", "'nope'", lambda: house.call("ExportDataset", pb.ExportDatasetRequest(dataset="nope", format=2))
    )
    assert_refused(
        "INVALID_ARGUMENT", "which format", lambda: house.call("ExportDataset", pb.ExportDatasetRequest(dataset="nope"))
    )
    assert not [path for path in (house.data / "datasets").iterdir() if path.name != ".builds"]


def test_an_import_above_the_limit_is_refused(house: House) -> None:
    object.__setattr__(house.servicer._settings, "max_import_bytes", 1000)
    header = pb.ImportHeader(format=pb.DATASET_FORMAT_BIN, vocabulary="124M")

    assert_refused("RESOURCE_EXHAUSTED", "1,000 bytes", lambda: imported(house, header, {"a.bin": b"\0" * 1002}, {}))


@pytest.mark.parametrize("form", ["npz", "bin", "jsonl", "txt", "csv"])
def test_the_command_takes_a_dataset_out_and_brings_it_in(house: House, tmp_path: Path, form: str) -> None:
    done = house.finish(house.build())
    folder = str(tmp_path / "out")

    said = command(house, "dataset", "export", done.id, "--format", form, "--to", folder)
    vocabulary = [] if form in ("npz", "bin") else ["--vocabulary", done.vocabulary]
    back = json.loads(command(house, "dataset", "import", folder, *vocabulary, "--corpus", "back", "--json"))

    assert "12 documents" in said
    assert (back["corpus"], int(back["num_tokens"])) == ("back", done.num_tokens)
    assert int(back["num_train_tokens"]) == done.num_train_tokens
    assert "exists" in command(house, "dataset", "export", done.id, "--format", form, "--to", folder, status=1)


def test_the_command_says_what_an_import_lacks(house: House, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x01\x00")
    (tmp_path / "notes.doc").write_bytes(b"")

    assert "say --vocabulary" in command(house, "dataset", "import", str(tmp_path / "a.bin"), status=2)
    assert "say --format" in command(house, "dataset", "import", str(tmp_path / "notes.doc"), status=1)
    assert "no file of a format" in command(house, "dataset", "import", str(tmp_path / "base"), status=1)
    assert "say --format" in command(house, "dataset", "export", "x", status=2)

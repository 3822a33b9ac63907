"""The store of vocabularies: ours and those of base models, found by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from services.common.errors import Corrupt, InvalidRequest, NotFound
from services.tokenizer.training import train_vocabulary
from services.tokenizer.vocabularies import Vocabularies
from tests.gpt2_files import gpt2_folder

SOURCE = {"corpus": "blog", "snapshot": "ab" * 32, "requested_size": 300, "header_format": "header-v1"}


def add_base(data: Path, name: str) -> None:
    (data / "base" / name).mkdir(parents=True)
    for file in ("encoder.json", "vocab.bpe"):
        shutil.copyfile(gpt2_folder() / file, data / "base" / name / file)


@pytest.fixture
def store(tmp_path: Path) -> Vocabularies:
    return Vocabularies(tmp_path)


def test_a_trained_vocabulary_is_found_by_id_and_by_source(store: Vocabularies, tmp_path: Path) -> None:
    facts = store.add(train_vocabulary(["many words, many words"] * 3, 270), SOURCE, bytes_per_token=1.5)
    manifest = json.loads((tmp_path / "vocabularies" / facts.id / "manifest.json").read_text())

    assert facts.id == f"blog-{facts.size}-{facts.digest[:8]}"
    assert store.facts(facts.id) == store.find_trained(SOURCE) == facts
    assert store.find_trained({**SOURCE, "requested_size": 301}) is None
    assert store.codec(facts.id).vocabulary.digest == facts.digest == manifest["digest"]
    assert (manifest["kind"], manifest["size"], facts.bytes_per_token) == ("vocabulary", facts.size, 1.5)
    assert set(manifest["files"]) == {"encoder.json", "vocab.bpe"}


def test_base_models_are_listed_with_their_vocabulary(store: Vocabularies, tmp_path: Path) -> None:
    add_base(tmp_path, "124M")
    own = store.add(train_vocabulary(["a"], 257), SOURCE, bytes_per_token=1.0)

    base, listed = store.all()

    assert (base.id, base.size, base.end_of_text_id, base.from_base) == ("124M", 50257, 50256, True)
    assert base.bytes_per_token is None
    assert listed == own
    with pytest.raises(NotFound, match="base model"):
        store.delete("124M")


def test_a_deleted_vocabulary_is_gone(store: Vocabularies) -> None:
    facts = store.add(train_vocabulary(["a"], 257), SOURCE, bytes_per_token=1.0)

    store.delete(facts.id)

    assert store.all() == []
    with pytest.raises(NotFound, match=facts.id):
        store.codec(facts.id)


@pytest.mark.parametrize("name", ["", "../x", ".partial-x", "a/b", "a\x00"])
def test_a_name_that_is_no_name_is_refused(store: Vocabularies, name: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        store.codec(name)

    assert refusal.value.field == "vocabulary"


def test_a_damaged_vocabulary_is_refused_unlisted_and_made_anew(store: Vocabularies, tmp_path: Path) -> None:
    facts = store.add(train_vocabulary(["a b a b"], 258), SOURCE, bytes_per_token=1.0)
    (facts.folder / "vocab.bpe").write_bytes(b"#version: 0.2\n")

    with pytest.raises(Corrupt):
        store.codec(facts.id)
    assert store.find_trained(SOURCE) is None
    assert store.add(train_vocabulary(["a b a b"], 258), SOURCE, bytes_per_token=1.0).id == facts.id
    assert store.find_trained(SOURCE) is not None


def test_a_base_that_is_replaced_is_read_anew(store: Vocabularies, tmp_path: Path) -> None:
    add_base(tmp_path, "mine")
    assert store.codec("mine").vocabulary.size == 50257
    small = train_vocabulary(["a"], 257)

    (tmp_path / "base/mine/encoder.json").write_bytes(small.encoder)
    (tmp_path / "base/mine/vocab.bpe").write_bytes(small.merges)

    assert store.codec("mine").vocabulary.size == 257


def test_a_half_written_vocabulary_is_cleared_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "vocabularies" / ".partial-x").mkdir(parents=True)
    (tmp_path / "vocabularies" / "no-manifest").mkdir()

    store = Vocabularies(tmp_path)

    assert store.all() == []
    assert not (tmp_path / "vocabularies" / ".partial-x").exists()


def test_runs_and_models_bring_the_vocabulary_that_they_learned_with(store: Vocabularies, tmp_path: Path) -> None:
    sizes = {"checkpoint/blog": 257, "models/voice/2": 258, "models/voice/10": 259}
    for place, size in sizes.items():
        trained = train_vocabulary(["a b a b a b c c c c"], size)
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "encoder.json").write_bytes(trained.encoder)
        (tmp_path / place / "vocab.bpe").write_bytes(trained.merges)

    names = {"runs/blog": 257, "runs/blog@best": 257, "models/voice": 259, "models/voice@2": 258}
    assert {name: store.facts(name).size for name in names} == names
    assert store.all() == []
    for missing in ("runs/nobody", "models/nobody", "models/voice@3", "models/voice@../2", "base/voice"):
        with pytest.raises((NotFound, InvalidRequest)):
            store.codec(missing)
    for hostile in ("runs/../checkpoint/blog", "models/../models/voice", "runs/", "runs/.x"):
        with pytest.raises(InvalidRequest) as refusal:
            store.codec(hostile)
        assert refusal.value.field == "vocabulary"
    (tmp_path / "checkpoint" / "train-py").mkdir()
    (tmp_path / "checkpoint" / "train-py" / "model-7.index").touch()
    with pytest.raises(NotFound, match=r"copy encoder\.json, vocab\.bpe and hparams\.json"):
        store.codec("runs/train-py")
    with pytest.raises(NotFound, match="goes with the base model, run or model"):
        store.delete("runs/blog")

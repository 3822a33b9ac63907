"""Reading vocabulary files: GPT-2's are understood, damaged ones are refused by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from services.common.errors import Corrupt
from services.tokens.codec import Codec
from services.tokens.vocabulary import CHARACTER_OF_BYTE, Vocabulary, read_token, write_token
from tests.gpt2_files import gpt2_folder


def write_vocabulary(folder: Path, tokens: list[str], merges: list[str]) -> Path:
    (folder / "encoder.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "vocab.bpe").write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges))
    return folder


BYTES = list(CHARACTER_OF_BYTE.values())


def test_gpt2_vocabulary_has_its_published_size_and_marker() -> None:
    vocabulary = Vocabulary.load(gpt2_folder())
    encoder = (gpt2_folder() / "encoder.json").read_bytes()
    merges = (gpt2_folder() / "vocab.bpe").read_bytes()

    assert vocabulary.size == 50257
    assert vocabulary.end_of_text_id == 50256
    assert len(vocabulary.ranks) == 50256
    assert vocabulary.specials == {"<|endoftext|>": 50256}
    assert vocabulary.encode_map["Ġthe"] == vocabulary.ranks[b" the"] == 262
    assert vocabulary.digest == hashlib.sha256(encoder + b"\0" + merges).hexdigest()


def test_every_byte_has_its_own_character() -> None:
    assert len(set(CHARACTER_OF_BYTE.values())) == 256
    assert read_token(write_token(bytes(range(256)))) == bytes(range(256))


def test_ids_follow_the_file_whatever_the_order_of_its_bytes(tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path, ["<|endoftext|>", *reversed(BYTES), "<pad>", "ab"], ["a b"])
    codec = Codec(Vocabulary.load(folder))

    assert codec.encode("ab") == [258]
    assert codec.encode("b") == [codec.vocabulary.encode_map["b"]]
    assert codec.vocabulary.end_of_text_id == 0
    assert codec.decode([0, 257, 258]) == "<|endoftext|><pad>ab"


def test_windows_line_ends_and_a_missing_version_line_are_read(tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path, [*BYTES, "ab", "<|endoftext|>"], [])
    (folder / "vocab.bpe").write_bytes(b"a b\r\n")

    assert Vocabulary.load(folder).ranks[b"ab"] == 256


@pytest.mark.parametrize("name", ["encoder.json", "vocab.bpe"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_vocabulary(tmp_path, [*BYTES, "<|endoftext|>"], [])
    (folder / name).unlink()

    with pytest.raises(Corrupt, match=f"{name} is missing"):
        Vocabulary.load(folder)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"a": "x"}', b'{"a": true}', b'{"a": 1}', b"\xff", b'{"a": 0}'])
def test_a_damaged_encoder_is_named(tmp_path: Path, content: bytes) -> None:
    folder = write_vocabulary(tmp_path, [*BYTES, "<|endoftext|>"], [])
    (folder / "encoder.json").write_bytes(content)

    with pytest.raises(Corrupt, match=r"encoder\.json"):
        Vocabulary.load(folder)


@pytest.mark.parametrize("length", [10, 1000, 30_000])
def test_a_truncated_encoder_is_named(tmp_path: Path, length: int) -> None:
    (tmp_path / "encoder.json").write_bytes((gpt2_folder() / "encoder.json").read_bytes()[:length])
    (tmp_path / "vocab.bpe").write_bytes((gpt2_folder() / "vocab.bpe").read_bytes())

    with pytest.raises(Corrupt, match=r"encoder\.json is not a usable vocabulary file"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize(
    "merges", [["a"], ["a b c"], ["a c"], ["ab a"], ["b c", "a b"], ["a b", "a b"], ["a €"], [" a"], ["a  b"]]
)
def test_merges_that_do_not_fit_the_encoder_are_named(tmp_path: Path, merges: list[str]) -> None:
    folder = write_vocabulary(tmp_path, [*BYTES, "ab", "bc", "<|endoftext|>"], merges)

    with pytest.raises(Corrupt, match=r"vocab\.bpe"):
        Vocabulary.load(folder)


def test_a_vocabulary_without_the_marker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=r"no <\|endoftext\|> entry"):
        Vocabulary.load(write_vocabulary(tmp_path, BYTES, []))

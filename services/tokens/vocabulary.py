"""A vocabulary: the two files `encoder.json` and `vocab.bpe`, read and checked.

In: a folder in OpenAI's layout. Out: ids by token, byte ranks for the codec, the digest that names the pair.
Does not encode or decode (codec.py) and does not train (services/tokenizer/training.py).
Format after openai/gpt-2:src/encoder.py: tokens are byte strings written in 256 printable characters,
`vocab.bpe` is a version line and then one merge per line, the most important first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import Corrupt

ENCODER_FILE = "encoder.json"
MERGES_FILE = "vocab.bpe"
END_OF_TEXT = "<|endoftext|>"


def _characters_of_bytes() -> dict[int, str]:
    """The character that stands for each byte: itself where it is printable, else one from U+0100 on."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


CHARACTER_OF_BYTE = _characters_of_bytes()
BYTE_OF_CHARACTER = {character: byte for byte, character in CHARACTER_OF_BYTE.items()}
# The same for `str.translate`, with what stands for no byte outside Latin-1: a vocabulary has 150,000 to read.
_LATIN_1_OF_CHARACTER = {n: "\uffff" for n in range(256)} | {
    ord(character): chr(byte) for character, byte in BYTE_OF_CHARACTER.items()
}


def write_token(token: bytes) -> str:
    """Spell a token as the files do, such as `Ġthe` for ` the`."""
    return "".join(CHARACTER_OF_BYTE[byte] for byte in token)


def read_token(written: str) -> bytes:
    """The bytes that a token of the files stands for; KeyError if a character stands for no byte."""
    try:
        return written.translate(_LATIN_1_OF_CHARACTER).encode("latin-1")
    except UnicodeEncodeError as error:
        raise KeyError(written[error.start]) from None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens and their ids.

    Attributes:
        encode_map: id by token as written in `encoder.json`; ids are 0 to size - 1, each once.
        ranks: id by byte string for the 256 bytes and every merge; a lower id is merged first.
        specials: id by text for the entries that no merge makes, `<|endoftext|>` among them.
        end_of_text_id: the id that ends each document.
        digest: SHA-256 of both files, 64 hex digits: equal digests mean equal ids.
    """

    encode_map: dict[str, int]
    ranks: dict[bytes, int]
    specials: dict[str, int]
    end_of_text_id: int
    digest: str

    @property
    def size(self) -> int:
        """Number of ids, `n_vocab` of a model that uses them."""
        return len(self.encode_map)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Read a folder's `encoder.json` and `vocab.bpe`.

        Raises:
            Corrupt: a file is missing or unusable, or the two do not belong together; names the file.
        """
        return cls.parse(_read(folder / ENCODER_FILE), _read(folder / MERGES_FILE), where=folder)

    @classmethod
    def parse(cls, encoder: bytes, merges: bytes, *, where: Path) -> Vocabulary:
        """As `load`, from the files' content; `where` is the folder that error messages name."""
        encode_map = _parse_encoder(encoder, where / ENCODER_FILE)
        ranks = _byte_ranks(encode_map, where / ENCODER_FILE)
        _add_merges(ranks, encode_map, merges, where)
        specials = {token: i for token, i in encode_map.items() if not _is_ranked(token, ranks)}
        if END_OF_TEXT not in specials:
            raise _corrupt(where / ENCODER_FILE, f"it has no {END_OF_TEXT} entry")
        return cls(encode_map, ranks, specials, specials[END_OF_TEXT], digest_of(encoder, merges))


def digest_of(encoder: bytes, merges: bytes) -> str:
    """SHA-256 of the content of `encoder.json`, a zero byte and the content of `vocab.bpe`, as hex."""
    return hashlib.sha256(encoder + b"\0" + merges).hexdigest()


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} is not a usable vocabulary file: {problem}", metadata={"file": str(path)})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Corrupt(f"{path} is missing", metadata={"file": str(path)}) from None


def _parse_encoder(content: bytes, path: Path) -> dict[str, int]:
    try:
        value = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _corrupt(path, f"not valid JSON ({error})") from None
    if not isinstance(value, dict) or not all(type(i) is int for i in value.values()):
        raise _corrupt(path, "expected an object from token to whole number")
    if set(value.values()) != set(range(len(value))):
        raise _corrupt(path, f"its {len(value)} ids are not 0 to {len(value) - 1}, each once")
    return value


def _byte_ranks(encode_map: dict[str, int], path: Path) -> dict[bytes, int]:
    absent = [byte for byte, character in CHARACTER_OF_BYTE.items() if character not in encode_map]
    if absent:
        raise _corrupt(path, f"no token for byte {absent[0]:#04x} (and {len(absent) - 1} more): not byte-level")
    return {bytes([byte]): encode_map[character] for byte, character in CHARACTER_OF_BYTE.items()}


def _add_merges(ranks: dict[bytes, int], encode_map: dict[str, int], content: bytes, where: Path) -> None:
    """Add every merge of `vocab.bpe` to `ranks`, checking that ids follow the merges' order.

    The codec takes a token's id as its rank. That is exact when each merge joins tokens that exist
    already, makes a new one, and ids grow from merge to merge, as in every vocabulary made by training.
    """
    path = where / MERGES_FILE
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise _corrupt(path, f"not UTF-8 ({error})") from None
    last = -1
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        try:
            left, right = (read_token(part) for part in parts)
        except (ValueError, KeyError):
            raise _corrupt(path, f"line {number}, {line[:40]!r}, is not two tokens") from None
        token_id = encode_map.get("".join(parts))
        if token_id is None or left not in ranks or right not in ranks:
            raise _corrupt(path, f"line {number}, {line[:40]!r}, joins or makes a token that {ENCODER_FILE} lacks")
        if token_id <= last or left + right in ranks:
            raise _corrupt(path, f"line {number}, {line[:40]!r}, is out of order with the ids of {ENCODER_FILE}")
        ranks[left + right] = last = token_id


def _is_ranked(token: str, ranks: dict[bytes, int]) -> bool:
    try:
        return read_token(token) in ranks
    except KeyError:
        return False

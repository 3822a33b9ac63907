"""The vocabulary of a Hugging Face folder as `encoder.json` and `vocab.bpe`. Imports no TensorFlow.

`vocab.json` and `merges.txt` are those files under other names, and are copied byte for byte, so that GPT-2's stays
GPT-2's. Newer folders have one `tokenizer.json` instead, which holds the same. Tokens that were added later
(`added_tokens.json`) become entries that no merge makes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt
from services.common.files import read_json

ENCODER, MERGES = "encoder.json", "vocab.bpe"


def write_vocabulary(source: Path, target: Path) -> int:
    """Write `encoder.json` and `vocab.bpe` into `target`; return the number of entries.

    Raises:
        Corrupt: a file is missing or is not what its name says; names it. Whether entries and merges belong
            together is not looked at.
    """
    if (source / "vocab.json").is_file():
        entries = _entries(read_json(source / "vocab.json"), source / "vocab.json")
        if not (source / "merges.txt").is_file():
            raise _corrupt(source / "merges.txt", "is missing beside vocab.json")
        encoder, merges = (source / "vocab.json").read_bytes(), (source / "merges.txt").read_bytes()
    elif (source / "tokenizer.json").is_file():
        entries, merges = _from_tokenizer(source / "tokenizer.json")
        encoder = json.dumps(entries).encode()
    else:
        raise _corrupt(source / "vocab.json", "is missing, and so is tokenizer.json: the folder has no vocabulary")
    added = source / "added_tokens.json"
    if added.is_file():
        missing = {token: i for token, i in _entries(read_json(added), added).items() if token not in entries}
        if missing:
            entries |= missing
            encoder = json.dumps(entries).encode()
    (target / ENCODER).write_bytes(encoder)
    (target / MERGES).write_bytes(merges)
    return len(entries)


def _from_tokenizer(path: Path) -> tuple[dict[str, int], bytes]:
    whole = read_json(path)
    model: Any = whole.get("model") if isinstance(whole, dict) else None
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or not isinstance(model.get("merges"), list):
        raise _corrupt(path, "is not of a byte-pair tokenizer")
    entries = dict(_entries(model.get("vocab"), path))
    for token in whole.get("added_tokens") or ():
        entries.setdefault(token["content"], token["id"])
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return entries, ("#version: 0.2\n" + "".join(f"{pair}\n" for pair in pairs)).encode()


def _entries(value: Any, path: Path) -> dict[str, int]:
    if not isinstance(value, dict) or not value or not all(type(i) is int for i in value.values()):
        raise _corrupt(path, "does not map tokens to whole numbers")
    return value


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} {problem}", metadata={"file": str(path)})

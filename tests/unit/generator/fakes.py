"""Small real things for the generator's tests: a byte vocabulary, and an engine that spells a text."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from services.generator.blocks import BlockPool
from services.generator.engine import Chunk
from services.generator.pace import Pace
from services.generator.request import SampleRequest
from services.generator.scheduler import Scheduler
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
    """An engine without a model: the likeliest id is `next_id` of the ids that the blocks hold.

    Checks that it is asked as engine.Engine says, and counts. `gate` holds steps back while it is cleared.
    """

    name = "spelling"
    exact = True
    vocabulary_size = 257

    def __init__(
        self, next_id: Callable[[list[int]], int], *, num_slots: int = 2, context: int = 64, block_size: int = 0
    ) -> None:
        self.next_id = next_id
        self.context = context
        self.block_size = block_size or context
        self.num_blocks = num_slots * -(-context // self.block_size)
        self.steps: list[list[Chunk]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._blocks: list[list[int]] = [[] for _ in range(self.num_blocks)]

    def step(self, chunks: Sequence[Chunk]) -> np.ndarray:
        self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.steps.append(list(chunks))
        self._check_apart(chunks)
        return np.concatenate([self._rows(chunk) for chunk in chunks])

    def _check_apart(self, chunks: Sequence[Chunk]) -> None:
        """No block is written by one chunk and touched by another."""
        written = [set(chunk.blocks[chunk.start // self.block_size :]) for chunk in chunks]
        for index, chunk in enumerate(chunks):
            for other, blocks in enumerate(written):
                assert other == index or not blocks & set(chunk.blocks)

    def _rows(self, chunk: Chunk) -> np.ndarray:
        assert chunk.ids and 0 <= chunk.num_logits <= len(chunk.ids)
        end, size = chunk.start + len(chunk.ids), self.block_size
        assert end <= min(self.context, len(chunk.blocks) * size)
        for position, token_id in enumerate(chunk.ids, chunk.start):
            block = self._blocks[chunk.blocks[position // size]]
            assert position % size <= len(block), "there is a gap before this position"
            block[position % size :] = [token_id]
        held = [token_id for block in chunk.blocks for token_id in self._blocks[block]][:end]
        assert len(held) == end, "a block before this one is not full"
        rows = [self._logits(held[: end - left]) for left in reversed(range(chunk.num_logits))]
        return np.array(rows, np.float32).reshape(-1, self.vocabulary_size)

    def _logits(self, ids: list[int]) -> np.ndarray:
        logits = np.zeros(self.vocabulary_size, np.float32)
        logits[self.next_id(ids)] = 20.0
        return logits


class DreamingEngine(SpellingEngine):
    """Logits that look random and depend on every id before them, and on nothing else."""

    name = "dreaming"

    def __init__(self, *, num_slots: int = 2, context: int = 64, block_size: int = 0) -> None:
        super().__init__(lambda ids: 0, num_slots=num_slots, context=context, block_size=block_size)

    def step(self, chunks: Sequence[Chunk]) -> np.ndarray:
        logits = super().step(chunks)
        self.steps.clear()  # it runs for long
        return logits

    def _logits(self, ids: list[int]) -> np.ndarray:
        seed = zlib.crc32(np.array(ids, np.int32).tobytes())
        return np.random.default_rng(seed).normal(size=self.vocabulary_size).astype(np.float32) * 3


def scheduler(engine: SpellingEngine, *, prefill_tokens: int = 64, queue_limit: int = 4) -> Scheduler:
    """A scheduler over the engine's blocks that no step is too long for."""
    return Scheduler(
        BlockPool(engine.num_blocks, engine.block_size),
        engine.context,
        queue_limit=queue_limit,
        caller_limit=queue_limit,
        pace=Pace(prefill_tokens, max_stall_s=3600.0),
    )

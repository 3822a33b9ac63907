"""GPT-2 on LiteRT: a flat batch of tokens of any sequences in, logits of the rows asked for out.

The layers are computed by our own compiled code where the processor has instructions for products of bytes
(forward.py), else by LiteRT and ours in turns (interpreted.py); both over one paged cache (cache.py). Decoding and
chunks of prompts are one call.
A row's logits do not depend, in any bit, on what else is in the batch or on how a prompt was cut.

N tokens of the batch, M rows whose logits are asked for, C channels, V vocabulary, L layers, R runs of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.gpt2.config import GPT2Config
from services.litert import engine_file
from services.litert.cache import BLOCK, new_cache
from services.litert.engine_file import EngineFile
from services.litert.forward import Forward
from services.litert.heads import Placement
from services.litert.interpreted import Interpreted
from services.litert.tiles import NAMES, find_instructions, num_panels

MAX_ROWS = 256  # tokens that go through the model at once; more are computed in turns


# With LiteRT's products sharing a small one costs more than it saves. One thread against two, 8 streams: 12,800 against
# 7,700 tokens/s with 1 million parameters (`nano`), 3,270 against 3,390 with 14 million (`mini`). Ours decide by step.
SMALL_PARAMETERS = 8_000_000


class Chunk(Protocol):
    """New ids of one sequence, as services.generator.engine.Chunk has them."""

    @property
    def blocks(self) -> Sequence[int]:
        """Cache blocks that hold the sequence's positions 0.., in order; they cover start + len(ids)."""
        ...

    @property
    def start(self) -> int:
        """Position of the first id; everything before it stands in the blocks."""
        ...

    @property
    def ids(self) -> Sequence[int]:
        """At least one."""
        ...

    @property
    def num_logits(self) -> int:
        """Logits are wanted after the last this many ids; 0: none."""
        ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """The plain form of a Chunk."""

    blocks: Sequence[int]
    start: int
    ids: Sequence[int]
    num_logits: int = 1


def choose_threads(config: GPT2Config, precision: str, cores: int) -> int:
    """Return how many threads a model runs on best where it may use that many cores.

    Args:
        precision: `int8` or `float32`, of its engine file.
    """
    if precision == "int8" and find_instructions():
        return min(cores, num_panels(config.n_embd))  # more would have nothing to do in the smallest products
    return cores if config.num_parameters >= SMALL_PARAMETERS else 1


class LiteRTModel:
    """A model with its cache. `step` is called by one thread at a time.

    Args:
        file: an engine file, or where it is, to be read.
        num_blocks: of the cache, at least one; a block holds 64 positions of one sequence.
        threads: of the matrix products and of attention, at least one; see `choose_threads`.
        instructions: tiles.AMX or tiles.VNNI, which the processor must have; 0: LiteRT's products; None: the best.

    Raises:
        Corrupt: the file is missing, damaged, or computes something that is no number; the message names it.
    """

    block_size = BLOCK

    def __init__(self, file: Path | EngineFile, num_blocks: int, threads: int, instructions: int | None = None) -> None:
        if isinstance(file, Path):
            file = engine_file.read(file)
        self.path = file.path
        self.config = file.config
        self.precision = file.precision
        self.num_blocks = num_blocks
        self._file = file
        cache = new_cache(file.config, num_blocks, file.precision)
        self._placement = Placement(file.config, cache, MAX_ROWS, Forward.EXTRA)
        best = find_instructions()  # always: AMX must be asked for
        instructions = best if instructions is None else instructions
        if file.precision != "int8":
            instructions = 0
        self.products = NAMES[instructions]
        self._layers: Forward | Interpreted
        if instructions:
            self._layers = Forward(file, cache, self._placement, MAX_ROWS, threads, instructions)
        else:
            self._layers = Interpreted(file, cache, self._placement, MAX_ROWS, threads)
        self._warm()

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that every step reads."""
        config = self.config
        matrices = 12 * config.n_layer * config.n_embd**2 + config.n_vocab * config.n_embd
        return matrices * (1 if self.precision == "int8" else 4)

    def step(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Compute chunks, in order, and return the logits asked for: float32 [sum of num_logits, V].

        Chunks are computed in order, layer by layer, so one may read what an earlier one of the same step writes.

        Raises:
            ValueError: a chunk that the cache or the context has no room for. Nothing was computed.
            RuntimeError: the model is closed.
        """
        for chunk in chunks:
            self._check(chunk)
        logits = np.empty((sum(chunk.num_logits for chunk in chunks), self.config.n_vocab), np.float32)
        done = 0
        for turn in _turns(chunks):
            done += self._run(turn, logits[done:])
        return logits

    def close(self) -> None:
        """End its threads and free the cache. Further calls change nothing."""
        self._layers.close()
        self._placement.kept = ()

    def _run(self, pieces: Sequence[Tokens], logits: NDArray[np.float32]) -> int:
        """Take pieces through the model, at most MAX_ROWS tokens; write the logits asked for, return how many."""
        ids = np.concatenate([np.asarray(piece.ids, np.int64) for piece in pieces])  # [N]
        starts = np.array([piece.start for piece in pieces])  # [R]
        lengths = np.array([len(piece.ids) for piece in pieces])  # [R]
        ends = np.cumsum(lengths)
        positions = np.arange(len(ids)) + np.repeat(starts - (ends - lengths), lengths)  # [N]
        wanted = np.concatenate(
            [np.arange(end - piece.num_logits, end) for end, piece in zip(ends, pieces, strict=True)]
        )  # [M]
        self._placement.place(ends - lengths, lengths, starts, [piece.blocks for piece in pieces])
        self._layers.run(self._embed(ids, positions), wanted, logits[: len(wanted)])
        return len(wanted)

    def _check(self, chunk: Chunk) -> None:
        """Compiled code takes every number as it is."""
        end = chunk.start + len(chunk.ids)
        if not 0 <= chunk.num_logits <= len(chunk.ids) or not chunk.ids or chunk.start < 0:
            raise ValueError(f"{chunk.num_logits} logits of {len(chunk.ids)} ids from position {chunk.start}")
        if end > min(self.config.n_ctx, len(chunk.blocks) * BLOCK):
            raise ValueError(
                f"{end} positions do not fit into {len(chunk.blocks)} blocks and a context of {self.config.n_ctx}"
            )
        if min(chunk.blocks) < 0 or max(chunk.blocks) >= self.num_blocks:
            raise ValueError(f"blocks {list(chunk.blocks)} of a cache of {self.num_blocks}")
        if min(chunk.ids) < 0 or max(chunk.ids) >= self.config.n_vocab:
            raise ValueError(f"ids from {min(chunk.ids)} to {max(chunk.ids)} in a vocabulary of {self.config.n_vocab}")

    def _embed(self, ids: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        file = self._file
        x = file.wte[ids].astype(np.float32)  # [N, C]
        if file.precision == "int8":
            x *= file.wte_scales[ids, None]
        x += file.wpe[positions]
        return x

    def _warm(self) -> None:
        """Load the compiled code, and see that the weights compute numbers."""
        if not np.isfinite(self.step([Tokens([0], 0, [0], 1)])).all():
            raise Corrupt(
                f"the weights in {self.path} compute values that are not numbers; publish another checkpoint",
                metadata={"file": str(self.path)},
            )


def _turns(chunks: Sequence[Chunk]) -> list[list[Tokens]]:
    """Cut chunks into turns of at most MAX_ROWS tokens, in order."""
    turns: list[list[Tokens]] = [[]]
    room = MAX_ROWS
    for chunk in chunks:
        done = 0
        while done < len(chunk.ids):
            if not room:
                turns.append([])
                room = MAX_ROWS
            end = min(len(chunk.ids), done + room)
            # Of the last `num_logits` ids, those that are in this piece.
            first_wanted = max(done, len(chunk.ids) - chunk.num_logits)
            wanted = max(0, end - first_wanted)
            turns[-1].append(Tokens(chunk.blocks, chunk.start + done, chunk.ids[done:end], wanted))
            room -= end - done
            done = end
    return turns

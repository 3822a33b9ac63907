"""GPT-2 on LiteRT: a flat batch of tokens of any sequences in, logits of the rows asked for out.

LiteRT computes what stands between the attentions (graph.py) with int8 products at the memory's speed; attention.py
does the rest over a paged cache (cache.py). Decoding and chunks of prompts are one call.
A row's logits do not depend, in any bit, on what else is in the batch or on how a prompt was cut.

N tokens of the batch, M rows whose logits are asked for, C channels, V vocabulary, L layers, R runs of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.gpt2.config import GPT2Config
from services.litert import engine_file
from services.litert.cache import BLOCK, new_cache
from services.litert.engine_file import EngineFile
from services.litert.heads import Attention

MAX_ROWS = 256  # tokens that go through the model at once; more are computed in turns
HEAD_ROWS = 64  # rows whose logits are computed at once: 13 MB of them with GPT-2's vocabulary


# Sharing a small product costs more than it saves. One thread against two, 8 streams: 12,800 against 7,700 tokens/s
# with 1 million parameters (`nano`), 3,270 against 3,390 with 14 million (`mini`).
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


def choose_threads(config: GPT2Config, cores: int) -> int:
    """Return how many threads a model runs on best where it may use that many cores."""
    return 1 if config.num_parameters < SMALL_PARAMETERS else cores


class _Part:
    """One subgraph of the interpreter, called without copies.

    The interpreter's own runner copies inputs and outputs and allocates at every call; `raw` is what it is made of.
    """

    def __init__(self, interpreter: Interpreter, key: str) -> None:
        self._interpreter = interpreter
        self._raw: Any = interpreter._interpreter
        self._index: int = self._raw.GetSubgraphIndexFromSignature(key)
        signature = interpreter._get_full_signature_list()[key]
        self._inputs: dict[str, int] = signature["inputs"]
        self._outputs: dict[str, int] = signature["outputs"]
        self._width = interpreter._get_tensor_details(self._inputs["x"], self._index)["shape"][-1]
        self.rows = 0
        self.tensors: dict[str, NDArray[np.float32]] = {}

    def resize(self, rows: int) -> None:
        """Make inputs and outputs of that many rows. Views in `tensors` are others afterwards."""
        if rows == self.rows:
            return
        self.tensors = {}
        for tensor in self._inputs.values():
            self._raw.ResizeInputTensor(tensor, np.array([rows, self._width], np.int32), False, self._index)
        self._raw.AllocateTensors(self._index)
        for name, tensor in (self._inputs | self._outputs).items():
            self.tensors[name] = self._raw.tensor(self._interpreter, tensor, self._index)
        self.rows = rows

    def run(self) -> None:
        """Compute the outputs from the inputs."""
        self._raw.Invoke(self._index)


class LiteRTModel:
    """A model with its cache. `step` is called by one thread at a time.

    Args:
        file: an engine file, or where it is, to be read.
        num_blocks: of the cache, at least one; a block holds 64 positions of one sequence.
        threads: of the matrix products and of attention, at least one; see `choose_threads`.

    Raises:
        Corrupt: the file is missing, damaged, or computes something that is no number; the message names it.
    """

    block_size = BLOCK

    def __init__(self, file: Path | EngineFile, num_blocks: int, threads: int) -> None:
        if isinstance(file, Path):
            file = engine_file.read(file)
        self.path = path = file.path
        self.config = file.config
        self.precision = file.precision
        self.num_blocks = num_blocks
        self._file = file
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            L = file.config.n_layer
            keys = ["first", *(f"layer{layer}" for layer in range(1, L)), "last"]
            self._parts = [_Part(self._interpreter, key) for key in keys]
        except (ValueError, RuntimeError) as error:
            raise Corrupt(f"{path} cannot be run ({error})", metadata={"file": str(path)}) from error
        cache = new_cache(file.config, num_blocks, file.precision)
        self._attention = Attention(file.config, cache, MAX_ROWS, threads)
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
        """End attention's threads and free the cache. Further calls change nothing."""
        self._attention.close()

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
        self._attention.place(ends - lengths, lengths, starts, [piece.blocks for piece in pieces])

        x = self._embed(ids, positions)  # [N, C]
        first = self._parts[0]
        first.resize(len(ids))
        np.copyto(first.tensors["x"], x)
        first.run()
        qkv = first.tensors["qkv"]  # [N, 3C]
        for layer, part in enumerate(self._parts[1:-1]):
            part.resize(len(ids))
            np.copyto(part.tensors["x"], x)
            self._attention.run(layer, qkv, part.tensors["attended"])
            part.run()
            x, qkv = part.tensors["y"], part.tensors["qkv"]
        attended = np.empty_like(x)
        self._attention.run(self.config.n_layer - 1, qkv, attended)
        last = self._parts[-1]
        for begin in range(0, len(wanted), HEAD_ROWS):
            rows = wanted[begin : begin + HEAD_ROWS]
            last.resize(len(rows))
            np.take(x, rows, axis=0, out=last.tensors["x"])
            np.take(attended, rows, axis=0, out=last.tensors["attended"])
            last.run()
            logits[begin : begin + len(rows)] = last.tensors["logits"]
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
        """Take all working memory, load the compiled code, and see that the weights compute numbers.

        Making the largest batch once is what later keeps a change of the batch's size at half a millisecond.
        """
        for part, rows in zip(self._parts, [MAX_ROWS] * self.config.n_layer + [HEAD_ROWS], strict=True):
            part.resize(rows)
            for tensor in part.tensors.values():
                tensor[:] = 0
            part.run()
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

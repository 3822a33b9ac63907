"""Ours without the service: the engine's steps and the drawing of all rows, as the generator's loop has them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tests.bench.generation.case import CORES, TOP_K, Case, InThisProcess, Outcome, Settings

FILES = "engine"
PREFILL = 256  # prompt ids of a step


def title() -> str:
    """As in the benchmark's lines."""
    return "engine"


def candidates(case: Case) -> list[Settings]:
    """As it comes: all cores."""
    return [{"threads": CORES}]


class Engine(InThisProcess):
    """See Contestant. A stream owns a row of blocks and a line of the batch that is drawn."""

    def __init__(self, folder: Path, case: Case, settings: Settings) -> None:
        from services.generator.engine import Chunk
        from services.litert.model import LiteRTModel
        from services.sampling.batch import Batch
        from services.sampling.parameters import SamplingParameters

        self._blocks = -(-(case.prompt + 1 + case.new) // LiteRTModel.block_size)  # of a stream
        path = folder / FILES / "engine.litert"
        self._engine = LiteRTModel(path, case.streams * self._blocks, settings["threads"])
        self._new_chunk, self._new_batch = Chunk, Batch
        self._parameters = SamplingParameters(temperature=1.0, top_k=TOP_K)

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        streams, length = prompts.shape
        batch = self._new_batch(streams)
        lines = [self._join(batch, stream, prompt.tolist(), new) for stream, prompt in enumerate(prompts)]
        everyone = list(range(streams))
        tokens, first = [0] * streams, [0.0] * streams
        begun = time.perf_counter()
        for pieces in _steps(streams, length):
            chunks = [
                self._chunk(stream, start, prompts[stream, start:end].tolist(), wanted=end == length)
                for stream, start, end in pieces
            ]
            logits = self._engine.step(chunks)
            done = [stream for stream, _, end in pieces if end == length]
            if done:
                found = batch.draw(logits, list(range(len(done))), [lines[stream] for stream in done])
                for stream, token_id in zip(done, found, strict=True):
                    tokens[stream], first[stream] = token_id, time.perf_counter() - begun
        prefill_s = time.perf_counter() - begun
        begun = time.perf_counter()
        for position in range(length, length + new):
            logits = self._engine.step([self._chunk(s, position, [tokens[s]], wanted=True) for s in everyone])
            tokens = batch.draw(logits, everyone, lines)
        return Outcome(prefill_s, time.perf_counter() - begun, float(np.median(first)))

    def _join(self, batch: object, stream: int, prompt: list[int], new: int) -> int:
        end_of_text = self._engine.config.n_vocab - 1
        return batch.add(
            self._parameters, seed=stream, sample=0, prompt=prompt, max_new_tokens=1 + new, excluded=[end_of_text]
        )

    def _chunk(self, stream: int, start: int, ids: list[int], *, wanted: bool) -> object:
        blocks = range(stream * self._blocks, (stream + 1) * self._blocks)
        return self._new_chunk(blocks, start, ids, int(wanted))


def _steps(streams: int, length: int) -> list[list[tuple[int, int, int]]]:
    """Prompts cut into steps of PREFILL ids, one prompt after the other: (stream, start, end)."""
    steps: list[list[tuple[int, int, int]]] = [[]]
    room = PREFILL
    for stream in range(streams):
        start = 0
        while start < length:
            if not room:
                steps.append([])
                room = PREFILL
            end = min(length, start + room)
            steps[-1].append((stream, start, end))
            room -= end - start
            start = end
    return steps


load = Engine

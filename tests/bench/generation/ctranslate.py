"""CTranslate2 int8: `Generator.generate_batch`, with replicas, threads and sub-batches as its settings.

A run is one call; when each token came says how much of it was decoding, and the rest counts as prefill.
"""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.generation.case import CORES, TOP_K, Case, InThisProcess, Outcome, Settings

FILES = "ctranslate2"


def title() -> str:
    """Name and version."""
    return f"ctranslate2 {version('ctranslate2')}, int8"


def candidates(case: Case) -> list[Settings]:
    """Splits of the cores into replicas, each with its share of the streams or parts of it; weights packed or not."""
    found = []
    for replicas in sorted({1, CORES}):
        threads = [CORES // replicas] + ([1] if replicas < CORES and case.streams == 1 else [])
        share = -(-case.streams // replicas)
        parts = {share, -(-share // 2), -(-share // 4)} if replicas > 1 else {share}
        if replicas <= case.streams:
            found += [
                {"inter_threads": replicas, "intra_threads": number, "max_batch_size": part, "packed": packed}
                for number in threads
                for part in sorted(parts, reverse=True)
                for packed in (False, True)
            ]
    return found


class CTranslate2(InThisProcess):
    """See Contestant."""

    def __init__(self, folder: Path, case: Case, settings: Settings) -> None:
        # Read when the library is imported. Its choice of a library for matrix products is left to it: where it
        # takes MKL, oneDNN was slower.
        os.environ["CT2_PACKED_GEMM"] = str(int(settings["packed"]))
        import ctranslate2 as library

        self._sub_batch, self._replicas = settings["max_batch_size"], settings["inter_threads"]
        self._generator = library.Generator(
            str(folder / FILES),
            compute_type="int8",
            inter_threads=settings["inter_threads"],
            intra_threads=settings["intra_threads"],
        )
        self._tokens: list[str] = json.loads((folder / FILES / "vocabulary.json").read_text())

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        rows = [[self._tokens[token_id] for token_id in row] for row in prompts]
        arrivals: dict[int, list[float]] = {stream: [] for stream in range(len(rows))}

        def note(token: Any) -> bool:
            arrivals[token.batch_id].append(time.perf_counter())
            return False

        begun = time.perf_counter()
        results = self._generator.generate_batch(
            rows,
            max_batch_size=self._sub_batch,
            include_prompt_in_result=False,
            max_length=1 + new,
            min_length=1 + new,
            end_token=[],
            sampling_topk=TOP_K,
            sampling_temperature=1.0,
            callback=note,
        )
        total_s = time.perf_counter() - begun
        assert all(len(result.sequences_ids[0]) == 1 + new for result in results), "it stopped early"
        # Replicas decode one sub-batch after the other: the mean of what each of them spent on that.
        spent = sum(times[-1] - times[0] for times in arrivals.values()) / min(self._sub_batch, len(rows))
        decode_s = spent / min(self._replicas, -(-len(rows) // self._sub_batch))
        first_s = float(np.median([times[0] - begun for times in arrivals.values()]))
        return Outcome(total_s - decode_s, decode_s, first_s)


load = CTranslate2

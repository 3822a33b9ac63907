"""llama.cpp q8_0 through llama-cpp-python's low-level calls: parallel sequences in one batch, as its server runs them.

Each stream has a sampler chain of its own: top_k, temperature, draw.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.bench.generation.case import CORES, TOP_K, Case, InThisProcess, Outcome, Settings

FILES = "gguf"
N_BATCH = 2048  # its default: the most tokens of one call
CACHE_STEP = 256  # it rounds a sequence's cache up to this


def title() -> str:
    """Name and version."""
    return f"llama.cpp (llama-cpp-python {version('llama-cpp-python')}), q8_0"


def candidates(case: Case) -> list[Settings]:
    """Flash attention; with one stream the threads, with several whether they share one cache."""
    return [
        {"threads": threads, "flash_attention": flash, "kv_unified": unified}
        for threads in (sorted({max(1, CORES // 2), CORES}) if case.streams == 1 else [CORES])
        for flash in (False, True)
        for unified in ((False, True) if case.streams > 1 else (False,))
    ]


class Llama(InThisProcess):
    """See Contestant."""

    def __init__(self, folder: Path, case: Case, settings: Settings) -> None:
        import llama_cpp as library

        self._library = library
        self._silent = library.llama_log_callback(lambda level, text, data: None)
        library.llama_log_set(self._silent, None)
        library.llama_backend_init()
        path = next((folder / FILES).glob("*.gguf"))
        model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
        assert model is not None, f"{path} is no model to llama.cpp"
        length = -(-(case.prompt + 1 + case.new) // CACHE_STEP) * CACHE_STEP
        params = library.llama_context_default_params()
        params.n_ctx = case.streams * length
        params.n_batch = N_BATCH
        params.n_seq_max = case.streams
        params.n_threads = params.n_threads_batch = settings["threads"]
        params.flash_attn_type = int(settings["flash_attention"])
        params.kv_unified = settings["kv_unified"]
        self._context = library.llama_init_from_model(model, params)
        assert self._context is not None, f"no context with {settings}"
        self._batch = library.llama_batch_init(N_BATCH, 0, 1)
        self._samplers = [self._sampler(seed) for seed in range(case.streams)]

    def _sampler(self, seed: int) -> object:
        library = self._library
        chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_top_k(TOP_K))
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_temp(1.0))
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_dist(seed))
        return chain

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        streams, length = prompts.shape
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)
        rows = [
            (int(token_id), position, stream, position == length - 1)
            for stream, prompt in enumerate(prompts)
            for position, token_id in enumerate(prompt)
        ]
        tokens = [0] * streams
        first = [0.0] * streams
        begun = time.perf_counter()
        for start in range(0, len(rows), N_BATCH):
            for stream, token_id in self._step(rows[start : start + N_BATCH]):
                tokens[stream] = token_id
                first[stream] = time.perf_counter() - begun
        prefill_s = time.perf_counter() - begun
        begun = time.perf_counter()
        for position in range(length, length + new):
            for stream, token_id in self._step([(tokens[s], position, s, True) for s in range(streams)]):
                tokens[stream] = token_id
        return Outcome(prefill_s, time.perf_counter() - begun, float(np.median(first)))

    def _step(self, rows: Sequence[tuple[int, int, int, bool]]) -> list[tuple[int, int]]:
        """Compute (token, position, stream, whether to sample); return what was sampled for which stream."""
        batch = self._batch
        for index, (token_id, position, stream, wanted) in enumerate(rows):
            batch.token[index] = token_id
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = stream
            batch.logits[index] = wanted
        batch.n_tokens = len(rows)
        status = self._library.llama_decode(self._context, batch)
        assert status == 0, f"llama_decode says {status}"
        return [
            (stream, self._library.llama_sampler_sample(self._samplers[stream], self._context, index))
            for index, (_, _, stream, wanted) in enumerate(rows)
            if wanted
        ]


load = Llama

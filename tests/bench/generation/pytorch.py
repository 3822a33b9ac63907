"""transformers + PyTorch: `generate` of GPT2LMHeadModel, in float32 or bfloat16."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.bench.generation.case import CORES, TOP_K, Case, InThisProcess, Outcome, Settings

FILES = "hugging_face"


def title(dtype: str) -> str:
    """Name and version."""
    return f"transformers {version('transformers')} + torch {version('torch')}, {dtype}"


def candidates(case: Case) -> list[Settings]:
    """Threads, and whether the streams run together or half at a time."""
    found = [{"threads": CORES, "sub_batch": case.streams}]
    if CORES > 1:
        found.append({"threads": CORES // 2, "sub_batch": case.streams})
    if case.streams > 1:
        found.append({"threads": CORES, "sub_batch": case.streams // 2})
    return found


class Transformers(InThisProcess):
    """See Contestant."""

    def __init__(self, folder: Path, case: Case, settings: Settings, dtype: str) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        import transformers as library

        library.logging.set_verbosity_error()
        torch.set_num_threads(settings["threads"])
        torch.manual_seed(1)
        self._torch = torch
        self._sub_batch = settings["sub_batch"]
        model = library.GPT2LMHeadModel.from_pretrained(folder / FILES, dtype=getattr(torch, dtype))
        self._model = model.eval()

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        begun = time.perf_counter()
        decode_s = 0.0
        first: list[float] = []
        for start in range(0, len(prompts), self._sub_batch):
            times = self._generate(prompts[start : start + self._sub_batch], 1 + new)
            decode_s += times[-1] - times[0]
            first += [times[0] - begun] * self._sub_batch
        return Outcome(time.perf_counter() - begun - decode_s, decode_s, float(np.median(first)))

    def _generate(self, prompts: np.ndarray, length: int) -> list[float]:
        """When each token was drawn."""
        times: list[float] = []

        def note(ids: object, scores: object, **more: object) -> object:
            """Asked after every token whether to stop."""
            times.append(time.perf_counter())
            return self._torch.zeros(len(prompts), dtype=self._torch.bool)

        ids = self._torch.from_numpy(prompts)
        with self._torch.inference_mode():
            out = self._model.generate(
                ids,
                attention_mask=self._torch.ones_like(ids),
                do_sample=True,
                top_k=TOP_K,
                temperature=1.0,
                max_new_tokens=length,
                eos_token_id=None,
                pad_token_id=0,
                stopping_criteria=[note],
            )
        assert out.shape[1] == ids.shape[1] + length == ids.shape[1] + len(times), "it stopped early"
        return times


load = Transformers

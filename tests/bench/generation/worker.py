"""A contestant of bench_generate in its own process.

`python -m tests.bench.generation.worker NAME FOLDER CASE SETTINGS`, the last two as JSON. Loads, warms, prints a line
and then reads lines: for each, a number, it runs the case on the prompts of that number and prints JSON with what
came out; at the end of the input it prints its peak memory.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.bench.generation.case import Case, Contestant

WARM = 0  # the number of the prompts that are not measured
WARM_PROMPT, WARM_NEW = 32, 4

# Name: the module, and what else its `title` and `load` are told.
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "engine": ("engine", {}),
    "service": ("service", {}),
    "llama.cpp": ("llama", {}),
    "ctranslate2": ("ctranslate", {}),
    "transformers": ("pytorch", {"dtype": "float32"}),
    "transformers-bfloat16": ("pytorch", {"dtype": "bfloat16"}),
    "gpt-2-simple": ("gpt2_simple", {}),
    "keras-hub": ("kerashub", {}),
    "reading": ("reading", {}),
}


def module_of(name: str) -> ModuleType:
    """A contestant's module: FILES, title, candidates, load."""
    return importlib.import_module(f"tests.bench.generation.{CONTESTANTS[name][0]}")


def title_of(name: str) -> str:
    """Name, version and precision."""
    return module_of(name).title(**CONTESTANTS[name][1])


def warm_up(contestant: Contestant, case: Case) -> None:
    """Run what is not measured: the whole case where shapes are compiled, else a little of it."""
    if getattr(contestant, "compiles_shapes", False):
        contestant.run(case.prompts(WARM), case.new)
    else:
        contestant.run(case.prompts(WARM)[:, :WARM_PROMPT], min(case.new, WARM_NEW))


def main() -> None:
    """Serve runs."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    case, settings = Case(**json.loads(sys.argv[3])), json.loads(sys.argv[4])
    load = partial(module_of(name).load, **CONTESTANTS[name][1])
    contestant = load(folder, case, settings)
    warm_up(contestant, case)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        outcome = contestant.run(case.prompts(int(line)), case.new)
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)
    print(json.dumps({"peak_gb": contestant.peak_gb()}), flush=True)
    contestant.close()


if __name__ == "__main__":
    main()

"""Sample files of a run, in train.py's layout: `samples-<step>`, a header line before each text.

    ======== SAMPLE 1 ========
    <text>

Blocks are joined by an empty line. In: texts and a step. Out: the same. Does not generate.

What the layout has no place for, a sample's prompt and temperature, follows from its number and the run's
settings, which never change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from services.common.files import write_atomic
from services.trainer.run_settings import RunSettings

_FILE = re.compile(r"samples-(\d+)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One text that a run wrote."""

    run: str
    step: int
    index: int
    """Number within the step, from 1."""
    text: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What one sample of a step is asked for."""

    prompt: str
    """Text it begins with; empty: nothing."""
    temperature: float


def wishes(settings: RunSettings) -> list[Wish]:
    """The samples of a step in order: each prompt at each temperature, `sample_num` times."""
    return [
        Wish(prompt, temperature)
        for prompt in settings.sample_prompts
        for temperature in settings.sample_temperatures
        for _ in range(settings.sample_num)
    ]


def _header(index: int) -> str:
    return f"======== SAMPLE {index} ========\n"


def write_samples(folder: Path, step: int, texts: list[str]) -> None:
    """Write the samples of a step, whole or not at all."""
    blocks = [f"{_header(index)}{text}\n" for index, text in enumerate(texts, start=1)]
    write_atomic(folder / f"samples-{step}", "\n".join(blocks).encode())


def read_samples(folder: Path, step: int) -> list[Sample]:
    """The samples of a step in order; empty when there are none."""
    path = folder / f"samples-{step}"
    if not path.is_file():
        return []
    content = path.read_bytes().decode("utf-8", errors="replace")
    texts: list[str] = []
    rest = content.removeprefix(_header(1)).removesuffix("\n")
    while True:
        # A text may hold a line that looks like a header: only the next number begins the next sample.
        text, border, rest = rest.partition(f"\n\n{_header(len(texts) + 2)}")
        texts.append(text)
        if not border:
            break
    return [Sample(folder.name, step, index, text) for index, text in enumerate(texts, start=1)]


def steps_with_samples(folder: Path) -> list[int]:
    """The steps at which a run wrote samples, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(named[1]) for path in folder.iterdir() if (named := _FILE.fullmatch(path.name)))


def delete_samples(folder: Path, step: int) -> bool:
    """Delete the samples of a step; False when there were none."""
    path = folder / f"samples-{step}"
    if not path.is_file():
        return False
    path.unlink()
    return True

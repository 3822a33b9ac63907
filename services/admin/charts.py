"""Charts drawn on the server: a corpus over time as the boxes of an SVG picture, so that no script is needed.

In: bars with counts. Out: numbers for a template. Colours are the style sheet's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.client.timeline import Bar

WIDTH, HEIGHT = 960, 220
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 10, 26  # room for the figures at the left and the labels below
MOST_LABELS = 12


@dataclass(frozen=True, slots=True)
class Box:
    """One bar, in the picture's units. `label` is empty where there is no room for it."""

    x: float
    y: float
    width: float
    height: float
    label: str
    says: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A bar chart. `lines` are the heights of the ruled lines and their figures."""

    boxes: tuple[Box, ...]
    lines: tuple[tuple[float, int], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    floor: int = HEIGHT - BOTTOM


def bar_chart(bars: Sequence[Bar]) -> Chart | None:
    """Lay out bars of documents; None when there is nothing to draw."""
    most = max((bar.num_documents for bar in bars), default=0)
    if not most:
        return None
    step = _round_step(most)
    top = math.ceil(most / step) * step
    room, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    slot = room / len(bars)
    gap = min(slot * 0.2, 6.0)
    every = math.ceil(len(bars) / MOST_LABELS)
    # Where bars are months or quarters, a label that begins a year says more than one in its middle.
    starts = [place for place, bar in enumerate(bars) if bar.label.endswith(("-01", " Q1"))]
    if every > 1 and starts:
        thin = math.ceil(len(starts) / MOST_LABELS)
        labelled = {place: bars[place].label[:4] for place in starts[::thin]}
    else:
        labelled = {place: bar.label for place, bar in enumerate(bars) if place % every == 0}
    boxes = []
    for place, bar in enumerate(bars):
        height = tall * bar.num_documents / top
        noun = "post" if bar.num_documents == 1 else "posts"
        boxes.append(
            Box(
                x=round(LEFT + place * slot + gap / 2, 2),
                y=round(TOP + tall - height, 2),
                width=round(slot - gap, 2),
                height=round(height, 2),
                label=labelled.get(place, ""),
                says=f"{bar.label}: {bar.num_documents:,} {noun}, {bar.num_words:,} words",
            )
        )
    lines = tuple((round(TOP + tall - tall * value / top, 2), value) for value in range(0, top + 1, step))
    return Chart(tuple(boxes), lines)


def _round_step(most: int) -> int:
    """1, 2 or 5 times a power of ten, so that about four lines are ruled."""
    raw = max(1.0, most / 4)
    power = 10 ** math.floor(math.log10(raw))
    return int(next(size * power for size in (1, 2, 5, 10) if size * power >= raw))

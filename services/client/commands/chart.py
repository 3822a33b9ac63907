"""Curves as text, drawn by plotext: for a terminal in colour, elsewhere with a letter for each."""

from __future__ import annotations

from collections.abc import Sequence

import plotext
from rich.text import Text

from services.client.commands import terminal

WIDTH, HEIGHT = 88, 18
COLOURS = ("cyan", "orange", "magenta", "green", "red", "blue", "white", "gray")


def curves(drawn: Sequence[tuple[str, list[int], list[float]]], *, title: str) -> None:
    """Print curves over steps in one chart; those without a point are left out.

    Args:
        drawn: name, steps and values of each.
        title: above the chart.
    """
    console = terminal.out()
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(min(console.width, WIDTH) if console.is_terminal else WIDTH, HEIGHT)
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    for place, (_, steps, values) in enumerate(drawn):
        if steps:
            marker = "braille" if console.is_terminal else chr(ord("a") + place % 26)
            plotext.plot(steps, values, marker=marker, color=COLOURS[place % len(COLOURS)])
    picture = plotext.build()
    terminal.heading(title)
    # The legend stands below: a falling curve begins where plotext would put it.
    for line in picture.splitlines():
        console.print(
            Text.from_ansi(line) if console.is_terminal else plotext.uncolorize(line).rstrip(), soft_wrap=True
        )
    for place, (name, steps, _) in enumerate(drawn):
        if steps:
            sign = "━━" if console.is_terminal else chr(ord("a") + place % 26)
            style = {"orange": "yellow", "gray": "bright_black"}.get(colour := COLOURS[place % len(COLOURS)], colour)
            console.print(Text.assemble("     ", (sign, style), " ", terminal.printable(name)), soft_wrap=True)

"""The game's figures as sentences. A half means that nobody can tell; how near is said with the interval."""

from __future__ import annotations

from services.admin.game.classifier import MIN_EXCERPTS, MIN_POSTS
from services.admin.game.share import Share
from services.admin.game.store import Stock
from services.admin.words import percent, plural


def interval(share: Share) -> str:
    """`24 to 54 %`."""
    low, high = share.interval
    return f"{100 * low:.0f} to {percent(high)}"


def people(wrong: Share) -> str:
    """What the share of wrong guesses says."""
    if wrong.holds_half:
        return "Half lies within that: guessing would do as well."
    if wrong.value < 0.5:
        return "Below half: people can tell, more often than not."
    return "Above half: it passes for the author more often than the author does."


def machine(right: Share) -> str:
    """What the share of excerpts that the classifier told right says."""
    if right.holds_half:
        return "Half lies within that: it has not shown that it can tell."
    if right.value > 0.5:
        return "Above half: something in the letters gives the model away."
    return "Below half: the model repeats what was written, so real excerpts look like its own."


def shortage(stock: Stock) -> str:
    """Why the classifier has not judged a version whose excerpts are all gathered; names what is missing."""
    missing = [
        f"{plural(MIN_EXCERPTS - count, f'more {which} excerpt', f'more {which} excerpts')}"
        for count, which in ((stock.num_real, "real"), (stock.num_generated, "generated"))
        if count < MIN_EXCERPTS
    ]
    if missing:
        return f"It needs {MIN_EXCERPTS} excerpts of each side to say anything: {' and '.join(missing)}."
    if stock.num_real_posts < MIN_POSTS:
        return f"It needs excerpts of {MIN_POSTS} held-out posts, and there is one: 1 more post."
    return f"It needs {MIN_EXCERPTS} excerpts of each side from the same places of a post, and found too few."

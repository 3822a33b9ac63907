"""One sequence of ids: what the model sees of it, how much of that is computed, and where.

Knows no text and no tensors. Changed by the scheduler (holding) and the model's thread (the rest) alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.generator.blocks import Holding


@dataclass(slots=True, eq=False)
class Sequence:
    """Ids of one sample, prompt first, or of a text that is measured.

    Attributes:
        ids: prompt and what was written, all of it.
        num_prompt: how many of `ids` are the prompt.
        caller: whose it is.
        measured: logits are wanted after every id, and nothing is written.
        context: what the model sees: `ids`, less what slid out.
        num_computed: how many of `context` stand in the cache.
        draft: ids that may follow; computed with the last id, so that it is seen at once whether they do.
        holding: its blocks of the cache; None while it waits.
        cancelled: why nobody waits for it any more, so that the next step drops it; empty: somebody does.
        deadline: monotonic seconds after which nobody waits for it.
    """

    ids: list[int]
    num_prompt: int
    caller: str = ""
    measured: bool = False
    context: list[int] = field(init=False)
    num_computed: int = 0
    draft: list[int] = field(default_factory=list)
    holding: Holding | None = None
    cancelled: str = ""
    deadline: float = float("inf")

    def __post_init__(self) -> None:
        self.context = list(self.ids)

    @property
    def num_pending(self) -> int:
        """Ids that must be computed before the next one can be drawn."""
        return len(self.context) - self.num_computed

    @property
    def num_written(self) -> int:
        """Ids after the prompt."""
        return len(self.ids) - self.num_prompt

    def append(self, token_id: int) -> None:
        """Add an id that was drawn."""
        self.ids.append(token_id)
        self.context.append(token_id)

    def slide(self, keep: int) -> None:
        """Drop the older half of the context but for its first `keep` ids; the rest is computed anew."""
        tail = max(1, (len(self.context) - keep) // 2)  # the newest id at least: the next is drawn after it
        self.context = self.context[:keep] + self.context[len(self.context) - tail :]
        self.num_computed = min(self.num_computed, keep)
        self.draft = []

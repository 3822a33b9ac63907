"""How much of a step's samples stands in the posts word for word.

In: prompts and the texts that samples add to them, and the index of the run's dataset. Out: shares and longest runs,
of each sample and of all. Draws nothing and touches no weights. Loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex
from services.tokens.originality import measure


@dataclass(frozen=True, slots=True)
class SampleOriginality:
    """What one sample has from the posts."""

    verbatim_share: float
    """Part of its tokens inside runs of the posts, 0 to 1."""
    longest_run_tokens: int
    """Of the longest run, also where it is too short to count in the share."""

    def facts(self) -> dict[str, Any]:
        """As files hold it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StepOriginality:
    """What the samples of a step have from the posts together; each weighs by its tokens."""

    verbatim_share: float
    longest_run_tokens: int
    samples: tuple[SampleOriginality | None, ...]
    """In order; None for one without new text."""

    def facts(self, step: int) -> dict[str, Any]:
        """As files hold it, the samples apart."""
        return {
            "step": step,
            "verbatim_share": self.verbatim_share,
            "longest_run_tokens": self.longest_run_tokens,
        }


def of_samples(samples: Sequence[tuple[str, str]], codec: Codec, index: CorpusIndex) -> StepOriginality | None:
    """Compare the samples of a step with the posts; None where none of them holds new text.

    Args:
        samples: of each its prompt, which is not compared but may have begun a header, and what follows.
    """
    found = [measure(text, codec, index, before=prompt) for prompt, text in samples]
    num_tokens = sum(one.num_tokens for one in found)
    if not num_tokens:
        return None
    return StepOriginality(
        verbatim_share=sum(one.verbatim_share * one.num_tokens for one in found) / num_tokens,
        longest_run_tokens=max(one.longest_run for one in found),
        samples=tuple(
            SampleOriginality(one.verbatim_share, one.longest_run) if one.num_tokens else None for one in found
        ),
    )

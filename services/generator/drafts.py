"""The drafts of all samples that one model writes: each follows its text, and is as long as it pays.

In: what each step computed and wrote. Out: in each sequence, the ids that the next step checks. Changes nothing of what
is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from services.generator.drafter import MOST, Drafter
from services.generator.pay import Pay
from services.generator.scheduler import Work
from services.generator.sequence import Sequence
from services.tokens.corpus_index import CorpusIndex

MOST_IN_STEP = 128  # ids of all drafts: a step that only writes stays far from one that reads prompts
# Looking up a text that nothing is drafted for costs a small model's step some hundredths. So after so many steps
# without a draft, or a match that might become one, it is left alone for some, and for longer each time.
AWAKE, FIRST_REST, LONGEST_REST = 4, 4, 64
RECITING_REST = 8  # at most of a text in which a draft was right
NEAR = 3  # level of a match of 4 ids


@dataclass(slots=True)
class _Followed:
    """A sample: its drafter, how long it may get, and the level of the draft that is being checked.

    Attributes:
        awake: steps without a draft until it is left alone.
        rest: steps for which it still is.
        last_rest: how long it was the last time.
        longest_rest: how long it may be.
    """

    drafter: Drafter
    most_ids: int
    num_seen: int
    level: int = 0
    awake: int = AWAKE
    rest: int = 0
    last_rest: int = 0
    longest_rest: int = LONGEST_REST


class Drafts:
    """Of one model. The model's thread alone calls it.

    Args:
        index: of the corpus that the model learned; None: texts are looked up in themselves only.
        context: longest sequence of the model.
    """

    def __init__(self, index: CorpusIndex | None, context: int) -> None:
        self._index = index
        self._context = context
        self._pay = Pay()
        self._followed: dict[Sequence, _Followed] = {}
        self._looking_s = 0.0  # seconds that the drafts of this step took to make

    def join(self, sequence: Sequence, max_new_tokens: int) -> None:
        """A sample begins to be written."""
        drafter = Drafter(self._index, sequence.ids)
        self._followed[sequence] = _Followed(drafter, len(sequence.ids) + max_new_tokens, len(sequence.ids))

    def leave(self, sequence: Sequence) -> None:
        """It has ended."""
        self._followed.pop(sequence, None)

    def learn(self, work: Iterable[Work], num_tokens: int, seconds: float) -> tuple[int, int]:
        """A step is over; make the drafts of the next.

        Args:
            work: of the step.
            num_tokens: written in it.
            seconds: that it took.

        Returns:
            how many ids were drafted for the step, and how many of them were written.
        """
        begun = time.perf_counter()
        looking_s, self._looking_s = self._looking_s, 0.0
        if all(each.rest for each in self._followed.values()):
            for each in self._followed.values():
                each.rest -= 1
            return 0, 0
        num_rows = num_drafted = num_accepted = 0
        only_writes = True
        for item in work:
            num_rows += len(item.chunk.ids)
            only_writes &= len(item.chunk.ids) == 1 + item.num_drafted and not item.sequence.measured
            followed = self._followed.get(item.sequence)
            if followed is None or not item.num_drafted:
                continue
            accepted = min(item.num_drafted, max(0, len(item.sequence.ids) - followed.num_seen - 1))
            self._pay.observe_draft(followed.level, item.num_drafted, accepted)
            if accepted:
                followed.longest_rest = RECITING_REST
            num_drafted, num_accepted = num_drafted + item.num_drafted, num_accepted + accepted
        if only_writes and num_tokens:
            self._pay.observe_step(num_rows, num_tokens, seconds + looking_s)
        for sequence, each in self._followed.items():
            if each.rest:
                each.rest -= 1
            else:
                self._propose(sequence, each)
        self._looking_s = time.perf_counter() - begun
        return num_drafted, num_accepted

    def _propose(self, sequence: Sequence, followed: _Followed) -> None:
        drafter = followed.drafter
        new = sequence.ids[followed.num_seen :]
        if len(new) <= MOST + 1:
            for token_id in new:
                drafter.push(token_id)
        else:
            drafter.catch_up(new)
        followed.num_seen = len(sequence.ids)
        # The id that is drawn after the draft needs its room as well.
        room = min(self._context - len(sequence.context), followed.most_ids - len(sequence.ids)) - 1
        most = min(MOST, room, MOST_IN_STEP // len(self._followed))
        followed.level = drafter.level
        can_be = followed.level > 0 and most > 0
        length = self._pay.length(followed.level, most) if can_be else 0
        is_try = can_be and length == 0 and self._pay.is_due(followed.level)
        sequence.draft = drafter.propose(1 if is_try else length) if length or is_try else []
        if (sequence.draft and not is_try) or followed.level >= NEAR:
            followed.awake, followed.last_rest = AWAKE, 0
            return
        followed.awake -= 1
        if not followed.awake:
            followed.awake = AWAKE
            followed.rest = followed.last_rest = min(followed.longest_rest, 2 * followed.last_rest or FIRST_REST)

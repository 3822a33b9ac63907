"""How many prompt ids fit in a step, learned from the steps before.

While nothing is being written a step may be as long as the setting allows. While streams run, each waits for the
whole step, so the step's prompt ids are cut to what the engine was seen to compute in the time that is allowed.
Knows no clock: it is told what steps took.
"""

from __future__ import annotations

LEAST = 16  # prompt ids per step: smaller pieces cost more than they save
_FIRST = 64  # before anything was measured
_NEWEST = 0.3  # weight of the newest step in the mean


class Pace:
    """The pace of one engine.

    Args:
        most: ids per step in any case, those of running streams included: what the engine computes in one go.
        max_stall_s: seconds that a step with prompt ids may take while streams run.
    """

    def __init__(self, most: int, max_stall_s: float) -> None:
        self._most = most
        self._max_stall_s = max_stall_s
        self._seconds_per_id: float | None = None

    def prompt_ids(self, num_writing: int) -> int:
        """How many prompt ids the next step may hold.

        Args:
            num_writing: streams that wait for the step, each with an id in it.
        """
        room = max(min(LEAST, self._most), self._most - num_writing)
        if not num_writing:
            return room
        if self._seconds_per_id is None:
            return min(_FIRST, room)
        return max(min(LEAST, room), min(room, int(self._max_stall_s / self._seconds_per_id)))

    def observe(self, num_prompt_ids: int, seconds: float) -> None:
        """A step took so long. Steps with few prompt ids say nothing about prompts.

        The whole step is charged to its prompt ids. So the figure holds what a step costs in any case, and the
        number of ids settles where the step takes what is allowed.
        """
        if num_prompt_ids < min(LEAST, self._most):
            return
        newest = seconds / num_prompt_ids
        before = newest if self._seconds_per_id is None else self._seconds_per_id
        self._seconds_per_id = before + _NEWEST * (newest - before)

"""Drawing for many samples in one compiled call: what each sample asked for stands in arrays, a line per sample.

In: logits of the samples that are ready. Out: their next ids, the same as rules.sample gives one by one.
Remembers each sample's parameters, its ids where a rule needs them, and how many it has drawn.

Legend: R rows of logits, V vocabulary, K samples drawn for, S lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.sampling.compiled import draw_all, draw_on
from services.sampling.line import LINE, write_rules
from services.sampling.parameters import SamplingParameters

Number = TypeVar("Number", np.int32, np.float64)


class Batch:
    """Samples that draw together.

    Args:
        num_lines: samples at once.
    """

    def __init__(self, num_lines: int) -> None:
        self._free = list(reversed(range(num_lines)))
        self._lines = np.zeros(num_lines, LINE)
        # Wide enough for what is there; most samples need nothing of these.
        self._history = np.zeros((num_lines, 0), np.int32)
        self._bias_ids = np.zeros((num_lines, 0), np.int32)
        self._biases = np.zeros((num_lines, 0), np.float64)
        self._excluded = np.zeros((num_lines, 0), np.int32)
        self._num_said = [0] * num_lines  # ids that were excluded last, beside those a sample was added with
        self._shut: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), ())] * num_lines

    def add(
        self,
        parameters: SamplingParameters,
        *,
        seed: int,
        sample: int,
        prompt: Sequence[int],
        max_new_tokens: int,
        excluded: Sequence[int] = (),
        excluded_early: Sequence[int] = (),
        min_new_tokens: int = 0,
    ) -> int:
        """Add a sample and return its line, which is taken until `remove`; there must be a free one.

        Args:
            parameters: validated.
            seed, sample: own the random numbers, see draw.uniform.
            prompt: ids before what is drawn.
            max_new_tokens: most ids that will be drawn.
            excluded: ids that must never be drawn; see `exclude` too.
            excluded_early: nor these, before min_new_tokens have been.
        """
        number = self._free.pop()
        line = self._lines[number]
        write_rules(line, parameters)
        line["seed"], line["sample"], line["position"] = seed, sample, 0
        line["min_new_tokens"], line["num_prompt"] = min_new_tokens, len(prompt)
        line["keeps_history"], line["num_history"] = parameters.uses_history, 0
        if parameters.uses_history:
            self._history = _widened(self._history, len(prompt) + max_new_tokens)
            self._history[number, : len(prompt)] = prompt
            line["num_history"] = len(prompt)
        biases = parameters.logit_bias
        line["num_biases"] = len(biases)
        self._bias_ids = _widened(self._bias_ids, len(biases))
        self._biases = _widened(self._biases, len(biases))
        self._bias_ids[number, : len(biases)] = [token_id for token_id, _ in biases]
        self._biases[number, : len(biases)] = [bias for _, bias in biases]
        self._shut[number] = tuple(excluded), tuple(excluded_early)
        self._exclude(number, ())
        return number

    def exclude(self, number: int, ids: Sequence[int] | NDArray[np.int32]) -> None:
        """Say which ids a sample must not draw until this is said anew, beside those it was added with."""
        if len(ids) or self._num_said[number]:
            self._exclude(number, ids)

    def _exclude(self, number: int, ids: Sequence[int] | NDArray[np.int32]) -> None:
        self._num_said[number] = len(ids)
        always, early = self._shut[number]
        num_always = len(ids) + len(always)
        line = self._lines[number]
        line["num_excluded"], line["num_excluded_early"] = num_always, num_always + len(early)
        self._excluded = _widened(self._excluded, num_always + len(early))
        row = self._excluded[number]
        row[: len(ids)], row[len(ids) : num_always], row[num_always : num_always + len(early)] = ids, always, early

    def exclude_one(self, number: int, token_id: int) -> None:
        """Add an id to those that were said last."""
        self._num_said[number] += 1
        line = self._lines[number]
        place, end = int(line["num_excluded"]), int(line["num_excluded_early"])
        self._excluded = _widened(self._excluded, end + 1)
        row = self._excluded[number]
        row[end], row[place] = row[place], token_id  # the early ones come last
        line["num_excluded"], line["num_excluded_early"] = place + 1, end + 1

    def take_back(self, number: int) -> None:
        """Forget the id that a sample drew last; the next is drawn with the same random number."""
        line = self._lines[number]
        line["position"] -= 1
        if line["keeps_history"]:
            line["num_history"] -= 1

    def remove(self, line: int) -> None:
        """The sample has ended; its line is free."""
        self._free.append(line)

    def draw(self, logits: NDArray[np.float32], rows: Sequence[int], lines: Sequence[int]) -> list[int]:
        """Draw the next id of each of these samples; compiled.NOTHING_LEFT where there is none.

        Args:
            logits: float32 [R, V], not changed.
            rows: [K], where each sample's logits stand.
            lines: [K], the samples, none twice.
        """
        found = np.empty(len(rows), np.int64)
        draw_all(
            np.ascontiguousarray(logits, np.float32),
            np.array(rows, np.int64),
            np.array(lines, np.int64),
            self._lines,
            self._history,
            self._bias_ids,
            self._biases,
            self._excluded,
            found,
        )
        return found.tolist()

    def draw_on(self, logits: NDArray[np.float32], line: int, draft: Sequence[int]) -> list[int]:
        """Draw ids of one sample for as long as each is the one that its draft has there, and the one after them.

        Args:
            logits: float32 [D + 1, V], after what stands before the draft, and after each of its ids.
            draft: ids [D].
        """
        found = np.empty(len(draft) + 1, np.int64)
        count = draw_on(
            np.ascontiguousarray(logits, np.float32),
            np.array(draft, np.int64),
            line,
            self._lines,
            self._history,
            self._bias_ids,
            self._biases,
            self._excluded,
            found,
        )
        return found[:count].tolist()


def warm() -> None:
    """Compile, or load what was compiled, so that the first request does not wait."""
    batch = Batch(1)
    line = batch.add(SamplingParameters(), seed=0, sample=0, prompt=[0], max_new_tokens=1)
    batch.draw(np.zeros((1, 4), np.float32), [0], [line])
    batch.draw_on(np.zeros((1, 4), np.float32), line, [])


def _widened(table: NDArray[Number], width: int) -> NDArray[Number]:
    """The table, with lines of at least `width`; at least twice as wide if it has to grow."""
    if width <= table.shape[1]:
        return table
    wider = np.zeros((len(table), max(width, 2 * table.shape[1])), table.dtype)
    wider[:, : table.shape[1]] = table
    return wider

"""Drafts: what a text may go on with, looked up in the corpus that the model learned and in the text itself.

In: ids as they are written. Out: ids that may follow, which the model checks in the same step: where it would have
written the same, a step gives several. Never changes what is written.

Sources: Leviathan et al., "Fast inference from transformers via speculative decoding"; He et al., "REST:
retrieval-based speculative decoding"; Saxena, "Prompt lookup decoding".
"""

from __future__ import annotations

from collections.abc import Sequence

from services.tokens.corpus_index import NOWHERE, CorpusIndex

MOST = 15  # ids of a draft: with the one before it, what a tile holds
LEVELS = 7
_OWN = 3  # ids of the text that must be the same for it to be a draft of itself
# Ids of the corpus that must be the same for the text to be reciting. After a shorter run the model more often writes
# what usually follows the last id alone (29 of 100, `mini` overfitted on a small blog) than what follows the run (19).
_RECITED = 4
_LONGEST = 64  # longer runs are looked up by their end


class Drafter:
    """Follows one text.

    Args:
        index: of the corpus; None: only the text itself is looked up.
        ids: the text so far.
    """

    def __init__(self, index: CorpusIndex | None, ids: Sequence[int]) -> None:
        self._index = index
        self._ids = list(ids)
        self._found = NOWHERE
        if index is not None:
            self._found = index.longest_end(self._ids[-_LONGEST:])
        self._after: dict[tuple[int, ...], int] = {}  # where the text went on last after these ids
        self._match = 0  # where the text went on after the ids that are its last now; 0: they are new
        for end in range(_OWN, len(self._ids) + 1):
            self._note(end)

    def push(self, token_id: int) -> None:
        """An id was written."""
        self._ids.append(token_id)
        if len(self._ids) >= _OWN:
            self._note(len(self._ids))
        if self._index is None:
            return
        found = self._index.longer(self._found, token_id) if self._found.length else NOWHERE
        if not found.num_places:
            longest = min(self._found.length + 1, _LONGEST)
            found = self._index.longest_end(self._ids[-longest:])
        self._found = found

    def catch_up(self, token_ids: Sequence[int]) -> None:
        """Many ids were written; as `push` of each, but looked up once."""
        for token_id in token_ids:
            self._ids.append(token_id)
            if len(self._ids) >= _OWN:
                self._note(len(self._ids))
        if self._index is not None:
            self._found = self._index.longest_end(self._ids[-_LONGEST:])

    @property
    def level(self) -> int:
        """How much speaks for the draft, 0 (nothing) to LEVELS - 1: twice as many ids before it, one level more."""
        length = max(self._found.length if self._found.num_places else 0, _OWN if self._match else 0)
        return min(length.bit_length(), LEVELS - 1)

    def propose(self, most: int) -> list[int]:
        """At most so many ids that may follow."""
        index, found = self._index, self._found
        if index is not None and found.num_places and found.length >= _RECITED:
            # Where most places go on alike, the middle one does so too.
            position = int(index.suffixes[(found.first + found.last) // 2]) + found.length
            ids = index.tokens[position : position + most].tolist()
            return ids[: ids.index(index.end_of_text_id)] if index.end_of_text_id in ids else ids
        if self._match:
            return self._ids[self._match : self._match + most]
        return self._usual(most)

    def _usual(self, most: int) -> list[int]:
        """What each id is followed by most often."""
        ids: list[int] = []
        while self._index is not None and len(ids) < most:
            token_id = self._index.commonest_after(ids[-1] if ids else self._ids[-1])
            if token_id in (-1, self._index.end_of_text_id):
                break
            ids.append(token_id)
        return ids

    def _note(self, end: int) -> None:
        key = tuple(self._ids[end - _OWN : end])
        self._match = self._after.get(key, 0)
        self._after[key] = end

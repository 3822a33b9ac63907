"""Text that a model writes by itself, to compare its engine file on where no other text is at hand.

In: a running model. Out: token ids, the same every time.

T tokens, V vocabulary.
"""

from __future__ import annotations

import numpy as np

from services.litert.attention import BLOCK
from services.litert.model import LiteRTModel, Tokens

ROWS, LENGTH = 4, 128


def write_rows(model: LiteRTModel, first_id: int, *, rows: int = ROWS, length: int = LENGTH) -> list[list[int]]:
    """Return rows of ids drawn from the model at temperature 1, each after `first_id`, which is part of it.

    Args:
        model: its cache holds a whole context from block 0 on.
        first_id: end-of-text, as at a document's start.
        length: at most; a context ends it too.
    """
    found = []
    blocks = list(range(-(-model.config.n_ctx // BLOCK)))
    for row in range(rows):
        random = np.random.default_rng(row)
        ids = [first_id]
        while len(ids) < min(length, model.config.n_ctx):
            logits = model.step([Tokens(blocks, len(ids) - 1, ids[-1:])])[0]  # [V]
            ids.append(int(np.argmax(logits + random.gumbel(size=len(logits)))))  # Gumbel-max: a draw from softmax
        found.append(ids)
    return found

"""The rules that choose the next token, compiled, one pass per row.

Order: penalties and logit bias, exclusions, temperature, top_k, top_p (on the scaled logits, keeps the
token that crosses p), min_p, typical_p, draw. Temperature 0 is greedy. Equal logits rank by id.
Each rule sees the distribution that the one before it left, with sum 1 again. reference.py says the same
slowly; a test holds the two together.

What is compiled stands in compiled.py. Importing compiles nothing; the first call compiles (seconds) or loads
from NUMBA_CACHE_DIR (0.3 s).
Legend: V vocabulary, N ids so far.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt, InvalidRequest
from services.sampling.compiled import NOTHING_LEFT, draw
from services.sampling.line import LINE, write_rules
from services.sampling.parameters import SamplingParameters


def sample(
    logits: NDArray[np.float32],
    parameters: SamplingParameters,
    history: NDArray[np.int32] | Sequence[int],
    u: float,
    *,
    num_prompt: int = 0,
    excluded: Sequence[int] = (),
) -> int:
    """Choose the next token.

    Args:
        logits: float32 [V], not changed.
        parameters: validated.
        history: ids so far, prompt first: int32 [N].
        u: random number in [0, 1), see draw.uniform.
        num_prompt: how many of `history` are the prompt; presence and frequency penalty count only the rest.
        excluded: ids that must not be drawn now (end-of-text before min_new_tokens, for one).

    Raises:
        InvalidRequest: nothing is left to draw, because exclusions cover the vocabulary.
        Corrupt: a logit is not a number.
    """
    line = np.zeros(1, LINE)[0]
    write_rules(line, parameters)
    line["num_prompt"] = num_prompt
    token_id = draw(  # exact types: each new combination would be compiled anew
        np.ascontiguousarray(logits, dtype=np.float32),
        line,
        np.asarray(history, dtype=np.int32),
        np.array([token_id for token_id, _ in parameters.logit_bias], dtype=np.int32),
        np.array([bias for _, bias in parameters.logit_bias], dtype=np.float64),
        np.asarray(excluded, dtype=np.int32),
        float(u),
    )
    if token_id == NOTHING_LEFT:
        raise why_nothing_is_left(logits, len(history))
    return int(token_id)


def why_nothing_is_left(logits: NDArray[np.float32], num_ids: int) -> Corrupt | InvalidRequest:
    """The error to raise when `draw` found no id after so many."""
    if np.isnan(logits).any():
        return Corrupt("the model's logits are not numbers: its weights are damaged; publish it anew")
    return InvalidRequest(
        f"no token is left to draw after {num_ids} ids: the exclusions cover the vocabulary of "
        f"{len(logits)}; raise sampling.no_repeat_ngram or ask for fewer tokens",
        field="sampling.no_repeat_ngram",
    )

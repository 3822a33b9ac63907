"""A model in memory: its engine, its vocabulary, its thread, and the bounded queue for scores.

Made from a verified folder; knows nothing of other versions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Busy, Corrupt, InvalidRequest
from services.common.files import verify_files
from services.generator.engine import Engine
from services.generator.loop import Loop
from services.generator.published import Key, Published
from services.generator.scheduler import RETRY_AFTER_S, Scheduler
from services.generator.settings import GeneratorSettings
from services.sampling.likelihood import log_probabilities
from services.tokens.codec import Codec
from services.tokens.vocabulary import Vocabulary

MAX_WAITING_SCORES = 16
_ROWS = 64  # logits turned into log-probabilities at a time: 13 MB at GPT-2's vocabulary

MakeEngine = Callable[[Path, int, str], Engine]


class LoadedModel:
    """Answers requests with one model version.

    Args:
        key: which version it is.
        engine: warmed.
        codec: of the vocabulary that the model carries.
        settings: slots and queue.
    """

    def __init__(self, key: Key, engine: Engine, codec: Codec, settings: GeneratorSettings) -> None:
        self.key = key
        self.engine = engine
        self.codec = codec
        self._longest_token = max(len(token) for token in codec.vocabulary.ranks)  # bytes
        scheduler = Scheduler(engine.num_slots, settings.queue_limit, settings.prefill_tokens)
        self.loop = Loop(key.name, engine, scheduler)
        # Scores are whole forward passes: in the loop they would stall every stream.
        self._scores = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"score-{key.name}")
        self._score_places = threading.BoundedSemaphore(MAX_WAITING_SCORES)

    def encode(self, text: str, *, field: str, most: int) -> list[int]:
        """Return the ids of a text; raise InvalidRequest naming the field when there are more than `most`."""
        # A text that cannot fit is not encoded at all.
        ids = self.codec.encode(text) if len(text) <= most * self._longest_token else None
        if ids is None or len(ids) > most:
            length = f"{len(ids)} tokens" if ids is not None else f"{len(text)} characters"
            raise InvalidRequest(
                f"{field} has {length}; model {self.key} has a context of {self.engine.context} tokens, "
                f"so at most {most} fit: shorten it",
                field=field,
            )
        return ids

    def score(self, ids: list[int]) -> NDArray[np.float32]:
        """Log-probability of each id after those before it, the first after end-of-text: float32 [T], nats.

        Args:
            ids: 1 to context.

        Raises:
            Busy: too many scores wait.
        """
        if not self._score_places.acquire(blocking=False):
            raise Busy(f"{MAX_WAITING_SCORES} scores wait already; try again", retry_after_s=RETRY_AFTER_S)
        try:
            return self._scores.submit(self._score, ids).result()
        finally:
            self._score_places.release()

    def _score(self, ids: list[int]) -> NDArray[np.float32]:
        logits = self.engine.score([self.codec.vocabulary.end_of_text_id, *ids[:-1]])  # [T, V]
        found = np.empty(len(ids), np.float32)
        for start in range(0, len(ids), _ROWS):
            rows = log_probabilities(logits[start : start + _ROWS])
            found[start : start + _ROWS] = rows[np.arange(len(rows)), ids[start : start + _ROWS]]
        return found

    def close(self) -> None:
        """Cancel what runs and free the memory."""
        self.loop.stop()
        self._scores.shutdown(wait=True)


def load(published: Published, settings: GeneratorSettings, make_engine: MakeEngine) -> LoadedModel:
    """Verify, read and warm a published version.

    Raises:
        Corrupt: a file is damaged, or the parts do not belong together; names the file.
    """
    folder = published.folder
    if published.error:
        raise Corrupt(published.error)
    verify_files(folder, published.digests)
    vocabulary = Vocabulary.load(folder)
    if vocabulary.digest != published.vocabulary_digest:
        raise Corrupt(f"{folder / 'encoder.json'} and vocab.bpe are not the vocabulary that manifest.json names")
    engine = make_engine(folder, settings.slots, settings.precision)
    if engine.vocabulary_size != vocabulary.size:
        raise Corrupt(
            f"{folder / 'hparams.json'} says a vocabulary of {engine.vocabulary_size} entries, "
            f"but encoder.json has {vocabulary.size}"
        )
    return LoadedModel(published.key, engine, Codec(vocabulary), settings)

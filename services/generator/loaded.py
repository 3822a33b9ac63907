"""A model in memory: its engine, its vocabulary and its thread.

Made from a verified folder; knows nothing of other versions.
"""

from __future__ import annotations

from collections.abc import Callable

from services.blog.style import PLAIN, Style
from services.common.errors import Corrupt, FailedPrecondition, InvalidRequest
from services.common.files import verify_files
from services.generator.blocks import BlockPool
from services.generator.corpus import Corpus, open_corpus, read_blog_style
from services.generator.drafts import Drafts
from services.generator.engine import Engine
from services.generator.loop import Loop
from services.generator.pace import Pace
from services.generator.published import Key, Published
from services.generator.scheduler import Scheduler
from services.generator.settings import GeneratorSettings
from services.tokens.codec import Codec
from services.tokens.vocabulary import Vocabulary


class LoadedModel:
    """Answers requests with one model version.

    Args:
        key: which version it is.
        engine: warmed.
        codec: of the vocabulary that the model carries.
        settings: of the queue and of the steps.
        corpus: what the model learned; None: it carries no index.
        style: of the blog that it learned.
        has_headers: whether the posts that it learned have a header.
    """

    def __init__(
        self,
        key: Key,
        engine: Engine,
        codec: Codec,
        settings: GeneratorSettings,
        corpus: Corpus | None = None,
        *,
        style: Style = PLAIN,
        has_headers: bool = False,
    ) -> None:
        self.key = key
        self.engine = engine
        self.codec = codec
        self.style, self.has_headers = style, has_headers
        self._corpus = corpus
        self._longest_token = max(len(token) for token in codec.vocabulary.ranks)  # bytes
        scheduler = Scheduler(
            BlockPool(engine.num_blocks, engine.block_size),
            engine.context,
            queue_limit=settings.queue_limit,
            caller_limit=settings.caller_queue_limit,
            pace=Pace(settings.prefill_tokens, settings.max_stall_ms / 1000),
        )
        index = corpus.index if corpus else None
        drafts = Drafts(index, engine.context) if settings.drafts and engine.exact else None
        self.loop = Loop(
            *(key.name, engine, scheduler),
            version=key.version,
            drafts=drafts,
            messages_per_s=settings.messages_per_s,
        )

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

    @property
    def corpus(self) -> Corpus:
        """What it learned; FailedPrecondition when it carries no index."""
        if self._corpus is None:
            raise FailedPrecondition(
                f"model {self.key} carries no index of its corpus: it is a base model, or was published by an earlier "
                "version; publish the run's checkpoint again",
                reason="NO_INDEX",
                metadata={"model": str(self.key)},
            )
        return self._corpus

    def close(self) -> None:
        """Cancel what runs and free the memory."""
        self.loop.stop()


def load(published: Published, settings: GeneratorSettings, make_engine: Callable[[], Engine]) -> LoadedModel:
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
    engine = make_engine()
    if engine.vocabulary_size != vocabulary.size:
        raise Corrupt(
            f"{folder / 'hparams.json'} says a vocabulary of {engine.vocabulary_size} entries, "
            f"but encoder.json has {vocabulary.size}"
        )
    codec = Codec(vocabulary)
    return LoadedModel(
        *(published.key, engine, codec, settings, open_corpus(folder, codec)),
        style=read_blog_style(folder),
        has_headers=published.has_headers,
    )

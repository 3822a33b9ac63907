"""The corpus that a model learned, as its version carries it: what in a text is borrowed, and from which post.

In: a text. Out: how much of it is borrowed, and the posts. Knows no requests.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from services.blog.style import PLAIN, Style, read_style
from services.common.errors import Corrupt
from services.common.files import read_json
from services.generator.verbatim import VerbatimLimit
from services.tokens import originality
from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex
from services.tokens.dataset import POSTS_FILE, STYLE_FILE
from services.tokens.excerpts import Excerpt, Excerpts
from services.tokens.index_files import INDEX_FOLDER
from services.tokens.originality import Originality, VerbatimRun
from services.tokens.spellings import Spellings


class Post(NamedTuple):
    """Names of a document."""

    id: str
    title: str


class Corpus:
    """One corpus. Safe to share between threads.

    Args:
        folder: of the index.
        codec: of the model's vocabulary.
    """

    def __init__(self, folder: Path, codec: Codec) -> None:
        self.index = CorpusIndex.open(folder, codec.vocabulary.end_of_text_id, codec.vocabulary.size)
        self._folder, self._codec = folder, codec
        self._excerpts = Excerpts(self.index, codec)

    @cached_property
    def _posts(self) -> list[dict[str, Any]]:
        """Id, path and title of each document; read when first asked for."""
        posts: list[dict[str, Any]] = read_json(self._folder / POSTS_FILE)
        return posts

    def limit(self, most: int, *, stops: tuple[str, ...], prompt: str, own: str = "") -> VerbatimLimit:
        """What keeps one sample from reciting more than `most` tokens; arguments as of VerbatimLimit."""
        return VerbatimLimit(*(self.index, self._codec, self._spellings, most), stops=stops, prompt=prompt, own=own)

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings(self._codec)

    def measure(self, text: str, before: str = "") -> Originality:
        """Compare a text with the corpus; `before` stands before it in its document, and is not compared."""
        return originality.measure(text, self._codec, self.index, before=before)

    def post(self, document: int) -> Post:
        """What a document is called."""
        post = self._posts[document]
        return Post(post["id"], post["title"])

    def excerpt(self, run: VerbatimRun) -> Excerpt:
        """What stands around a run in its post."""
        return self._excerpts.of(run.place, run.num_ids)


def read_blog_style(folder: Path) -> Style:
    """The style that a version's folder carries, or else a plain one. Corrupt names a damaged file."""
    path = folder / INDEX_FOLDER / STYLE_FILE
    try:
        return read_style(read_json(path)) if path.is_file() else PLAIN
    except ValueError as error:
        raise Corrupt(f"{path} is damaged: {error}", metadata={"file": str(path)}) from None


def open_corpus(folder: Path, codec: Codec) -> Corpus | None:
    """The corpus that a version's folder carries; None: it has none. Corrupt names a damaged file."""
    return Corpus(folder / INDEX_FOLDER, codec) if (folder / INDEX_FOLDER).is_dir() else None

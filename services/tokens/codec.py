"""Text to token ids and back, byte for byte, for one vocabulary.

Everything that an author typed is ordinary text: `<|endoftext|>` in a post becomes the ids of its
characters, never the marker. Who wants the marker says `allow_special`, or adds `vocabulary.end_of_text_id`.
Encoding runs in tiktoken, built from the vocabulary's own files, never from the network.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

import numpy as np
import tiktoken

from services.common.errors import InvalidRequest
from services.tokens import cutting
from services.tokens.vocabulary import END_OF_TEXT, Vocabulary

_NO_MARKS: frozenset[str] = frozenset()
_MARKS = frozenset([cutting.CUT, cutting.NEXT])


class Codec:
    """Encodes and decodes with one vocabulary. Immutable, safe to share between threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        # Two ids more than there are, which are taken out of what the library returns.
        self._cut_id, self._next_id = vocabulary.size, vocabulary.size + 1
        self._encoding = tiktoken.Encoding(
            vocabulary.digest,
            pat_str=cutting.PATTERN,
            mergeable_ranks=vocabulary.ranks,
            special_tokens={**vocabulary.specials, cutting.CUT: self._cut_id, cutting.NEXT: self._next_id},
        )

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Return the ids of `text`; a lone surrogate counts as U+FFFD.

        Args:
            allow_special: let `<|endoftext|>` in the text become the end-of-text id; else it is ordinary text.

        Raises:
            InvalidRequest: the library gives up on the text; no such text is known.
        """
        if allow_special and END_OF_TEXT in text:
            first, *others = text.split(END_OF_TEXT)
            ids: list[int] = self.encode(first)
            for part in others:
                ids.append(self.vocabulary.end_of_text_id)
                ids += self.encode(part)
            return ids
        try:
            array = self.encode_array(text)
        except UnicodeEncodeError:
            array = self.encode_array(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        ids = array.tolist()
        return ids

    def encode_array(self, text: str) -> np.ndarray:
        """As `encode` for text without lone surrogates, as uint32 [ids]: without a Python number for each id.

        Raises:
            UnicodeEncodeError: the text holds a lone surrogate.
        """
        if cutting.has_marks(text):
            return np.concatenate([self._run(piece, _NO_MARKS) for piece in cutting.pieces(text)])
        ids = self._run(cutting.mark(text), _MARKS)
        return ids[ids != self._cut_id]

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        """As `encode_array` for each text, in one call of the library for most of them.

        Raises:
            UnicodeEncodeError: a text holds a lone surrogate.
        """
        are_plain = [cutting.is_plain(text) for text in texts]
        plain = [text for text, is_plain in zip(texts, are_plain, strict=True) if is_plain]
        ids = self._run(cutting.mark_plain(plain), _MARKS)
        ids = ids[ids != self._cut_id]
        of_plain, start = [], 0
        for end in [*np.flatnonzero(ids == self._next_id).tolist(), len(ids)]:
            of_plain.append(ids[start:end])
            start = end + 1
        found = iter(of_plain)
        return [
            next(found) if is_plain else self.encode_array(text)
            for text, is_plain in zip(texts, are_plain, strict=True)
        ]

    def _run(self, text: str, specials: frozenset[str]) -> np.ndarray:
        """The library on a text without look-ahead, as its `encode_to_numpy` without a search for special tokens."""
        try:
            return np.frombuffer(self._encoding._core_bpe.encode_to_tiktoken_buffer(text, specials), dtype=np.uint32)
        except BaseException as error:
            # A panic of the library is no Exception, and its class is exported nowhere.
            if type(error).__name__ != "PanicException":
                raise
            raise InvalidRequest(f"the text cannot be encoded: {error}", field="text") from None

    def decode_bytes(self, ids: Iterable[int], *, skip_special: bool = False) -> bytes:
        """Return the bytes that `ids` stand for; they may begin or end within a character.

        The end-of-text id stands for the 13 characters `<|endoftext|>`.

        Args:
            skip_special: let the end-of-text id stand for nothing.

        Raises:
            InvalidRequest: an id is below 0 or not below the vocabulary's size.
        """
        plain = [int(token_id) for token_id in ids]  # tiktoken takes no NumPy arrays
        if plain and not 0 <= min(plain) <= max(plain) < self.vocabulary.size:
            wrong = next(i for i in plain if not 0 <= i < self.vocabulary.size)
            raise InvalidRequest(
                f"token id {wrong} is not in the vocabulary: ids are 0 to {self.vocabulary.size - 1}",
                field="ids",
            )
        if skip_special:
            end_of_text_id = self.vocabulary.end_of_text_id
            plain = [token_id for token_id in plain if token_id != end_of_text_id]
        return self._encoding.decode_bytes(plain)

    def decode_each(self, ids: Iterable[int]) -> list[bytes]:
        """The bytes of each of some ids, which must be the vocabulary's."""
        return self._encoding.decode_tokens_bytes(list(ids))

    def decode(self, ids: Iterable[int], *, skip_special: bool = False) -> str:
        """As `decode_bytes`, read as UTF-8; what is not a character becomes U+FFFD."""
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", "replace")


class IncrementalDecoder:
    """Turns ids into text as they come, never emitting half a character.

    All pushes and the flush, joined, are what `Codec.decode` gives for all ids at once.
    """

    def __init__(self, codec: Codec, *, skip_special: bool = False) -> None:
        self._codec = codec
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Return the characters that this id completes, often none or several."""
        return self.push_all([token_id])

    def push_all(self, ids: Iterable[int]) -> str:
        """Return the characters that these ids complete; as pushing one after another."""
        return self._utf8.decode(self._codec.decode_bytes(ids, skip_special=self._skip_special))

    def flush(self) -> str:
        """Return what an unfinished character at the end becomes (U+FFFD or nothing), and start afresh."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest

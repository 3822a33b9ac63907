"""Text to token ids and back, byte for byte, for one vocabulary.

Everything that an author typed is ordinary text: `<|endoftext|>` in a post becomes the ids of its
characters, never the marker. Who wants the marker adds `vocabulary.end_of_text_id`.
Encoding runs in tiktoken, built from the vocabulary's own files, never from the network.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

import tiktoken

from services.common.errors import InvalidRequest
from services.tokens.vocabulary import Vocabulary

# GPT-2's pattern as tiktoken writes it (tiktoken_ext/openai_public.py: r50k_pat_str): the same pieces as
# openai/gpt-2:src/encoder.py, with less backtracking.
_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# tiktoken's `\s`, Unicode's White_Space. Python's own `\s` has four control characters more.
_WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# tiktoken 0.14 panics on about 500,000 white-space characters in front of a word: it runs out of stack.
_LONGEST_RUN = 100_000
# The look-behind lets a match begin only where a run begins: without it, time grows with the run's square.
_LONG_RUN = re.compile(f"(?<![{_WHITESPACE}])[{_WHITESPACE}]{{{_LONGEST_RUN},}}")


class Codec:
    """Encodes and decodes with one vocabulary. Immutable, safe to share between threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._encoding = tiktoken.Encoding(
            vocabulary.digest,
            pat_str=_PATTERN,
            mergeable_ranks=vocabulary.ranks,
            special_tokens=vocabulary.specials,
        )

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, taken as ordinary text only; a lone surrogate counts as U+FFFD."""
        ids: list[int] = []
        for piece in _pieces(text):
            ids += self._encoding.encode_ordinary(piece)
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes that `ids` stand for; they may begin or end within a character.

        The end-of-text id stands for the 13 characters `<|endoftext|>`.

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
        return self._encoding.decode_bytes(plain)

    def decode(self, ids: Iterable[int]) -> str:
        """As `decode_bytes`, read as UTF-8; what is not a character becomes U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")


class IncrementalDecoder:
    """Turns ids into text as they come, never emitting half a character.

    All pushes and the flush, joined, are what `Codec.decode` gives for all ids at once.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Return the characters that this id completes, often none or several."""
        return self._utf8.decode(self._codec.decode_bytes([token_id]))

    def flush(self) -> str:
        """Return what an unfinished character at the end becomes (U+FFFD or nothing), and start afresh."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def _pieces(text: str) -> Iterator[str]:
    """Cut `text` where the pattern would cut it anyway, so that no piece has a long run before a word.

    The pattern takes a run of white space in front of a word without its last character, which goes with
    the word or stands alone. So a long run is cut out less that character, and the ids stay the same.
    """
    start = 0
    if len(text) > _LONGEST_RUN:
        for run in _LONG_RUN.finditer(text):
            if run.end() == len(text):
                break  # no word follows, and the pattern takes all of it without looking back
            yield text[start : run.start()]
            yield text[run.start() : run.end() - 1]
            start = run.end() - 1
    yield text[start:]

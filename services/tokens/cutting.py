"""Where a text is cut before it is encoded, so that GPT-2's pattern needs no look-ahead.

The pattern (openai/gpt-2:src/encoder.py) parts a text into pieces that are merged apart from each other:

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

Its look-ahead says: white space in front of a word goes without its last character, which belongs to the word or
stands alone. In a text that is cut before that character, `PATTERN` finds the same pieces. It runs in an automaton:
twice as fast, and without the stack that tiktoken 0.14 overflows on half a million spaces.
In: texts. Out: the same with marks in them, which the codec gives to tiktoken as special tokens.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"""

# The marks are noncharacters: no text has them, and one that does is cut into pieces instead.
CUT = "\U0010ffff"
NEXT = "\U0010fffe"  # between two texts

# The pattern's `\s`, Unicode's White_Space. Python's own `\s` has four control characters more.
_ASCII_SPACE = "\t\n\v\f\r "
_OTHER_SPACE = "\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SPACE = f"[{_ASCII_SPACE}{_OTHER_SPACE}]"
_WORD = f"[^{_ASCII_SPACE}{_OTHER_SPACE}]"
_BEFORE_CUT = re.compile(f"({_SPACE})(?={_SPACE}{_WORD})")

_FIRST_BYTE_OF_MARKS = 0xF4  # and of U+100000 to U+10FFFF, which are for private use


def has_marks(text: str) -> bool:
    """Whether the text holds the marks' own characters."""
    return CUT in text or NEXT in text


def mark(text: str) -> str:
    """The text with `CUT` at each cut."""
    return _BEFORE_CUT.sub(rf"\1{CUT}", text)


def pieces(text: str) -> Iterator[str]:
    """The text in parts, from cut to cut."""
    start = 0
    for match in _BEFORE_CUT.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def is_plain(text: str) -> bool:
    """Whether `mark_plain` may take the text: its white space is ASCII, and it holds no mark."""
    if text.isascii():
        return True
    return not any(map(text.__contains__, _OTHER_SPACE)) and _FIRST_BYTE_OF_MARKS not in text.encode()


def mark_plain(texts: Sequence[str]) -> str:
    """Plain texts joined by `NEXT`, with `CUT` at each cut: as `mark`, ten times as fast on many texts."""
    content = NEXT.join(texts).encode()
    data = np.frombuffer(content, dtype=np.uint8)
    is_space = (data == ord(" ")) | (data - np.uint8(ord("\t")) < 5)
    # White space at the end of a text has no word behind it.
    is_word = ~is_space & (data != _FIRST_BYTE_OF_MARKS)
    last_spaces = np.flatnonzero(is_space[:-2] & is_space[1:-1] & is_word[2:]) + 1
    borders = [0, *last_spaces.tolist(), len(content)]
    mark_bytes = CUT.encode()
    return mark_bytes.join([content[a:b] for a, b in itertools.pairwise(borders)]).decode()

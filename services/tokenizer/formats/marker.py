"""The end-of-text marker as text between documents, kept apart from the one that an author typed.

A text file says where a document ends by the characters `<|endoftext|>`. An author may have typed the same. So a
typed one is written with a zero-width space before its `|>`, and one that has such spaces already with one more;
reading takes one out. What is read is what was written, and no reader takes a typed marker for a border.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.tokens.vocabulary import END_OF_TEXT

_SPACE = "\u200b"
_TYPED = re.compile(r"(<\|endoftext)(\u200b*)(\|>)")
_WRITTEN = re.compile(r"(<\|endoftext\u200b*)\u200b(\|>)")


def escape(text: str) -> str:
    """The text with no marker in it."""
    return _TYPED.sub(rf"\1\2{_SPACE}\3", text) if END_OF_TEXT[:-2] in text else text


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return _WRITTEN.sub(r"\1\2", text) if END_OF_TEXT[:-2] in text else text


class Splitting:
    """Cuts a text that comes in parts at its markers. One line break on either side belongs to the marker.

    `rest` is what came behind the last marker.
    """

    def __init__(self) -> None:
        self.rest = ""
        self._is_first = True

    def push(self, text: str) -> Iterator[str]:
        """Yield the documents that end in this part, escaped as they are."""
        # Only the last few characters of what is left over can be the beginning of a marker.
        if END_OF_TEXT not in self.rest[-len(END_OF_TEXT) :] + text:
            self.rest += text
            return
        *documents, rest = (self.rest + text).split(END_OF_TEXT)
        for document in documents:
            yield self._without_break(document).removesuffix("\n")
            self._is_first = False
        self.rest = rest

    def end(self) -> str:
        """What stands behind the last marker."""
        return self._without_break(self.rest)

    def _without_break(self, document: str) -> str:
        return document if self._is_first else document.removeprefix("\n")

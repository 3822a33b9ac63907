"""A whole post, written in pieces: one line of its header after the other, then the body.

    title: A walk by the river        given, or written up to the line's end
    tags: walking, water              the same; a model that goes on without tags writes none
    date: 2024-03-01

    The river was high that day       an opening if one is given, and on until end-of-text

In: what is given, and a function that goes on from a text. Out: the post's parts. Knows no model and no wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from services.blog.composing import is_date
from services.common.errors import InvalidRequest
from services.generator.events import Finish
from services.sampling.draw import MAX_SEED

MOST_LINE_CHARACTERS = 300  # of a title or a tag that is given
MOST_TAGS = 20
MOST_OPENING_CHARACTERS = 20_000
LINE_TOKENS = {"title": 64, "tags": 64, "date": 16}  # most of each that is written
LEAST_BODY_TOKENS = 8  # unless it has an opening: an empty post is none
TRIES = 4  # at a piece that comes out empty, a line that is no field, a body that begins as one
_NAMES = tuple(f"{name}:" for name in LINE_TOKENS)
_SEED_STEP = 0x9E3779B97F4A7C15  # odd, so that no two pieces of a post share a seed


@dataclass(frozen=True, slots=True, kw_only=True)
class PostOrder:
    """What is given of a post. Fields as in GeneratePostRequest of protos/generator.proto.

    Raises:
        InvalidRequest: a field out of range; names it.
    """

    title: str | None = None
    tags: tuple[str, ...] = ()
    date: str | None = None
    opening: str = ""

    def __post_init__(self) -> None:
        for name, line in (("title", self.title), *(("tags", tag) for tag in self.tags)):
            if line is not None and not _is_line(line):
                raise InvalidRequest(
                    f"{name} holds {line[:60]!r}; expected one line of 1 to {MOST_LINE_CHARACTERS} characters",
                    field=name,
                )
        if any("," in tag for tag in self.tags):
            raise InvalidRequest("tags holds a comma within an entry; give each tag by itself", field="tags")
        if len(self.tags) > MOST_TAGS:
            raise InvalidRequest(f"tags has {len(self.tags)} entries; expected at most {MOST_TAGS}", field="tags")
        if self.date is not None and not is_date(self.date):
            raise InvalidRequest(f"date is {self.date!r}; expected YYYY-MM-DD", field="date")
        if len(self.opening) > MOST_OPENING_CHARACTERS:
            raise InvalidRequest(
                f"opening has {len(self.opening)} characters; expected at most {MOST_OPENING_CHARACTERS}",
                field="opening",
            )

    def line(self, name: str) -> str:
        """What is given of a header's field, as its line has it; empty: nothing."""
        if name == "tags":
            return ", ".join(" ".join(tag.split()) for tag in self.tags)
        return " ".join(((self.title if name == "title" else self.date) or "").split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A text to go on from.

    Attributes:
        number: of the piece: each draws its own random numbers.
        text: the post so far.
        own: the end of it that the model wrote, and whose runs count for `max_verbatim_tokens`.
        is_line: it ends with the line; else with end-of-text or the most tokens of a body.
        most: tokens of a line.
        least: tokens before end-of-text may come.
        num_kept: characters at the begin of the text that stay where a body goes on past the context.
    """

    number: int
    text: str
    own: str
    is_line: bool
    most: int = 0
    least: int = 0
    num_kept: int = 0

    def seed(self, of_post: int) -> int:
        """The piece's own, from the post's."""
        return (of_post + self.number * _SEED_STEP) & MAX_SEED


@dataclass(frozen=True, slots=True)
class Written:
    """What came: text without a line's end, and why it ended."""

    text: str
    finish: Finish


Write = Callable[[Piece], Written]


@dataclass(slots=True)
class WrittenPost:
    """A post, and while it is written what there is of it.

    Attributes:
        text: as the model reads it: header, blank line, body.
        own: its end that the model wrote.
        num_pieces: texts that were asked for.
    """

    title: str = ""
    tags: tuple[str, ...] = ()
    date: str = ""
    body: str = ""
    finish: Finish = Finish.END_OF_TEXT
    text: str = ""
    own: str = ""
    num_pieces: int = 0


def write_post(order: PostOrder, write: Write, *, has_headers: bool) -> WrittenPost:
    """Write the post of an order.

    Args:
        write: goes on from a text.
        has_headers: whether the model learned posts with headers. One that did not sees a given title as the first
            line, and invents no fields.
    """
    post = WrittenPost()
    if has_headers:
        _write_header(post, order, write)
    elif order.title:
        _give(post, f"{order.line('title')}\n\n")
    for name in LINE_TOKENS:
        if value := order.line(name):
            _take(post, name, value)
    _write_body(post, order, write)
    return post


def _write_header(post: WrittenPost, order: PostOrder, write: Write) -> None:
    ahead: _Line | None = None  # a field that the model wrote where an earlier one was wanted
    is_over = False  # the model goes on with the body
    for name in LINE_TOKENS:
        if value := order.line(name):
            _give(post, f"{name}: {value}\n")
        elif not is_over:
            ahead = ahead or _write_field(post, name, write)
            is_over = ahead is None and name != "title"
            if ahead is not None and ahead.name == name:
                (_give if ahead.is_made_up else _write_on)(post, f"{ahead.text}\n")
                _take(post, name, ahead.value)
                ahead = None
    if post.text:
        _write_on(post, "\n")


class _Line(NamedTuple):
    """A line of a header as the model wrote it, or made up in its place, and in parts."""

    text: str
    name: str
    value: str
    is_made_up: bool = False


def _write_field(post: WrittenPost, name: str, write: Write) -> _Line | None:
    """The next line, a field that may stand there; None: it is none. A title is asked for by its name."""
    names = list(LINE_TOKENS)
    written_date = ""
    for attempt in range(TRIES):
        # The blank behind the colon belongs to the word that follows it: no text of the corpus is cut between them.
        begun = "title:" if name == "title" and attempt < TRIES - 1 else ""  # at last it may begin as it will
        post.num_pieces += 1
        text = f"{post.text}{begun}"
        own = f"{post.own}{begun}"
        written = write(Piece(number=post.num_pieces, text=text, own=own, is_line=True, most=LINE_TOKENS[name]))
        line = begun + written.text
        if not line.strip():
            return None  # the blank line that ends the header
        if written.finish is Finish.LENGTH:
            whole_words = line.rpartition(" ")[0]
            # A script without blanks has no words to be cut; its last character may be.
            line = whole_words if ": " in whole_words else line.removesuffix("\ufffd")
        found, colon, value = line.partition(": ")
        if not colon or found not in names[names.index(name) :]:
            continue
        value = " ".join(value.split())
        if value and (found != "date" or is_date(value)):
            return _Line(line, found, value)
        written_date = value if found == "date" else written_date
    if year := re.search(r"(?<!\d)(?:19|20)\d\d(?!\d)", written_date):
        # A model that may not recite knows no other days. It wants one, though, and would write it into the body. Such
        # a day may stand in the corpus, and no limit that counted it would let a body follow.
        day = f"{year[0]}-{1 + post.num_pieces % 12:02}-{1 + len(post.text) % 28:02}"
        return _Line(f"date: {day}", "date", day, is_made_up=True)
    return None


def _write_body(post: WrittenPost, order: PostOrder, write: Write) -> None:
    opening = order.opening.strip()
    num_kept = len(post.text)
    if opening:
        _give(post, opening)
    least = 0 if opening else LEAST_BODY_TOKENS
    for number in range(TRIES):
        # The first piece is number 0: with all of the header given, the body is what Generate writes with this seed.
        piece = Piece(
            number=number and post.num_pieces + number,
            text=post.text,
            own=post.own,
            is_line=False,
            least=least,
            num_kept=num_kept,
        )
        written = write(piece)
        if opening or (written.text.strip() and not written.text.lstrip().startswith(_NAMES)):
            break
    _write_on(post, written.text)
    post.body, post.finish = (opening + written.text).strip("\n"), written.finish


def _give(post: WrittenPost, text: str) -> None:
    """Go on with a text that was given."""
    post.text, post.own = post.text + text, ""


def _write_on(post: WrittenPost, text: str) -> None:
    """Go on with a text that the model wrote."""
    post.text, post.own = post.text + text, post.own + text


def _take(post: WrittenPost, name: str, value: str) -> None:
    if name == "title":
        post.title = value
    elif name == "date":
        post.date = value
    else:
        post.tags = tuple(dict.fromkeys(tag for part in value.split(",") if (tag := part.strip())))[:MOST_TAGS]


def _is_line(text: str) -> bool:
    return bool(text.strip()) and len(text) <= MOST_LINE_CHARACTERS and len(text.splitlines()) == 1

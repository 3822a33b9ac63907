"""Markdown words: the inside of a paragraph, a heading or a cell -> one line of Markdown, or a few.

One way to write each thing: `*emphasis*`, `**strong**`, `~~struck~~`, `` `code` ``, `[words](address)`,
`![words](address)`, `[^1]`, two spaces where a line must end. What would be read as markup and is none gets a
backslash, as little as there must be: what counts as markup is what plain_text.py reads as such. Knows no blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bs4.element import NavigableString, Tag

from services.corpus.cleaning.html_text import BETWEEN_IDEOGRAPHS, CODE, SILENT, link_target, set_apart
from services.corpus.cleaning.maths import keep_maths
from services.corpus.cleaning.page_tree import UNSEEN
from services.corpus.cleaning.template_tags import restore_raw
from services.corpus.rules import Rules

# Code points that are no characters stand for what is written already, and for the signs of emphasis, while the
# words between them are escaped.
_RAW = re.compile("[\ufde2\ufde8](\\d+)\ufde3")
_SIGNS = {"em": "\ufde4", "strong": "\ufde5"}
_WRITTEN = str.maketrans({"\ufde4": "*", "\ufde5": "**"})
_BREAK = "\ufdd2"
_STYLES = {"em": "em", "i": "em", "strong": "strong", "b": "strong"}
_TAKEN = re.compile("(\ufdd0\\d+\ufdd1|\ufdd5\\d+\ufdd6)")  # code and formulas that stand elsewhere
_LETTER_BESIDE = re.compile("(?<=[\\w$])\ufde2(\\d+)\ufde3|\ufde2(\\d+)\ufde3(?=[\\w$])")
_SPACE = re.compile("[ \t\n\r\f\xa0]+")

_PATTERN = (
    r"(?P<slash>\\(?=[&<]))|(?P<entity>&(?=#\d+;|#[xX][0-9a-fA-F]+;|\w+;))|(?P<tag><(?=[A-Za-z/!?]))"
    "|(?P<tick>`(?=\ufde8))|\\\\(?=[!-/:-@\\[-`{-~]|$|[\ufde2-\ufde6\ufde8])"
    r"|`|(?<=\S)\*|\*(?=\S)|(?<![^\W_])_(?=\S)|(?<=\S)_(?![^\W_])|(?<=~)~|~(?=~)"
    "|(?<=\\[)\\[|\\[(?=[\\^!])|\\](?=[(\\[:\ufde2])|!(?=\ufde2)|(?<=\\{)[{%#:.]"
    "|(?<=[)*_`\\]\ufde3-\ufde6])\\{(?=[ \\w])|(?P<brace>\\{(?=[ \\t]+[#.]))"
    r"|(?<=(?<![\w=<>!])=)=(?=[^\s=])|(?<=(?<![\w+])\+)\+(?=[a-z0-9-])|(?<=(?<![\w%])%)%(?!%)"
    r"|(?P<icon>:(?=(?:material|octicons|fontawesome|simple)-[\w-]+:))|(?<!\S)\^(?=\w|$)"
)
_ESCAPED = re.compile(_PATTERN)
_ESCAPED_IN_LINK = re.compile(_PATTERN + r"|[\[\]]")
_UNSAFE = re.compile("[\\s\"'<>\\\\`{}\\[\\]|()]")  # in an address
_ENTITIES = {"entity": "&amp;", "tag": "&lt;", "brace": "&#123;", "icon": "&#58;", "slash": "&#92;", "tick": "&#96;"}
_AT_START = re.compile(
    r"#|>|\||[-+*](?=\s|$)|(?P<number>\d{1,9})(?=[.)](?:\s|$))|(?=([-*_])[ \t]*(?:\2[ \t]*){2,}$)|=+[ \t]*$|[|:\- ]+$"
    r"|:(?=\s|::)|(?:!!!|\?\?\?)|===|;?-+8<|%%|\$\$|~~~|\[(?=TOC\]\s*$|[^\[\]]*\]:)|(?P<toc>\$)(?=\{toc\}\s*$)"
    r"|(?P<script>import|export)(?=\s+(?:[\w$*{][^;'\"]*\s+from\s+)?['\"]|\s+(?:const|default|function)\s)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Words:
    """Writes what stands in a line.

    Args:
        rules: what of it is kept.
        code: blocks of code by number; one that stands within a line becomes a span.
        maths: formulas by number.
        notes: numbers of footnotes by the `href` of what refers to them.
    """

    rules: Rules
    code: Mapping[int, str]
    maths: list[str]
    notes: dict[str, int] = field(default_factory=dict)

    def paragraphs(self, pieces: list[Piece]) -> list[str]:
        """Paragraphs of the pieces, each of one line or more; two breaks of a line in a row part paragraphs."""
        text = _BREAK.join(_line(runs, at_start=True) for runs in _split(pieces))
        parts = [part.strip(_BREAK) for part in re.split(f"{_BREAK}{{2,}}", text)]
        return [part.replace(_BREAK, "  \n") for part in parts if part]

    def one_line(self, pieces: list[Piece], *, at_start: bool = False, in_link: bool = False) -> str:
        """The pieces on a single line; `at_start`: what would begin a block there does not."""
        flat = []
        for piece in pieces:
            if piece.is_break:
                piece = Piece(" ", piece.styles)
            elif piece.code is not None:
                piece = Piece("", piece.styles, span=_tidy(restore_raw(self.block(piece.code))))
            flat.append(piece)
        return _line(flat, at_start=at_start, in_link=in_link)

    def block(self, number: int) -> str:
        """A block of code as its author wrote it; "" if it is to be dropped."""
        return self.code.get(number, "") if self.rules.keep_code else ""

    def pieces(self, tag: Tag, styles: frozenset[str] = frozenset()) -> list[Piece]:
        """What is in an element that stands in a line."""
        found: list[Piece] = []
        for child in tag.children:
            if isinstance(child, Tag):
                found += self.piece(child, styles)
            elif isinstance(child, NavigableString) and not isinstance(child, UNSEEN):
                found += self.of_string(str(child), styles)
        return found

    def of_string(self, text: str, styles: frozenset[str] = frozenset()) -> list[Piece]:
        """What is in a string: words, formulas, blocks of code."""
        if "\ufdd0" not in text and "\ufdd5" not in text:
            return [Piece(restore_raw(text), styles)]
        found = []
        for part in _TAKEN.split(text):
            if part.startswith("\ufdd0"):
                found.append(Piece("", styles, code=int(part[1:-1])))
            elif part.startswith("\ufdd5"):
                found.append(Piece("", styles, raw=restore_raw(self.maths[int(part[1:-1])])))
            elif part:
                found.append(Piece(restore_raw(part), styles))
        return found

    def piece(self, tag: Tag, styles: frozenset[str], *, as_code: bool = False) -> list[Piece]:
        """What one element in a line becomes."""
        name = "code" if as_code else tag.name
        if name in SILENT:
            return []
        if name == "br":
            return [Piece("", is_break=True)]
        if name == "img":
            return self._image(tag, styles)
        if name in ("code", "tt"):
            return self._span(tag, styles)
        if name in _STYLES:
            return self.pieces(tag, styles | {_STYLES[name]})
        if name in ("del", "s", "strike"):
            words = self.one_line(pieces := self.pieces(tag))
            return _around(pieces, Piece("", styles, raw=f"~~{words}~~")) if words else [Piece(" ", styles)]
        if name == "a":
            return self._link(tag, styles)
        if name == "sup" and (number := self._note(tag)):
            return [Piece("", raw=f"[^{number}]")]
        if name in ("sup", "sub", "rt") and (apart := set_apart(name, tag.get_text())) != tag.get_text():
            return self.of_string(apart, styles)
        return self.pieces(tag, styles)

    def _note(self, tag: Tag) -> int | None:
        link = tag.find("a", class_="footnote-ref")
        return self.notes.get(str(link.get("href", ""))) if isinstance(link, Tag) else None

    def _image(self, tag: Tag, styles: frozenset[str]) -> list[Piece]:
        words = _line([Piece(_tidy(restore_raw(str(tag.get("alt", "")))))], in_link=True)
        target = _address(link_target(tag)) if self.rules.keeps_addresses else ""
        if not self.rules.keep_image_alt or not (words or target):
            return []
        return [Piece("", styles, raw=f"![{words}]({target})")]

    def _span(self, tag: Tag, styles: frozenset[str]) -> list[Piece]:
        text = CODE.sub(lambda found: self.block(int(found[1])), tag.get_text())
        text = restore_raw(_TAKEN.sub(lambda found: self.maths[int(found[0][1:-1])], text))
        return _around([Piece(text)], Piece("", styles, span=_tidy(text))) if _tidy(text) else [Piece(text, styles)]

    def _link(self, tag: Tag, styles: frozenset[str]) -> list[Piece]:
        number = self.notes.get(str(tag.get("href", "")))
        if number and "footnote-ref" in tag.get_attribute_list("class"):
            return [Piece("", raw=f"[^{number}]")]
        pieces = self.pieces(tag)
        target = _address(link_target(tag)) if self.rules.keeps_addresses else ""
        words = self.one_line(pieces, in_link=True)
        if not target or not words:
            return self.pieces(tag, styles)
        said = target.removeprefix("mailto:")
        if said == _tidy(tag.get_text()) and re.match(r"(?:https?|ftp)://|mailto:[^@\s]+@", target):
            return _around(pieces, Piece("", styles, raw=f"<{said}>"))
        return _around(pieces, Piece("", styles, raw=f"[{words}]({target})"))


@dataclass(slots=True)
class Piece:
    """A part of a line: words to be escaped, or Markdown as it is, or where the line breaks.

    Args:
        text: words.
        styles: of `em` and `strong`.
        raw: Markdown that is written already.
        span: the words of a span of code.
        code: number of a block of code.
        is_break: the line ends here.
    """

    text: str
    styles: frozenset[str] = frozenset()
    raw: str = ""
    span: str = ""
    code: int | None = None
    is_break: bool = False


def _around(pieces: list[Piece], piece: Piece) -> list[Piece]:
    """A piece between the spaces that what it was made of begins and ends with."""
    before = pieces and _SPACE.match(pieces[0].text[:1])
    after = pieces and _SPACE.match(pieces[-1].text[-1:])
    return [*([Piece(" ")] if before else []), piece, *([Piece(" ")] if after else [])]


def _split(pieces: list[Piece]) -> list[list[Piece]]:
    """The pieces of each line."""
    lines: list[list[Piece]] = [[]]
    for piece in pieces:
        if piece.is_break:
            lines.append([])
        else:
            lines[-1].append(piece)
    return lines


def _line(pieces: list[Piece], *, at_start: bool = False, in_link: bool = False) -> str:
    """One line: white space as a browser shows it, emphasis as few signs as possible, the rest escaped."""
    raws: list[str] = []
    runs: list[tuple[frozenset[str], str]] = []
    last_span = -1
    for piece in pieces:
        if piece.span and last_span == len(runs) - 1 and last_span >= 0:
            raws[-1] += piece.span  # two spans side by side would read as one with other signs
            continue
        words = piece.text if piece.text.isascii() else BETWEEN_IDEOGRAPHS.sub("", piece.text)
        words = _SPACE.sub(" ", words)
        if piece.raw or piece.span:
            words = ("\ufde8" if piece.span else "\ufde2") + f"{len(raws)}\ufde3"
            raws.append(piece.raw or f"\ufde7{piece.span}")
        if words:
            runs.append((piece.styles, words))
            last_span = len(runs) - 1 if piece.span else -1
    text = _emphasised(runs)
    if any(raw.startswith("$") for raw in raws):  # a formula beside a letter would be none
        text = _LETTER_BESIDE.sub(lambda found: _unless_formula(found, raws), text)
    text = escape(text, in_link=in_link)
    if at_start:
        text = _AT_START.sub(_escape_start, text, count=1) if _AT_START.match(text) else text
    return _RAW.sub(lambda found: _written(raws[int(found[1])]), text).translate(_WRITTEN)


def _unless_formula(found: re.Match[str], raws: list[str]) -> str:
    raw = raws[int(found[1] or found[2])]
    return raw if raw.startswith("$") else found[0]


def _emphasised(runs: list[tuple[frozenset[str], str]]) -> str:
    """The words with signs of emphasis, none of which stands beside a space that it would have to enclose.

    Where two styles meet without a space between, no sign opens: several in a row are read in many ways.
    """
    if not any(styles for styles, _ in runs):
        return re.sub(" +", " ", "".join(text for _, text in runs)).strip(" ")
    words: list[tuple[frozenset[str], str]] = []
    for styles, text in runs:
        for part in re.split("( )", text):
            if part and (part != " " or (words and words[-1][1] != " ")):
                words.append((styles, part))
    if words and words[-1][1] == " ":
        words.pop()
    written: list[str] = []
    stack: list[str] = []
    spaced = True
    for start, (own, word) in enumerate(words):
        styles = own & words[start + 1][0] if word == " " else own
        was_styled = bool(stack)
        while not styles.issuperset(stack):
            written.append(_SIGNS[stack.pop()])
        if word != " " and (spaced or not was_styled):
            opened = sorted(styles.difference(stack))
            if len(opened) > 1:
                opened.sort(key=lambda style: _length(words, start, style), reverse=True)
            stack += opened
            written += [_SIGNS[style] for style in opened]
        spaced = word == " "
        written.append(word)
    return "".join(written) + "".join(_SIGNS[style] for style in reversed(stack))


def _length(words: list[tuple[frozenset[str], str]], start: int, style: str) -> int:
    """How many words from `start` on have a style."""
    end = start
    while end < len(words) and style in words[end][0]:
        end += 1
    return end - start


def _written(raw: str) -> str:
    """What stands for a piece; a span of code gets as many ticks as it needs."""
    if not raw.startswith("\ufde7"):
        return raw
    text = raw[1:]
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{padding}{text}{padding}{ticks}"


def escape(text: str, *, in_link: bool = False) -> str:
    """Put a backslash before what would be read as markup within a line."""
    text = (_ESCAPED_IN_LINK if in_link else _ESCAPED).sub(_escape_one, text)
    if "$" in text or "\\" in text:
        found: list[str] = []
        keep_maths(text, found)
        if found:
            text = re.sub(r"(\\+)([(\[])", _no_formula, text.replace("$", "\\$"))
    return text


def escape_start(line: str) -> str:
    """Put a backslash before what would begin a block."""
    return _AT_START.sub(_escape_start, line, count=1) if _AT_START.match(line) else line


def _escape_one(found: re.Match[str]) -> str:
    return _ENTITIES[found.lastgroup] if found.lastgroup else f"\\{found[0]}"


def _escape_start(found: re.Match[str]) -> str:
    if found["number"]:
        return f"{found['number']}\\"
    if found["script"]:
        return f"&#{ord(found[0][0])};{found[0][1:]}"
    return f"\\{found[0]}"


def _no_formula(found: re.Match[str]) -> str:
    return "&#92;" * (len(found[1]) // 2) + f"&#{ord(found[2])};"


def _address(target: str) -> str:
    """An address as it can stand between parentheses."""
    target = _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), target)
    return re.sub(r"&(?=#\d+;|#[xX][0-9a-fA-F]+;|\w+;)", "&amp;", target)


def _tidy(text: str) -> str:
    return _SPACE.sub(" ", text).strip()

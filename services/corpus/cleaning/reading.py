"""Reading: the bytes of a post -> the text that its author typed.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 are recognised; other encodings are detected
by charset-normalizer; text that was decoded wrongly in an earlier life ("cafÃ©") is repaired by ftfy.
The result is valid Unicode in NFC with `\n` line ends and no control characters.
What is not text is refused. This module knows nothing of Markdown or front matter.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

import charset_normalizer
import ftfy

from services.corpus.reasons import Code, LeftOut, Reason

# Longest first: the UTF-32 mark begins with the UTF-16 mark.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What posts were written in before UTF-8. Among all of Python's encodings, short posts look like exotic ones.
_LEGACY = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "mac_roman"),
    *("shift_jis", "euc_jp", "cp949", "gb18030", "big5"),
]
_SIGNATURES = (
    b"%PDF-",
    b"\x89PNG",
    b"GIF8",
    b"\xff\xd8\xff",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"\x7fELF",
    b"RIFF",
)
# Controls other than tab and newline, invisible spaces and operators, marks of direction, soft hyphens, and code
# points that are no characters. Words keep their order without the marks; what is shown of them is the reader's.
_CLUTTER = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufdd0-\ufdef\ufff9-\uffff\ud800-\udfff"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)
# Persian, Indic scripts and emoji need joiners and variation selectors; a flag of emoji is spelled in tags. Any
# other place, and more than one in a row, is clutter, in which whole messages can be hidden.
_BINDING = re.compile(
    "(?P<flag>\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{1,8}\U000e007f)"
    "|(?P<kept>(?:(?:[^\x00-\xa0\u2000-\u206f\u3000\ufe00-\ufe0f\U000e0000-\U000e01ef]|[\u203c\u2049])"
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef]?|[#*0-9]\ufe0f)[\u200c\u200d]?)"
    "|[\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e01ef]+"
)
_BINDERS = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e01ef]")
_PLAIN = bytes([9, 10, *range(32, 127)])
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# Everything that ftfy takes for garbled has two such characters in a row, or one of these.
_MAY_BE_GARBLED = re.compile("[^\x00-\x7f]{2}|[ŒœÃÂ]")
_LINE_ENDS = re.compile("\r\n?|\x85|\u2028|\u2029")


@dataclass(frozen=True, slots=True)
class Reading:
    """A post's text, and what had to be done to get it.

    Args:
        text: valid Unicode, NFC, `\n` line ends; may be blank.
        notes: a reason per change that its author might want to know of.
    """

    text: str
    notes: tuple[Reason, ...] = ()


def read(content: bytes, *, mend: bool = True) -> Reading:
    """Decode and repair a post.

    Args:
        content: the file's bytes.
        mend: repair what was garbled by a wrong encoding.

    Raises:
        LeftOut: EMPTY if there is no byte, NOT_TEXT if the bytes are no text in any encoding known here.
    """
    if not content:
        raise LeftOut(Code.EMPTY, "the file is empty")
    if content.startswith(_SIGNATURES):
        raise LeftOut(Code.NOT_TEXT, "the file is a picture, an archive or a program, not text")
    text, encoding = _decode(content)
    notes = []
    if encoding not in ("utf-8", "ascii"):
        notes.append(Reason(Code.LEGACY_ENCODING, f"decoded as {encoding}"))
    odd = _odd(text)
    if "\r" in odd or not odd.isascii():
        text = _LINE_ENDS.sub("\n", text)
    num_controls = len(_CONTROLS.findall(odd))
    if num_controls > 4 + len(text) // 100:
        raise LeftOut(Code.NOT_TEXT, f"{num_controls} of its {len(text)} characters are control characters")
    if _CLUTTER.search(odd):
        text = _CLUTTER.sub("", text)
    if not text.isascii():
        mended = "\n".join(map(_mend, text.split("\n"))) if mend else text
        if mended != text:
            notes.append(Reason(Code.MENDED_TEXT, "garbled characters were repaired"))
        text = valid(mended)
    return Reading(text, tuple(notes))


def valid(text: str) -> str:
    """Text in NFC without what no reader can see: controls, invisible clutter, what is no character.

    Idempotent. Tabs and newlines stay, and so do joiners where a script or an emoji needs them.
    """
    odd = _odd(text)
    if not odd:
        return text
    if _CLUTTER.search(odd):
        text = _CLUTTER.sub("", text)
    if text.isascii():
        return text
    if _LINE_ENDS.search(odd):
        text = _LINE_ENDS.sub("\n", text)
    if _BINDERS.search(odd):
        text = _BINDING.sub(lambda found: found["flag"] or found["kept"] or "", text)
    return unicodedata.normalize("NFC", text)


def _odd(text: str) -> str:
    """The characters of a text that are not plain ones, in their order: few, and so quickly looked through."""
    return text.encode(errors="surrogatepass").translate(None, _PLAIN).decode(errors="surrogatepass")


def _mend(line: str) -> str:
    return ftfy.fix_encoding(line) if not line.isascii() and _MAY_BE_GARBLED.search(line) else line


def _decode(content: bytes) -> tuple[str, str]:
    """Return the text and the encoding's name, or raise LeftOut."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, errors="replace").replace("\ufffd", ""), encoding
    if b"\0" in content[:4096]:
        return _decode_unmarked_utf16(content)
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    mixed = _decode_mixed(content)
    if mixed is not None:
        return mixed, "utf-8 with single bytes of cp1252"
    matches = charset_normalizer.from_bytes(content, cp_isolation=_LEGACY)
    best = matches.best()
    if best is None:
        raise LeftOut(Code.NOT_TEXT, "the bytes are not text in any known encoding")
    # Where several encodings are as likely, Western European is what most posts were written in.
    equals = [match for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence)]
    is_western = any("cp1252" in (match.encoding, *match.could_be_from_charset) for match in equals)
    encoding = "cp1252" if is_western else best.encoding
    return content.decode(encoding, errors="replace").replace("\ufffd", ""), encoding


def _decode_unmarked_utf16(content: bytes) -> tuple[str, str]:
    """Text in a Latin script has a zero in every other byte; anything else with zeros is not text."""
    sample = content[: 4096 & ~1]
    half = max(1, len(sample) // 2)
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if sample[offset::2].count(0) > 0.7 * half and sample[1 - offset :: 2].count(0) < 0.05 * half:
            return content.decode(encoding, errors="replace").replace("\ufffd", ""), encoding
    raise LeftOut(Code.NOT_TEXT, "the file holds zero bytes, so it is not text")


def _decode_mixed(content: bytes) -> str | None:
    """UTF-8 into which a few bytes of cp1252 were pasted; None if it is not mostly UTF-8."""
    lenient = content.decode("utf-8", errors="surrogateescape")
    num_bad = sum(1 for character in lenient if "\udc80" <= character <= "\udcff")
    num_good = sum(1 for character in lenient if character > "\x7f") - num_bad
    if num_good < 4 * num_bad:
        return None
    return re.sub(
        "[\udc80-\udcff]",
        lambda found: bytes([ord(found.group()) - 0xDC00]).decode("cp1252", errors="replace").replace("\ufffd", ""),
        lenient,
    )

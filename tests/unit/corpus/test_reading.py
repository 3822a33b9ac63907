from __future__ import annotations

import unicodedata

import pytest
from ftfy.badness import is_bad
from hypothesis import given
from hypothesis import strategies as st

from services.corpus.cleaning.reading import _MAY_BE_GARBLED, read
from services.corpus.reasons import Code, LeftOut


def codes(content: bytes) -> list[Code]:
    return [note.code for note in read(content).notes]


def test_utf8_is_read_as_it_is():
    assert read("Grüße, 世界 🐝".encode()).text == "Grüße, 世界 🐝"
    assert codes("Grüße, 世界 🐝".encode()) == []


def test_a_byte_order_mark_is_no_text():
    assert read(b"\xef\xbb\xbf---\ntitle: x\n---\n").text.startswith("---")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_recognised(encoding: str):
    content = "A post about bees and honey.\n".encode(encoding)

    assert read(content).text == "A post about bees and honey.\n"
    assert codes(content) == [Code.LEGACY_ENCODING]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Café naïve — it’s “fine”, très déjà vu"),
        ("cp1252", "Ich möchte über Größe schreiben, weil es schön ist."),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
        ("cp1251", "Привет, мир! Это старый пост о жизни и о природе вещей."),
        ("koi8_r", "Привет, мир! Это старый пост о жизни и о природе вещей."),
        ("shift_jis", "これは日本語のブログ記事です。今日はいい天気ですね。"),
    ],
)
def test_legacy_encodings_are_detected_and_told(encoding: str, text: str):
    assert read(text.encode(encoding)).text == text
    assert codes(text.encode(encoding)) == [Code.LEGACY_ENCODING]


def test_single_legacy_bytes_in_utf8_do_not_spoil_the_rest():
    content = "Ünïcödé wörds här, ".encode() + b"caf\xe9"

    assert read(content).text == "Ünïcödé wörds här, café"


def test_garbled_text_is_repaired_and_told():
    assert read("cafÃ© and itâ€™s\nclean é".encode()).text == "café and it’s\nclean é"
    assert codes("cafÃ© and itâ€™s".encode()) == [Code.MENDED_TEXT]


def test_line_ends_become_newlines_and_clutter_goes():
    assert read("a\r\nb\rc\u2028d\u200b\ufeff\x07e".encode()).text == "a\nb\nc\nde"


def test_joiners_stay_because_emoji_need_them():
    assert read("👩‍🌾".encode()).text == "👩‍🌾"


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + b"\0" * 20,
        b"%PDF-1.4 text",
        b"hi\0there" * 50,
        bytes(range(256)) * 4,
        b"\x01\x02" * 99,
    ],
)
def test_what_is_not_text_is_left_out(content: bytes):
    with pytest.raises(LeftOut) as caught:
        read(content)

    assert caught.value.reason.code == Code.NOT_TEXT


def test_an_empty_file_is_left_out():
    with pytest.raises(LeftOut) as caught:
        read(b"")

    assert caught.value.reason.code == Code.EMPTY


@given(st.binary(max_size=300))
def test_any_bytes_give_valid_normal_text_or_a_reason(content: bytes):
    try:
        text = read(content).text
    except LeftOut:
        return

    assert text.encode().decode() == text
    assert unicodedata.is_normalized("NFC", text)
    assert "\r" not in text and "\0" not in text


@pytest.mark.parametrize("frame", ["{}", "a{}b", "a{} b", " {} ", "A{}.", "{}A", "1{}1", 'a {}"', "\n{}\n"])
def test_lines_that_are_not_given_to_ftfy_are_none_that_it_would_mend(frame: str):
    for number in (*range(0xA0, 0xD800), *range(0xE000, 0x20000)):
        line = frame.format(chr(number))
        assert _MAY_BE_GARBLED.search(line) or not is_bad(line), hex(number)

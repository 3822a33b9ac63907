"""Posts that are no Markdown: HTML, plain text, reStructuredText and exports, held against other readings of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from services.corpus.cleaning.documents import Document, make_document
from services.corpus.opening import exports
from services.corpus.reasons import LeftOut
from services.corpus.rules import Rules
from tests.unit.corpus.rendered import shown_html, words

GENERATORS = Path(__file__).parent / "generators"
HTML, TEXT, RST = GENERATORS / "html/post.html", GENERATORS / "text/post.txt", GENERATORS / "rst/article.rst"
EXPORTS = sorted(path for name in ("ghost", "wordpress") for path in (GENERATORS / name).glob("*.[jx]*"))
_LEFTOVER = re.compile(
    r"<!--|-->|</?[a-z][\w-]*(?: [^<>]*)?/?>|&#?\w+;|^\.\. |:[a-z]+:`|``|\|there\||`_|\]_|^[=#~^-]{4,}$|^:\w+: ",
    re.MULTILINE,
)


def made(path: Path, **rules: bool) -> Document:
    return make_document(path.name, path.read_bytes(), Rules(include_drafts=True, **rules))


def unseen(path: Path) -> Counter[str]:
    found = (part.partition("*") for part in path.with_suffix(".unseen").read_text().split())
    return Counter({word: int(times or 1) for word, _, times in found})


@pytest.mark.parametrize("path", [HTML, TEXT], ids=lambda path: path.suffix)
def test_a_post_becomes_the_document_that_a_reader_would_expect(path: Path):
    assert made(path).text + "\n" == path.with_name("expected.txt").read_text()


@pytest.mark.parametrize("path", [HTML, RST], ids=lambda path: path.suffix)
def test_no_markup_is_left_outside_code(path: Path):
    assert not _LEFTOVER.findall(made(path, keep_code=False).text)


def test_no_word_of_a_page_is_lost():
    document = made(HTML)

    assert words(shown_html(HTML.read_text())) - words(f"{document.title}\n{document.text}") == Counter()


def test_a_text_keeps_every_sign():
    assert "".join(made(TEXT).text.split()) == "".join(TEXT.read_text().split())


def test_no_word_of_restructuredtext_is_lost_but_names_options_and_comments():
    document = made(RST)
    said = words("\n".join([document.title, document.date, *document.tags, document.text]))

    assert words(RST.read_text()) - said == unseen(RST)


def bodies(path: Path) -> Iterator[str]:
    """The HTML of the posts and pages of an export, as its own format holds it."""
    if path.suffix == ".xml":
        names = {"wp": "http://wordpress.org/export/1.2/", "content": "http://purl.org/rss/1.0/modules/content/"}
        for item in ElementTree.fromstring(path.read_text().replace("&nbsp;", " ")).iter("item"):
            if item.findtext("wp:post_type", "", names) in ("post", "page"):
                yield item.findtext("content:encoded", "", names)
    else:
        yield from _html_in(json.loads(path.read_text()))


def _html_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _html_in(each)
    elif isinstance(value, dict):
        body = value.get("html") or (value.get("content") or {}).get("rendered")
        if isinstance(body, str):
            yield body
        else:
            for each in value.values():
                yield from _html_in(each)


@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.name)
def test_no_word_of_an_export_is_lost(path: Path):
    said: Counter[str] = Counter()
    names = exports.Names()
    with path.open("rb") as file:
        for entry in exports.read_entries(file, path.name, 8 << 20):
            if isinstance(entry, exports.Unread):
                said += words(entry.reason.message)
                continue
            try:
                document = make_document(names.name(entry), exports.source(entry), Rules(include_drafts=True))
            except LeftOut:
                continue
            said += words(f"{document.title}\n{document.text}")
    shown: Counter[str] = Counter()
    for body in bodies(path):
        shown += words(shown_html(re.sub(r"\[/?\w[^\[\]]*\]", "", body)))

    assert shown, "the export holds no HTML to compare"
    assert shown - said == unseen(path)

"""Exports of Ghost and WordPress, each with the documents that its posts must become."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

import pytest

from services.corpus.cleaning.documents import make_document
from services.corpus.imports import check_path
from services.corpus.opening import exports, ghost_cards, shortcodes
from services.corpus.reasons import Code, LeftOut
from services.corpus.rules import Rules

GENERATORS = Path(__file__).parent / "generators"
EXPORTS = sorted(path for name in ("ghost", "wordpress") for path in (GENERATORS / name).glob("*.[jx]*"))
_LEFTOVER = re.compile(
    r"<!--|-->|</?[a-z][\w-]*(?: [^<>]*)?/?>|\[/?\w+[ =][^\]]*\]|\[/\w+\]|__GHOST_URL__|&\w+;|kg-|wp:"
)
MOST = 8 << 20


def entries(content: bytes | str, name: str) -> list[exports.Entry | exports.Unread]:
    raw = content.encode() if isinstance(content, str) else content
    return list(exports.read_entries(io.BytesIO(raw), name, MOST))


def refusal(content: bytes | str, name: str) -> Code:
    with pytest.raises(LeftOut) as caught:
        entries(content, name)
    return caught.value.reason.code


def described(path: Path) -> str:
    """Every entry as its source's front matter and its document's text."""
    names = exports.Names()
    parts = []
    for entry in entries(path.read_bytes(), path.name):
        if isinstance(entry, exports.Unread):
            parts.append(f"==== {entry.name}\n{entry.reason.code}: {entry.reason.message}\n")
            continue
        name = names.name(entry)
        source = exports.source(entry)
        front = source.decode().partition("\n---\n")[0].removeprefix("---\n")
        try:
            text = make_document(name, source, Rules(include_drafts=True)).text
        except LeftOut as left_out:
            text = f"{left_out.reason.code}: {left_out.reason.message}"
        parts.append(f"==== {name}\n{front}\n\n{text}\n")
    return "\n".join(parts)


@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.name)
def test_an_export_becomes_the_documents_that_a_reader_would_expect(path: Path):
    assert described(path) == path.with_suffix(".expected.txt").read_text()


@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.name)
def test_nothing_of_the_system_is_left_outside_code(path: Path):
    for entry in entries(path.read_bytes(), path.name):
        if isinstance(entry, exports.Entry):
            try:
                name = exports.Names().name(entry)
                text = make_document(name, exports.source(entry), Rules(include_drafts=True, keep_code=False)).text
            except LeftOut as left_out:
                assert left_out.reason.code is Code.EMPTY
            else:
                assert not _LEFTOVER.findall(text.replace("[gallery]", "")), text


def test_the_same_post_has_the_same_name_in_the_next_export_and_no_two_have_one():
    posts = [{"id": n, "title": "Same", "slug": "same", "html": "x", "published_at": "2019-01-01"} for n in (3, 1, 2)]
    first, second = ([*posts], [*posts, {"id": 9, "title": "New", "html": "y"}])
    named = []
    for each in (first, second):
        names = exports.Names()
        found = entries(json.dumps({"posts": each}), "a.json")
        named.append([names.name(entry) for entry in found if isinstance(entry, exports.Entry)])

    assert named[0] == ["2019-01-01-same.html", "2019-01-01-same-1.html", "2019-01-01-same-2.html"]
    assert named[1][:3] == named[0]


@pytest.mark.parametrize(
    "slug", ["../../etc/passwd", "a/b", "a\\b", "x" * 500, "\x00", "..", "%2e%2e%2f", "a\nb", "🐝"]
)
def test_no_slug_leads_out_of_its_folder(slug: str):
    (entry,) = entries(json.dumps([{"title": "T", "slug": slug, "content": "x"}]), "a.json")

    name = exports.Names().name(entry)

    assert "/" not in check_path(name) and not name.startswith(".")


def test_a_value_with_quotes_colons_and_lines_comes_through_the_front_matter():
    title = 'He said: "no" --- #1 \\ \u2028 {x} [y]'
    (entry,) = entries(json.dumps([{"title": title, "content": "text", "tags": ["a, b", "c: d", "- e"]}]), "a.json")

    document = make_document("a.html", exports.source(entry), Rules())

    assert document.title == " ".join(title.split())
    assert document.tags == ("a, b", "c: d", "- e")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("package.json", '{"name": "x", "dependencies": {"posts": "1"}}'),
        ("list.json", "[1, 2, 3]"),
        ("list.json", '[{"name": "x"}]'),
        ("number.json", "12"),
        ("text.json", '"posts"'),
        ("broken.json", '{"db": [{'),
        ("no.json", "not json"),
        ("empty.json", ""),
        ("binary.json", b"\x00\xff\xfe" * 100),
        ("posts.json", '{"posts": 1}'),
        ("posts.json", '{"db": [{"data": {"posts": {"a": 1}}}]}'),
        ("feed.xml", "<rss><channel><item><title>x</title></item></channel></rss>"),
        ("feed.xml", "<feed xmlns='http://www.w3.org/2005/Atom'></feed>"),
        ("sitemap.xml", "<?xml version='1.0'?><urlset></urlset>"),
        ("broken.xml", "<rss><channel>"),
        ("no.xml", "not xml"),
        ("empty.xml", ""),
        ("binary.xml", b"\x00\xff\xfe" * 100),
    ],
)
def test_json_and_xml_that_is_no_export_is_of_an_unknown_kind(name: str, content: bytes | str):
    assert refusal(content, name) is Code.UNKNOWN_KIND


def wxr(*items: str, head: str = "") -> str:
    item = "<item><wp:post_type>post</wp:post_type><wp:status>publish</wp:status>{}</item>"
    return f"<?xml version='1.0'?>{head}<rss><channel>{''.join(map(item.format, items))}</channel></rss>"


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">]>',
        '<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE rss [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x.dtd"> %x;]>',
    ],
)
def test_declared_entities_are_refused(head: str):
    assert refusal(wxr("<title>&x;&c;</title>", head=head), "a.xml") is Code.BAD_ARCHIVE


def test_a_document_type_elsewhere_is_not_fetched():
    head = '<!DOCTYPE rss SYSTEM "http://127.0.0.1:1/x.dtd">'

    assert entries(wxr("<title>T &hellip; &unknown;</title>", head=head), "a.xml")[0].title == "T … &unknown;"


def test_characters_that_xml_forbids_and_broken_utf8_do_not_end_an_export():
    content = wxr("<title>a\x08BAD\x1bc</title><content:encoded>x\x0by</content:encoded>").encode()

    (entry,) = entries(content.replace(b"BAD", b"\xff\xc3"), "a.xml")

    assert entry.title in ("a\ufffdc", "a\ufffd\ufffdc")
    assert entry.body == "<p>xy</p>"


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "windows-1252", "utf-8-sig", "no-such-one", "base64"])
def test_exports_in_other_encodings_are_read(encoding: str):
    text = wxr("<title>café</title>").replace("version='1.0'", f"version='1.0' encoding='{encoding}'")
    known = encoding not in ("no-such-one", "base64")

    assert entries(text.encode(encoding if known else "utf-8"), "a.xml")[0].title == "café"


def test_an_export_that_is_cut_off_behind_its_first_posts_is_refused():
    assert refusal(wxr("<title>a</title>", "<title>b</title>")[:-40], "a.xml") is Code.BAD_ARCHIVE
    many = json.dumps([{"title": f"{n}", "content": "x" * 1000} for n in range(500)])
    assert refusal(many[:-400], "a.json") is Code.BAD_ARCHIVE


def test_a_text_without_end_takes_no_more_memory_than_a_post_may_have():
    (entry,) = entries(wxr(f"<content:encoded>{'word ' * 4_000_000}</content:encoded>"), "a.xml")

    assert MOST < len(entry.body) < MOST + (2 << 20)


def test_entries_that_are_no_posts_are_told():
    found = entries('[{"title": "a", "content": "b"}, 7]', "a.json")

    assert [type(entry) for entry in found] == [exports.Entry, exports.Unread]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "As he wrote [sic], [map] and [1] and [emphasis mine].",
            "As he wrote [sic], [map] and [1] and [emphasis mine].",
        ),
        ("[gallery]", ""),
        ('a [audio src="x.mp3"] b', "a  b"),
        ("[vc_row][vc_column]words[/vc_column][/vc_row]", "words"),
        ('[b]bold[/b] and [unknown_one a="1" /]', "bold and"),
        ("[caption]no image[/caption]", "<figcaption>no image</figcaption>"),
        ("x [caption] y", "x  y"),
        ("<code>[gallery]</code>", "<code>[gallery]</code>"),
        ("[[shown]] and [[a]b[/a]]", "[shown] and [b]"),
        ("list[0] = other[i]", "list[0] = other[i]"),
    ],
)
def test_shortcodes_go_and_brackets_of_prose_stay(content: str, expected: str):
    found = re.sub(r"</?(?:p|figure)>|\n", "", shortcodes.to_html(content))

    assert found == expected


@pytest.mark.parametrize(
    "piece",
    ["[a ", "[a]", "[/a]", "[caption]", "[caption]<img>", "[[", "<pre ", "</pre>", "<!-- wp:x ", "<!-- wp:x -->",
     "\n\n", " \n", "<p>", "<p ", "[code]", "[embed]", "[embed][/embed]x", "https://youtube.com/", "<img ",
     "<a <img", '[a x="'],
)  # fmt: skip
def test_openings_without_end_are_read_in_bounded_time(piece: str):
    started = time.process_time()
    shortcodes.to_html(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 60


@pytest.mark.parametrize("encoding", ["idna", "undefined", "punycode", "rot13", "nonsense"])
def test_an_encoding_that_none_has_is_read_as_utf8(encoding: str):
    content = f'<?xml version="1.0" encoding="{encoding}"?>' + wxr("<title>Café</title>").partition("?>")[2]
    found = entries(content, "x.xml")
    assert isinstance(found[0], exports.Entry)
    assert found[0].title == "Café"


@pytest.mark.parametrize(
    "post",
    [
        {"lexical": json.dumps({"root": {"children": [{"type": ["x"]}]}})},
        {"mobiledoc": json.dumps({"cards": [["markdown", {"markdown": "x"}]], "sections": 5})},
    ],
)
def test_an_editors_format_that_nobody_wrote_ends_no_export(post: dict):
    found = entries(json.dumps({"posts": [{"title": "t", **post}]}), "x.json")
    assert [entry.body for entry in found if isinstance(entry, exports.Entry)] in ([""], ["x"])


def test_numbers_beyond_all_bounds_and_tags_without_names_are_told_or_passed_by():
    assert refusal('[{"title": "t", "content": "c", "id": 1e5000000000000000000}]', "x.json") is Code.UNKNOWN_KIND
    links = '"tags": [{"id": 2, "name": null}], "posts_tags": [{"tag_id": 2, "post_id": 1}]'
    found = entries(f'{{"posts": [{{"id": 1, "html": "b"}}], {links}}}', "x.json")
    assert isinstance(found[0], exports.Entry)
    assert found[0].tags == ()


def test_a_card_of_open_brackets_is_rendered_in_bounded_time():
    start = time.process_time()
    ghost_cards.card_html("markdown", {"markdown": "[" * 20_000})
    assert time.process_time() - start < 60

"""Exports as JSON: Ghost's, and lists of posts as WordPress' REST interface gives them. Read in constant memory.

Ghost: `{"db": [{"data": {"posts": […], "tags": […], "posts_tags": […]}}]}`, without `db` in early versions, and
`{"posts": […]}` with the tags inside as its interfaces answer. A list: `[{"title": …, "content": …, "date": …}]`,
title and content being texts or `{"rendered": …}`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO, Any

import ijson

from services.corpus.opening import ghost_cards, shortcodes
from services.corpus.opening.exports import Entry, Unread
from services.corpus.reasons import Code, LeftOut, Reason

_EXPECTED = (
    "it is no export of a blog: a Ghost export (`db`, `data`, `posts`) or a list of posts with `title` and `content` "
    "was expected"
)
_BODIES = ("content", "body", "html", "markdown", "text", "mobiledoc", "lexical", "plaintext")
_PLAYERS = re.compile(r"kg-(?:audio|video)-(?:player|time|current-time|duration|playback-rate)")


def read_json(file: IO[bytes]) -> Iterator[Entry | Unread]:
    """Yield the posts of an export.

    Raises:
        LeftOut: UNKNOWN_KIND: no export; BAD_ARCHIVE: broken behind the first posts.
    """
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)
    start = file.tell()
    found = False
    try:
        root = _posts_at(file)
        if root is None:
            raise LeftOut(Code.UNKNOWN_KIND, _EXPECTED)
        names = _tag_names(file, start, root.removesuffix("posts")) if root.endswith("posts") else {}
        file.seek(start)
        for index, post in enumerate(ijson.items(file, f"{root}.item" if root else "item")):
            if not isinstance(post, dict) or (not root and not any(name in post for name in _BODIES)):
                if not found:
                    raise LeftOut(Code.UNKNOWN_KIND, _EXPECTED)
                yield Unread(f"entry-{index + 1}", Reason(Code.UNKNOWN_KIND, "it has no title and no content"))
                continue
            found = True
            yield _entry(post, index, names.get(str(post.get("id")), []))
    except (ijson.JSONError, ValueError, ArithmeticError) as error:  # the last two of numbers beyond all bounds
        words = " ".join(str(error).split())[:200]
        if not found:
            raise LeftOut(Code.UNKNOWN_KIND, f"{_EXPECTED}; it is not JSON: {words}") from None
        raise LeftOut(Code.BAD_ARCHIVE, f"it is damaged or cut off: {words}") from None


def _posts_at(file: IO[bytes]) -> str | None:
    """Where the list of posts is: "" for the whole file, else the path to it; None if nowhere."""
    for number, (prefix, event, _) in enumerate(ijson.parse(file)):
        if event == "start_array" and (number == 0 or prefix in ("db.item.data.posts", "data.posts", "posts")):
            return str(prefix)
        if number == 0 and event != "start_map":
            return None
    return None


def _tag_names(file: IO[bytes], start: int, root: str) -> dict[str, list[str]]:
    """The names of the tags of each post, by the post's id, in the author's order."""
    file.seek(start)
    names: dict[str, str] = {}
    for tag in ijson.items(file, f"{root}tags.item"):
        name = tag.get("name") if isinstance(tag, dict) else None
        if isinstance(name, str) and not name.startswith("#"):  # those are Ghost's internal ones
            names[str(tag.get("id"))] = name
    file.seek(start)
    of_posts: dict[str, list[tuple[Any, str]]] = {}
    for link in ijson.items(file, f"{root}posts_tags.item"):
        if isinstance(link, dict) and str(link.get("tag_id")) in names:
            order = link.get("sort_order")
            entry = (order if isinstance(order, int) else 0, names[str(link["tag_id"])])
            of_posts.setdefault(str(link.get("post_id")), []).append(entry)
    return {post: [name for _, name in sorted(tags, key=lambda tag: tag[0])] for post, tags in of_posts.items()}


def _entry(post: dict[str, Any], index: int, tags: list[str]) -> Entry:
    body, suffix = _body(post)
    is_page = post.get("type") == "page" or str(post.get("page")).lower() in ("1", "true")
    is_wordpress = isinstance(post.get("content"), dict)
    title = _rendered(post.get("title"))
    dates = (post.get(name) for name in ("published_at", "date", "created_at", "updated_at", "modified"))
    return Entry(
        key=str(post.get("id") or index + 1),
        title=_plain(title) if is_wordpress else title,
        slug=str(post.get("slug") or ""),
        date=next(filter(None, map(date_of, dates)), ""),
        tags=tuple(dict.fromkeys([*tags, *_own_tags(post)])),
        status=status_of(str(post.get("status") or "published")),
        kind="page" if is_page else "post",
        body=body,
        suffix=suffix,
    )


def _body(post: dict[str, Any]) -> tuple[str, str]:
    """What the author wrote, where that is Markdown; else what a reader saw; else the editor's own format."""
    mobiledoc, lexical = (
        post.get(name) if isinstance(post.get(name), str) else "" for name in ("mobiledoc", "lexical")
    )
    if isinstance(post.get("content"), dict):  # WordPress' rendered HTML
        return shortcodes.to_html(_rendered(post["content"])), ".html"
    markdown = post.get("markdown") or (ghost_cards.markdown_alone(mobiledoc) if mobiledoc else None)
    if isinstance(markdown, str) and markdown.strip():
        return markdown.replace("__GHOST_URL__", ""), ".md"
    rendered = next((post[name] for name in ("html", "content", "body") if isinstance(post.get(name), str)), "")
    if not rendered.strip():
        rendered = (lexical and ghost_cards.lexical_html(lexical)) or (
            mobiledoc and ghost_cards.mobiledoc_html(mobiledoc)
        )
    if rendered.strip():
        is_html = "html" in post or "<" in rendered
        return _without_players(rendered.replace("__GHOST_URL__", "")), ".html" if is_html else ".md"
    return next((post[name] for name in ("plaintext", "text") if isinstance(post.get(name), str)), ""), ".txt"


def _without_players(rendered: str) -> str:
    """Ghost's players write their times and speeds as text."""
    if not _PLAYERS.search(rendered):
        return rendered
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(rendered, "lxml")
    for player in soup.find_all(class_=re.compile(_PLAYERS.pattern + "$")):
        player.decompose()
    return str(soup)


def _rendered(value: Any) -> str:
    value = value.get("rendered") or value.get("raw") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _plain(text: str) -> str:
    """A title without tags and references."""
    return html.unescape(re.sub(r"<[^<>]*>", "", text))


def _own_tags(post: dict[str, Any]) -> list[str]:
    """Tags inside a post: names, or objects with names. Numbers refer to what the file does not hold."""
    terms = post.get("_embedded", {}).get("wp:term", []) if isinstance(post.get("_embedded"), dict) else []
    found: list[Any] = [term for group in terms if isinstance(group, list) for term in group]
    for name in ("tags", "categories"):
        value = post.get(name)
        found += value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else []
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in found]
    return [name.strip() for name in names if isinstance(name, str) and name.strip() and not name.startswith("#")]


def date_of(value: Any) -> str:
    """`YYYY-MM-DD` of what an export says: a text that begins with it, or milliseconds since 1970; "" of nonsense."""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(float(value) / 1000, UTC).date().isoformat()
        except (OverflowError, OSError, ValueError):
            return ""
    found = re.match(r"\d{4}-\d\d-\d\d", value.strip()) if isinstance(value, str) else None
    return found.group() if found and not found.group().startswith("0000") else ""


def status_of(word: str) -> str:
    """One word for what Ghost and WordPress call the states of a post."""
    word = word.lower()
    if word in ("future", "scheduled"):
        return "scheduled"
    return word if word in ("draft", "private") else "draft" if word in ("pending", "auto-draft") else "published"

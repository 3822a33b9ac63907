"""Ghost's editors' own formats -> HTML: mobiledoc (Ghost 1 to 5) and Lexical (Ghost 5 on), each JSON in a string.

Only needed where an export has no rendered HTML, as for drafts. Cards that a reader sees no words of become nothing.
Sources: the mobiledoc 0.3 specification; Lexical's serialised nodes with those of Ghost's kg-default-nodes.
"""

from __future__ import annotations

import html
import json
from typing import Any

from services.corpus.cleaning.bounds import bounded

MAX_DEPTH = 50  # of nodes; a list in a list in a quotation is 6

_BOLD, _ITALIC, _STRUCK, _UNDERLINED, _CODE = 1, 2, 4, 8, 16  # bits of a Lexical text's format
_BLOCKS = {
    "paragraph": "p",
    "quote": "blockquote",
    "aside": "blockquote",
    "listitem": "li",
    "extended-quote": "blockquote",
}


def markdown_alone(mobiledoc: str) -> str | None:
    """The author's Markdown if the document is nothing but one Markdown card, as Ghost 1 wrote all posts."""
    document = _load(mobiledoc)
    cards = document.get("cards")
    sections = _list(document.get("sections"))
    if isinstance(cards, list) and len(cards) == 1 and len(sections) <= 2:
        name, payload = _pair(cards[0])
        source = payload.get("markdown")
        texts = [section for section in sections if _mobile_section(section, document)]
        is_alone = all(isinstance(section, list) and section[:1] == [10] for section in texts)
        if name in ("markdown", "card-markdown") and isinstance(source, str) and is_alone:
            return source
    return None


def mobiledoc_html(mobiledoc: str) -> str:
    """HTML of a mobiledoc document; "" for what is none."""
    document = _load(mobiledoc)
    sections = document.get("sections")
    return "\n".join(filter(None, (_mobile_section(section, document) for section in _list(sections))))


def lexical_html(lexical: str) -> str:
    """HTML of a Lexical document; "" for what is none."""
    root = _load(lexical).get("root")
    return "\n".join(_lexical(child, 0) for child in _list(root.get("children"))) if isinstance(root, dict) else ""


def _load(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return html.escape(value, quote=True) if isinstance(value, str) else ""


def _raw(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _pair(card: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(card, list) and len(card) == 2 and isinstance(card[0], str) and isinstance(card[1], dict):
        return card[0], card[1]
    return "", {}


def _mobile_section(section: Any, document: dict[str, Any]) -> str:
    """[1, tag, markers] is text, [2, address] an image, [3, tag, items] a list, [10, index] a card."""
    kind = section[0] if isinstance(section, list) and section else None
    if kind == 1 and len(section) >= 3:
        tag = section[1] if section[1] in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "aside") else "p"
        words = _markers(section[2], document)
        return f"<{tag}>{words}</{tag}>" if words.strip() else ""
    if kind == 3 and len(section) >= 3:
        tag = "ol" if section[1] == "ol" else "ul"
        return f"<{tag}>" + "".join(f"<li>{_markers(item, document)}</li>" for item in _list(section[2])) + f"</{tag}>"
    if kind == 10 and len(section) >= 2 and isinstance(section[1], int):
        cards = _list(document.get("cards"))
        return card_html(*_pair(cards[section[1]])) if 0 <= section[1] < len(cards) else ""
    return ""


def _markers(markers: Any, document: dict[str, Any]) -> str:
    """[kind, opened markups, number closed, value]; kind 0 is text, 1 an atom such as a soft return."""
    out: list[str] = []
    opened: list[str] = []
    markups = _list(document.get("markups"))
    atoms = _list(document.get("atoms"))
    for marker in _list(markers):
        if not isinstance(marker, list) or len(marker) < 4:
            continue
        for index in _list(marker[1]):
            markup = markups[index] if isinstance(index, int) and 0 <= index < len(markups) else None
            tag = markup[0] if isinstance(markup, list) and markup else ""
            opened.append(tag if tag in ("a", "em", "strong", "code", "s", "u", "i", "b", "sub", "sup") else "span")
            attributes = _list(markup[1]) if isinstance(markup, list) and len(markup) > 1 else []
            href = attributes[attributes.index("href") + 1] if "href" in attributes[:-1] else ""
            out.append(f'<a href="{_text(href)}">' if opened[-1] == "a" else f"<{opened[-1]}>")
        if marker[0] == 0:
            out.append(_text(marker[3]))
        elif isinstance(marker[3], int) and 0 <= marker[3] < len(atoms) and isinstance(atoms[marker[3]], list):
            atom = atoms[marker[3]]
            out.append("<br>" if atom[:1] == ["soft-return"] else _text(atom[1]) if len(atom) > 1 else "")
        closed = marker[2] if isinstance(marker[2], int) else 0
        for _ in range(min(closed, len(opened))):
            out.append(f"</{opened.pop()}>")
    out += [f"</{tag}>" for tag in reversed(opened)]
    return "".join(out)


def _lexical(node: Any, depth: int) -> str:
    if not isinstance(node, dict) or depth > MAX_DEPTH:
        return ""
    kind = _raw(node.get("type"))
    if kind in ("text", "extended-text", "code-highlight"):
        return _formatted(node)
    if kind == "linebreak":
        return "<br>"
    inner = "".join(_lexical(child, depth + 1) for child in _list(node.get("children")))
    if kind in ("heading", "extended-heading"):
        tag = node.get("tag") if node.get("tag") in ("h1", "h2", "h3", "h4", "h5", "h6") else "h2"
        return f"<{tag}>{inner}</{tag}>"
    if kind == "list":
        tag = "ol" if node.get("listType") == "number" else "ul"
        return f"<{tag}>{inner}</{tag}>"
    if kind in ("link", "autolink"):
        return f'<a href="{_text(node.get("url"))}">{inner}</a>'
    if kind in _BLOCKS:
        return f"<{_BLOCKS[kind]}>{inner}</{_BLOCKS[kind]}>"
    return inner or card_html(kind, node)


def _formatted(node: dict[str, Any]) -> str:
    words = _text(node.get("text"))
    bits = node.get("format")
    if isinstance(bits, int):
        for bit, tag in ((_CODE, "code"), (_ITALIC, "em"), (_BOLD, "strong"), (_STRUCK, "s")):
            if bits & bit:
                words = f"<{tag}>{words}</{tag}>"
    return words


def card_html(name: str, card: dict[str, Any]) -> str:
    """HTML of a card of either editor; "" for one without words."""
    name = name.removeprefix("card-")
    caption = _raw(card.get("caption"))
    if name == "markdown":
        return "\n\n" + _markdown(_raw(card.get("markdown"))) + "\n\n"
    if name in ("html", "email"):
        return _raw(card.get("html"))
    if name in ("code", "codeblock"):
        return f"<pre><code>{_text(card.get('code'))}</code></pre>" + (f"<p>{caption}</p>" if caption else "")
    if name == "image":
        picture = f'<img src="{_text(card.get("src"))}" alt="{_text(card.get("alt") or card.get("altText"))}">'
        return f"<figure>{picture}" + (f"<figcaption>{caption}</figcaption>" if caption else "") + "</figure>"
    if name == "callout":
        return f"<blockquote>{_raw(card.get('calloutText'))}</blockquote>"
    if name == "toggle":
        return f"<h4>{_raw(card.get('heading'))}</h4>{_raw(card.get('content'))}"
    if name == "header":
        heads = [card.get("header") or card.get("heading"), card.get("subheader") or card.get("subheading")]
        return "".join(f"<h2>{_raw(head)}</h2>" for head in heads if head)
    if name in ("horizontalrule", "hr"):
        return "<hr>"
    return f"<p>{caption}</p>" if caption and name in ("gallery", "embed", "bookmark", "video", "audio", "file") else ""


def _markdown(source: str) -> str:
    """A Markdown card among others. It is rendered here, since the post around it is HTML."""
    import markdown

    try:
        return markdown.markdown(bounded(source[:200_000]), extensions=["extra"])
    except RecursionError:
        return f"<p>{html.escape(source)}</p>"

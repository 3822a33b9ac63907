"""Page tree: the elements and words of a page, as little as reading it takes.

Made from BeautifulSoup's tree, or straight from the tree that Python-Markdown built (markdown_page.py), so that
one walk reads both. Comments, declarations and instructions are no part of it. Knows nothing of what elements mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

from bs4.element import Comment, Declaration, Doctype, NavigableString, ProcessingInstruction
from bs4.element import Tag as SoupTag

UNSEEN = (Comment, Declaration, Doctype, ProcessingInstruction)
_APART = frozenset({"script", "style", "template", "rt", "rp"})  # their strings are no text of what holds them


class Tag:
    """An element: its name, its attributes, and its children, which are elements and strings.

    Methods are named as BeautifulSoup's and do the same.
    """

    __slots__ = ("attributes", "children", "name", "parent")

    def __init__(self, name: str, attributes: Mapping[str, str], parent: Tag | None = None) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Tag | str] = []
        self.parent = parent

    def get(self, name: str, default: str = "") -> str:
        """The value of an attribute; a list of classes is one string with spaces."""
        return self.attributes.get(name, default)

    def has_class(self, name: str) -> bool:
        """Whether the element is of this class."""
        return name in self.attributes.get("class", "").split()

    @property
    def descendants(self) -> Iterator[Tag]:
        """Every element inside, in order of the page."""
        ahead = [child for child in reversed(self.children) if isinstance(child, Tag)]
        while ahead:
            tag = ahead.pop()
            yield tag
            if tag.children:
                ahead += [child for child in reversed(tag.children) if isinstance(child, Tag)]

    def find_all(self, *names: str, recursive: bool = True) -> list[Tag]:
        """The elements inside that have one of these names, in order of the page."""
        found = self.descendants if recursive else (child for child in self.children if isinstance(child, Tag))
        return [tag for tag in found if tag.name in names]

    def find(self, *names: str) -> Tag | None:
        """The first of them."""
        return next((tag for tag in self.descendants if tag.name in names), None)

    def find_parent(self, name: str) -> Tag | None:
        """The nearest element of this name that holds this one."""
        parent = self.parent
        while parent is not None and parent.name != name:
            parent = parent.parent
        return parent

    def get_text(self) -> str:
        """All strings inside as they are and line breaks, but nothing of scripts, styles, templates and readings."""
        if self.name == "br":
            return "\n"
        return "".join(
            child if isinstance(child, str) else "" if child.name in _APART else child.get_text()
            for child in self.children
        )

    def append(self, child: Tag | str) -> None:
        """Add the last child."""
        if isinstance(child, Tag):
            child.parent = self
        self.children.append(child)

    def extract(self) -> Self:
        """Take the element out of its parent."""
        self.replace_with("")
        return self

    def replace_with(self, text: str) -> None:
        """Put a string where the element stands."""
        if self.parent is not None:
            siblings = self.parent.children
            place = next(place for place, sibling in enumerate(siblings) if sibling is self)
            siblings[place : place + 1] = [text] if text else []
            self.parent = None


def tree_of(soup: SoupTag, parent: Tag | None = None) -> Tag:
    """The tree of a page that BeautifulSoup read; RecursionError: elements are nested too deeply."""
    tag = Tag(soup.name, {name: _plain(value) for name, value in soup.attrs.items()}, parent)
    children = tag.children
    for child in soup.contents:
        if isinstance(child, SoupTag):
            children.append(tree_of(child, tag))
        elif isinstance(child, NavigableString) and not isinstance(child, UNSEEN):
            children.append(str(child))
    return tag


def _plain(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)

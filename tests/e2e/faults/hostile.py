"""Posts that mean harm, or look as if they did. Each is bytes under a name that says what it does."""

import zlib

MIB = 1 << 20


def _laughs(levels: int) -> bytes:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(["---", *lines, f"title: *a{levels - 1}", f"tags: *a{levels - 1}", "---", "text"]).encode()


def _noise(size: int, seed: bytes) -> bytes:
    made = b""
    while len(made) < size:
        seed = zlib.compress(seed + len(made).to_bytes(4, "big"))
        made += seed
    return made[:size]


NESTED_LISTS = "\n".join("  " * depth + "- item" for depth in range(300))

POSTS: dict[str, bytes] = {
    "20,000 open brackets": b"[" * 20_000,
    "open brackets and parentheses": b"[a](" * 20_000,
    "100,000 nested quotes": b">" * 100_000 + b" end",
    "300 nested lists": NESTED_LISTS.encode(),
    "300 nested numbered lists": NESTED_LISTS.replace("-", "1.").replace("  ", "    ").encode(),
    "20,000 open divs": b"<div>" * 20_000,
    "an unclosed comment": b"text\n\n<!--" + b"-" * MIB,
    "stars": b"*" * 100_000,
    "stars and letters": b"*a_" * 50_000,
    "an unclosed fence": b"```\n" * 100_001,
    "a million spaces": b"a" + b" " * MIB + b"b",
    "a million line ends": b"a" + b"\n" * MIB + b"b",
    "a word of 8 MB": b"x" * (8 * MIB),
    "8 MB of less-than signs": b"<" * (8 * MIB),
    "5,000 footnotes in a chain": b"\n\n".join(b"a[^%d]\n\n[^%d]: note [^%d]" % (n, n, n + 1) for n in range(5_000)),
    "100,000 link definitions": b"\n".join(b"[%d]: http://x" % n for n in range(100_000)),
    "headings": b"# " * 100_000,
    "an entity of a million digits": b"&#" + b"9" * MIB + b";",
    "a million zero-width joiners": "a\u200d".encode() * (MIB // 4),
    "mojibake of mojibake": "Ã\x83Â".encode() * 100_000,
    "deep YAML in brackets": b"---\na: " + b"[" * 100_000 + b"\n---\ntext",
    "deep YAML in braces": b"---\na: " + b"{a: " * 50_000 + b"\n---\ntext",
    "billion laughs": _laughs(12),
    "a hundred laughs": _laughs(2),
    "a YAML alias of itself": b"---\na: &a [*a]\ntitle: *a\ntags: *a\n---\ntext",
    "a YAML merge of itself": b"---\na: &a\n  <<: *a\ntitle: x\n---\ntext",
    "a YAML number of a million digits": b"---\ntitle: " + b"9" * MIB + b"\n---\ntext",
    "a YAML number in base 60": b"---\ntitle: " + b"9:59" * 100_000 + b"\n---\ntext",
    "a YAML date that is none": b"---\ndate: 2019-02-31\ntitle: 0000-00-00\n---\ntext",
    "a YAML date far off": b"---\ndate: 9999-12-31T23:59:59-23:59\n---\ntext",
    "a YAML tag that runs code": b"---\ntitle: !!python/object/apply:os.system ['kill -9 $PPID']\n---\ntext",
    "a surrogate in YAML": b'---\ntitle: "\\ud800"\ntags: ["\\udfff", a]\ndate: "\\ud800"\n---\ntext',
    "a zero in YAML": b'---\ntitle: "a\\0b"\ntags: ["\\0"]\n---\ntext',
    "a surrogate in TOML": b'+++\ntitle = "\\ud800"\n+++\ntext',
    "a surrogate in JSON": b'{"title": "\\ud800", "tags": ["\\udfff"], "date": "\\ud800"}\n\ntext',
    "deep JSON": b'{"a": ' + b"[" * 100_000,
    "a JSON number of a million digits": b'{"title": ' + b"9" * MIB + b"}\n\ntext",
    "a JSON number that is none": b'{"title": NaN, "date": Infinity, "tags": [1e999]}\n\ntext',
    "a surrogate in UTF-8": b"a \xed\xa0\x80 b " * 20,
    "a surrogate in UTF-16": b"\xff\xfea\0\x00\xd8b\0" + "many more words ".encode("utf-16-le") * 20,
    "half a UTF-16 letter": b"\xff\xfea\0b",
    "a surrogate as an entity": b"a &#xD800; b &#55296; c &#x110000; d &#0; e",
    "zero bytes": b"a\0b\0c words and words\0",
    "nothing but zero bytes": b"\0" * MIB,
    "a byte-order mark": b"\xef\xbb\xbf",
    "noise": _noise(MIB, b"noise"),
    "Liquid that never ends": b"{% raw %}" * 50_000,
    "Liquid within Liquid": b"{% if a %}" * 20_000 + b"x" + b"{% endif %}" * 20_000,
    "braces": b"{{" * 100_000,
    "shortcodes in shortcodes": b"{{< a >}}" * 20_000 + b"x" + b"{{< /a >}}" * 20_000,
    "wikilinks in wikilinks": b"[[" * 50_000 + b"]]" * 50_000,
    "formulas in lines": b"$$\n" * 100_001,
}

SUFFIXED: dict[str, tuple[str, bytes]] = {
    "JSX in JSX": (".mdx", b"<A>" * 20_000 + b"x" + b"</A>" * 20_000),
    "expressions in expressions": (".mdx", b"{" * 100_000),
    "an import that never ends": (".mdx", b"import {" + b"a, " * 100_000),
    "an export that never ends": (".mdx", b"export const a = `" + b"${" * 50_000),
    "HTML of attributes": (".html", b"<p " + b"a=b " * 200_000 + b">x</p>"),
    "HTML of tables in tables": (".html", b"<table><tr><td>" * 20_000 + b"x"),
    "HTML of one script": (".html", b"<script>" + b"<" * MIB),
    "an HTML doctype of entities": (
        ".html",
        b'<!DOCTYPE html [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><p>&b; text</p>',
    ),
    "text of one line": (".txt", b"word " * (8 * MIB // 5)),
}


def named() -> dict[str, bytes]:
    """All of them by the path to send them under."""
    posts = {f"{name}.md": content for name, content in POSTS.items()}
    return posts | {f"{name}{suffix}": content for name, (suffix, content) in SUFFIXED.items()}

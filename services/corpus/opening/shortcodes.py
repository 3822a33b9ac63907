"""Shortcodes: WordPress' post content as it is stored -> the HTML that WordPress makes of it.

Gutenberg keeps HTML between comments; older posts are text whose blank lines are paragraphs. Both hold
`[shortcodes]`. Captions and code stay as HTML; players, galleries and forms go; any other pair of tags goes and what
it encloses stays. Brackets that are prose (`[sic]`, `[1]`) stay. Every pass takes time linear in the length.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_TAG = re.compile(r"(?P<open>\[\[?)(?P<end>/?)(?P<name>[A-Za-z][\w-]*)(?P<rest>(?:[\s=/][^\[\]]*)?)(?P<close>\]\]?)")
_QUOTED = re.compile(r"""\s[\w-]+\s*=\s*["'\u201c\u2033]""")
_CAPTION = re.compile(r"""\bcaption=(?:"([^"]*)"|'([^']*)')""")
_IMAGE = re.compile(r"(?:<a\b[^<>]*>\s*)?<img\b[^<>]*>(?:\s*</a>)?")
_VERBATIM = re.compile(r"<(/?)(pre|code|script|style|textarea|svg)\b", re.IGNORECASE)
_BLOCK_TAG = re.compile(
    r"(</?(?:address|article|aside|blockquote|caption|center|col|colgroup|dd|details|div|dl|dt|fieldset|"
    r"figcaption|figure|footer|form|h[1-6]|header|hr|iframe|legend|li|main|nav|object|ol|p|pre|section|summary|table|"
    r"tbody|td|tfoot|th|thead|tr|ul)(?=[\s/>])[^<>]*>)",
    re.IGNORECASE,
)
# Text directly inside one of these is no paragraph.
_LINE_TAG = re.compile(
    r"<(?:h[1-6]|li|td|th|dt|dd|figcaption|caption|summary|legend|p)(?=[\s/>])[^<>]*>", re.IGNORECASE
)
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_KEPT = re.compile("\x02(\\d+)\x03")  # stands for something that must not be looked into
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f]")
_COMMENT_START = re.compile(r"<!--\s+(/?)wp:([\w/-]+)")
_EMBEDDED = re.compile(
    r"^[ \t]*https?://(?:[\w-]+\.)*(?:youtube\.com|youtu\.be|vimeo\.com|twitter\.com|x\.com|instagram\.com|flickr\.com|"
    r"soundcloud\.com|spotify\.com|tiktok\.com|slideshare\.net|ted\.com|dailymotion\.com|reddit\.com|imgur\.com|"
    r"wordpress\.tv|videopress\.com|facebook\.com|bandcamp\.com|mixcloud\.com|scribd\.com|kickstarter\.com)/\S*[ \t]*$",
    re.MULTILINE,
)
_EMBED_BLOCK = re.compile(r'(<div class="wp-block-embed__wrapper">)\s*https?://[^\s<]+\s*(?=</div>)')


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What they enclose is an address or the settings of a machine, not words.
_MACHINES = _names(
    "embed gallery playlist audio video wpvideo youtube vimeo tweet twitter soundcloud spotify instagram flickr gist "
    "googlemaps googlemap map maps polldaddy poll slideshare slideshow scribd dailymotion ted tiktok facebook "
    "contact-form contact-form-7 contact-field gravityform gravityforms ninja_form wpforms mc4wp_form form "
    "archives blog_subscription_form jetpack_subscription_form recent_posts related_posts sitemap toc ad ads adsense "
    "do_widget rev_slider smartslider3 nggallery ngg table more iframe bandcamp mixcloud kml_flashembed flash "
    "add_to_cart products product woocommerce_cart woocommerce_checkout donate paypal share shareaholic "
    "latest-selfie tribe_events portfolio testimonials"
)
# These hold code, as it was typed or with its HTML escaped.
_CODE = _names(
    "code sourcecode source codeblock crayon cc prettify highlight php html css xml sql js javascript python ruby bash "
    "shell java csharp cpp perl text plain"
)
# These enclose words, with or without a closing tag.
_WRAPPERS = _names(
    "caption wp_caption pullquote dropcap one_half one_third two_third one_half_last one_third_last nbsp br "
    "su_box su_note su_quote su_heading su_spacer su_divider clear "
    "vc_row vc_column vc_column_text et_pb_section et_pb_row et_pb_column et_pb_text"
)


def to_html(content: str) -> str:
    """The HTML of a post's stored content, without shortcodes and with its paragraphs marked.

    Args:
        content: as WordPress keeps it, `content:encoded` in an export.
    """
    content = _CONTROLS.sub("", content.replace("\r\n", "\n").replace("\r", "\n"))
    content = _EMBED_BLOCK.sub(r"\1", content)
    content = _without_shortcodes(content)
    if _COMMENT_START.search(content):
        return "".join(text if is_block else _paragraphs(text) for is_block, text in _gutenberg(content))
    return _paragraphs(content)


def _without_shortcodes(content: str) -> str:
    """Turn captions and code into HTML, and take out the other shortcodes; code stays as it is."""
    content = "".join(text if is_code else _code_to_html(text) for is_code, text in _verbatim(content))
    return "".join(text if is_code else _strip(text) for is_code, text in _verbatim(content))


def _code_to_html(text: str) -> str:
    """`[code lang="x"]…[/code]` as a block of code."""
    out: list[str] = []
    done = 0
    tags = list(_TAG.finditer(text))
    for index, tag in enumerate(tags):
        name = tag["name"].lower()
        if tag.start() < done or tag["end"] or name not in _CODE or tag["open"] == "[[":
            continue
        end = next((other for other in tags[index + 1 : index + 200] if _ends(other, name)), None)
        if end is None:
            continue
        code = html.unescape(text[tag.end() : end.start()])
        out += [text[done : tag.start()], "<pre><code>", html.escape(code.strip("\n")), "</code></pre>"]
        done = end.end()
    return "".join([*out, text[done:]])


def _strip(text: str) -> str:
    """Take out what is not code."""
    tags = list(_TAG.finditer(text))
    ends = {tag["name"].lower(): tag.start() for tag in tags if tag["end"]}  # the last one of each
    out: list[str] = []
    captions = 0  # figures that are open
    done = 0
    for index, tag in enumerate(tags):
        if tag.start() < done:
            continue
        out.append(text[done : tag.start()])
        done = tag.end()
        name, is_end = tag["name"].lower(), tag["end"] == "/"
        has_end = not is_end and ends.get(name, -1) > tag.start()
        if tag["open"] == "[[" and tag["close"] == "]]":  # how an author quotes a shortcode
            out.append(tag.group()[1:-1])
            continue
        if not (_is_machine(text, tag, has_end) or name in _WRAPPERS or name in ends or _QUOTED.search(tag["rest"])):
            out.append(tag.group())
            continue
        out.append("[" * (len(tag["open"]) - 1))
        if name in ("caption", "wp_caption"):
            if is_end and captions:
                out.append("</figcaption></figure>")
                captions -= 1
            elif has_end:
                found = _CAPTION.search(tag["rest"])
                image = _IMAGE.match(text, done + len(text[done : done + 50]) - len(text[done : done + 50].lstrip()))
                done = image.end() if image else done
                words = (found[1] or found[2] or "") if found else ""
                out.append(f"<figure>{image.group() if image else ''}<figcaption>{words}")
                captions += 1
        elif has_end and name in _MACHINES and not tag["rest"].rstrip().endswith("/"):
            end = next((other for other in tags[index + 1 : index + 20] if _ends(other, name)), None)
            done = end.end() if end else done
        out.append("]" * (len(tag["close"]) - 1))
    return "".join([*out, text[done:], "</figcaption></figure>" * captions])


def _ends(tag: re.Match[str], name: str) -> bool:
    return tag["end"] == "/" and tag["name"].lower() == name


def _is_machine(text: str, tag: re.Match[str], has_end: bool) -> bool:
    """Whether a tag is a player, a form or the like, and not a bare `[map]` in a sentence."""
    if tag["name"].lower() not in _MACHINES:
        return False
    return bool(tag["rest"]) or has_end or tag["end"] == "/" or not _is_word(text, tag)


def _is_word(text: str, tag: re.Match[str]) -> bool:
    """Whether a bare `[map]` stands in a sentence, and not on a line of its own."""
    before = text[max(0, tag.start() - 200) : tag.start()].rpartition("\n")[2]
    after = text[tag.end() : tag.end() + 200].partition("\n")[0]
    return bool(re.sub(r"<[^<>]*>", "", before).strip() or re.sub(r"<[^<>]*>", "", after).strip())


def _verbatim(text: str) -> Iterator[tuple[bool, str]]:
    """Parts of the text, each with whether it is inside an element whose content is not prose."""
    start = 0
    name = ""
    for found in _VERBATIM.finditer(text):
        if not name and not found[1]:
            yield False, text[start : found.start()]
            start, name = found.start(), found[2].lower()
        elif name and found[1] and found[2].lower() == name:
            end = text.find(">", found.end())
            end = len(text) if end < 0 else end + 1
            yield True, text[start:end]
            start, name = end, ""
    yield bool(name), text[start:]


def _gutenberg(content: str) -> Iterator[tuple[bool, str]]:
    """Parts of a post, each with whether it is inside a block; the others are text of the old kind."""
    start = depth = 0
    freeform = False
    for found in _COMMENT_START.finditer(content):
        if found.start() < start:
            continue
        end = content.find("-->", found.end())
        if end < 0:
            break
        yield depth > 0 and not freeform, content[start : found.start()]
        if found[1]:
            depth = max(0, depth - 1)
        elif not content[found.end() : end].rstrip().endswith("/"):
            depth += 1
        freeform = found[2] == "freeform" and not found[1]
        start = end + 3
    yield depth > 0, content[start:]


def _paragraphs(text: str) -> str:
    """Mark paragraphs, which blank lines part, and line breaks; blocks of HTML and code stay as they are."""
    kept: list[str] = []
    out: list[str] = []
    for is_verbatim, part in _verbatim(text):
        if is_verbatim:
            kept.append(part)
            blank = "" if part[:5].lower() == "<code" else "\n\n"
            out.append(f"{blank}\x02{len(kept) - 1}\x03{blank}")
        else:
            out.append(_BLOCK_TAG.sub(r"\n\n\1\n\n", _EMBEDDED.sub("", part)))
    chunks: list[str] = []
    is_inside = False  # an element that holds a line, and no paragraph
    for chunk in _BLANK_LINES.split("".join(out)):
        stripped = chunk.strip()
        if not stripped:
            continue
        is_code = _KEPT.fullmatch(stripped) and kept[int(stripped[1:-1])][:5].lower() != "<code"
        if is_code or _BLOCK_TAG.fullmatch(stripped):
            chunks.append(stripped)
        else:
            line = re.sub(r"(?<!<br />)(?<!<br>)(?<!<br/>)\n", "<br />\n", stripped)
            chunks.append(line if is_inside else f"<p>{line}</p>")
        is_inside = _LINE_TAG.fullmatch(stripped) is not None
    return _KEPT.sub(lambda found: kept[int(found[1])], "\n\n".join(chunks))

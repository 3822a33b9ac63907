"""A generated blog: posts as people write them in form, without sense. The same number gives the same post anywhere."""

from __future__ import annotations

import random
from pathlib import Path


def _words(text: str) -> list[str]:
    return text.split()


_COMMON = _words(
    "the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out many "
    "then them these so some her would make like him into time has look two more write go see number no way could "
    "people my than first water been call who oil its now find long down day did get come made may part over new sound "
    "take only little work know place year live me back give most very after thing our just name good sentence man "
    "think say great where help through much before line right too mean old any same tell boy follow came want show "
    "also around form three small set put end does another well large must big even such because turn here why ask "
    "went men read need land different home us move try kind hand picture again change off play spell air away animal "
    "house point page letter mother answer found study still learn should world"
)
_STARTS = _words("br cl cr dr fl gr pl pr st str tr b d f g h l m n p r s t v w")
_MIDDLES = _words("a e i o u ai ea oo ou")
_ENDS = _words("ck ld ll mp nd ng nt rd rk rm rn rt sh st t n m p g d")
_RARE = [a + b + c for a in _STARTS for b in _MIDDLES for c in _ENDS]  # 4,500 words, seldom used


def post(number: int, words: int = 800) -> str:
    """A post of about `words` words with front matter, as Markdown."""
    draw = random.Random(number)
    tags = ", ".join(draw.sample(_COMMON, draw.randrange(1, 4)))
    parts = [
        f"---\ntitle: {_sentence(draw, 5).title()[:-1]}\ndate: {_day(number)}\ntags: [{tags}]\n---",
    ]
    written = 0
    while written < words:
        part = _part(draw, number)
        written += len(part.split())
        parts.append(part)
    return "\n\n".join(parts) + "\n"


def write_blog(folder: Path, num_posts: int, words: int = 800) -> None:
    """Write posts into `folder`, a folder a year."""
    for number in range(num_posts):
        day = _day(number)
        file = folder / day[:4] / f"{day}-post-{number}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(post(number, words), encoding="utf-8")


def _day(number: int) -> str:
    return f"{2006 + number // 336 % 18}-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}"


def _part(draw: random.Random, number: int) -> str:
    kind = draw.random()
    if kind < 0.62:
        return _wrapped(_prose(draw, draw.randrange(40, 110)), draw)
    if kind < 0.72:
        return f"{'#' * draw.choice((2, 2, 3))} {_sentence(draw, 5)[:-1]}"
    if kind < 0.82:
        marker = draw.choice(("-", "*", "1."))
        return "\n".join(f"{marker} {_prose(draw, draw.randrange(6, 22))}" for _ in range(draw.randrange(3, 7)))
    if kind < 0.87:
        return "```python\n" + "\n".join(f"{draw.choice(_RARE)} = call({line})" for line in range(6)) + "\n```"
    if kind < 0.92:
        return "> " + _prose(draw, draw.randrange(20, 50))
    if kind < 0.96:
        return f"![{_sentence(draw, 6)[:-1]}](/images/{number}/{draw.choice(_RARE)}.jpg)"
    if kind < 0.98:
        rows = "\n".join(f"| {draw.choice(_RARE)} | {draw.randrange(100)} |" for _ in range(4))
        return f"| Name | Number |\n|------|-------:|\n{rows}"
    if kind < 0.995:
        name = draw.choice(_RARE)
        return f"{_prose(draw, 30)}[^{name}]\n\n[^{name}]: {_prose(draw, 12)}"
    return f'<div class="note">\n{_sentence(draw, 20)}<br>\n{_sentence(draw, 12)}\n</div>'


def _prose(draw: random.Random, words: int) -> str:
    sentences = []
    while words > 0:
        length = min(words, draw.randrange(6, 24))
        sentences.append(_sentence(draw, length))
        words -= length
    return " ".join(sentences)


def _sentence(draw: random.Random, words: int) -> str:
    chosen = [draw.choice(_COMMON) if draw.random() < 0.75 else draw.choice(_RARE) for _ in range(words)]
    at = draw.randrange(words)
    mark = draw.random()
    if mark < 0.09:
        chosen[at] = f"[{chosen[at]} {draw.choice(_RARE)}](https://example.org/{chosen[at]}/{draw.randrange(1000)})"
    elif mark < 0.17:
        chosen[at] = f"*{chosen[at]}*"
    elif mark < 0.20:
        chosen[at] = f"**{chosen[at]}**"
    elif mark < 0.24:
        chosen[at] = f"`{chosen[at]}()`"
    elif mark < 0.26:
        chosen[at] += " &mdash;"
    elif mark < 0.28:
        chosen[at] += "’s"
    chosen[0] = chosen[0][:1].upper() + chosen[0][1:]
    return " ".join(chosen) + draw.choice(("." * 6) + "!?")


def _wrapped(text: str, draw: random.Random) -> str:
    """Half of the posts' paragraphs are one line, half are broken as an editor does."""
    if draw.random() < 0.5:
        return text
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) > 90:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])

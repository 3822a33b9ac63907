"""Quality: scores of a text from 0 to 1, for a person to look at. No rule leaves a post out by them.

Such measures sort web pages: Gopher's (J. Rae et al., "Scaling Language Models", 2021, table A1), C4's (C. Raffel et
al., 2020, section 2.2) and FineWeb's (G. Penedo et al., 2024). As filters they would throw out half of a technical
blog, which is why they are only shown. 1 is always what prose has.
"""

from __future__ import annotations

import re

_MAX_CHARACTERS = 20_000  # of a text; what follows is not looked at
_MAX_WORD = 20
_ENDINGS = ".!?:…\"'”’)»。！？"
_SYMBOLS = "#{}<>|\\^~=_$*@[]"
_CODE = re.compile(r"\s*(?:[$>#] |[\w.]+\([^\n]*\)$|(?:def|class|import|return|let|var|const|fn|if) [^\n]*[:;{(=]$)")


def quality(text: str) -> dict[str, float]:
    """Scores by name, each rounded to three digits; empty for a text without words.

    `words`: share of words with a letter (Gopher asks for 0.8). `word_length`: 1 for a mean of 3 to 10 letters, as
    Gopher has it, less beyond. `symbols`: 1 without signs of markup and code, 0 from one in ten characters.
    `endings`: share of lines of prose that end like a sentence (C4; FineWeb asks for 0.12). `unrepeated`: share of
    characters in lines that did not come before (Gopher asks for 0.8). `prose`: share of lines that are no code.
    """
    text = text[:_MAX_CHARACTERS]
    words = text.split()
    if not words:
        return {}
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    num_letters = len(text) - text.count(" ") - text.count("\n")
    mean = num_letters / len(words)
    others = [word for word in words if not word[0].isalpha()]
    num_words = len(words) - sum(1 for word in others if not any(map(str.isalpha, word)))
    num_code = sum(1 for line in lines if line.startswith(("    ", "\t")) or line[-1] in ";{}\\" or _CODE.match(line))
    long = [line for line in lines if len(line) > 40]
    num_ended = sum(1 for line in long if line[-1] in _ENDINGS)
    unique = sum(map(len, set(lines))) / sum(map(len, lines))
    scores = {
        "words": num_words / len(words),
        "word_length": min(1.0, mean / 3, max(0.0, (_MAX_WORD - mean) / (_MAX_WORD - 10))),
        "symbols": max(0.0, 1 - 10 * sum(map(text.count, _SYMBOLS)) / num_letters),
        "endings": num_ended / len(long) if long else 0.0,
        "unrepeated": unique,
        "prose": 1 - num_code / len(lines),
    }
    return {name: round(score, 3) for name, score in scores.items()}

"""Blogs for the trials: the same seed gives the same posts, and two seeds share none.

A blog has a state before and one after: posts changed, added and removed, besides some that stay out.
"""

import random
import zipfile
from pathlib import Path

SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def posts(seed: int, number: int, *, later: bool = False) -> dict[str, str]:
    """The blog's posts by path.

    Args:
        number: how many posts it has, at least 20.
        later: after a tenth was removed, a tenth added and a tenth changed.
    """
    made = {}
    for index in range(number):
        if later and index % 10 == 1:
            continue
        made[f"{2010 + index % 9}/post-{index:04}.md"] = _post(seed, index, is_changed=later and index % 10 == 2)
    if later:
        for index in range(number, number + number // 10):
            made[f"2019/post-{index:04}.md"] = _post(seed, index, is_changed=False)
    first = sorted(made)[0]
    made["twin.md"] = made[first]
    made["empty.md"] = "---\ntitle: nothing\n---\n"
    made["draft.md"] = f"---\ndraft: true\n---\nNot yet {seed}.\n"
    made["broken.md"] = f"---\ntitle: [\n---\n\nThe front matter of {seed} is broken, its text is not.\n"
    return made


def write(folder: Path, made: dict[str, str]) -> Path:
    """Write posts below `folder` and return it."""
    for path, text in made.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def pack(folder: Path, made: dict[str, str]) -> Path:
    """Write posts into one archive in `folder` and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "blog.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in made.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return folder


def _post(seed: int, index: int, *, is_changed: bool) -> str:
    drawn = random.Random(f"{seed} {index} {is_changed}")

    def sentence() -> str:
        words = ["".join(drawn.choices(SYLLABLES, k=drawn.randint(1, 4))) for _ in range(drawn.randint(5, 14))]
        return " ".join(words).capitalize() + "."

    def paragraph() -> str:
        return " ".join(sentence() for _ in range(drawn.randint(3, 8)))

    parts = [
        f"---\ntitle: Post {index} of {seed}\ndate: 201{index % 9}-0{1 + index % 9}-1{index % 10}\ntags: [a, b]\n---",
        paragraph(),
        f"## {sentence()}",
        f"{paragraph()} [{sentence()}](https://example.org/{index}) *{sentence()}*",
        "\n".join(f"- {sentence()}" for _ in range(4)),
        f"> {paragraph()}",
        "```python\nprint('x')\n```",
        f"| a | b |\n|---|---|\n| {index} | {sentence()} |",
        *(paragraph() for _ in range(3)),
    ]
    return "\n\n".join(parts) + "\n"

"""The classifier tells what can be told, and nothing else."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.admin.game.classifier import MIN_EXCERPTS, accuracy, balanced, folds, n_grams
from services.admin.game.excerpts import Excerpt, cut, openings_first
from services.client.post import parse

ROOT = Path(__file__).parents[4]
ENGLISH = re.findall(r"\w+", "the river went out and I walked home with the dog by the old wall because it was late")
GERMAN = re.findall(r"\w+", "der Fluss ging hinaus und ich lief mit dem Hund an der alten Mauer heim weil es spät war")


def made(words, seed, posts=20, per_post=2):
    """Excerpts of words in random order."""
    chance = random.Random(seed)
    return [
        Excerpt(" ".join(chance.choices(words, k=80)), post=f"{seed}-{post}", title="", is_opening=place == 0)
        for post in range(posts)
        for place in range(per_post)
    ]


def blog():
    posts = []
    for path in sorted((ROOT / "deploy" / "sample_blog").glob("*.md")):
        body = path.read_text(encoding="utf-8").split("---", 2)[-1]
        posts.append(cut(parse(body).body, post=path.name))
    return [post for post in posts if post]


def test_random_halves_of_one_blog_cannot_be_told_apart():
    shares = []
    for seed in range(6):
        posts = blog()
        random.Random(seed).shuffle(posts)
        middle = len(posts) // 2
        share = accuracy(openings_first(posts[:middle], 40), openings_first(posts[middle:], 40))
        shares.append(share.value)
        assert share.total == 80
    assert 0.4 < sum(shares) / len(shares) < 0.6


def test_two_languages_are_told_apart():
    share = accuracy(made(ENGLISH, 1), made(GERMAN, 2))
    assert (share.count, share.total) == (80, 80)


def test_what_is_the_same_on_both_sides_is_told_by_chance_alone():
    shares = [accuracy(made(ENGLISH, seed), made(ENGLISH, 100 + seed)).value for seed in range(8)]
    assert 0.35 < sum(shares) / len(shares) < 0.65


def test_a_subject_that_one_post_alone_has_helps_nobody():
    # Each post has a letter of its own; a classifier that learned from half of a post would know the other half.
    def posts(seed):
        return [
            Excerpt(excerpt.text + chr(0x3400 + 100 * seed + number // 4) * 30, excerpt.post, "", excerpt.is_opening)
            for number, excerpt in enumerate(made(ENGLISH, seed, posts=10, per_post=4))
        ]

    assert accuracy(posts(1), posts(2)).value < 0.75
    for side in (posts(1), posts(2)):
        parts = folds(side, 5)
        assert sorted(map(len, parts)) == [8] * 5
        homes = [{excerpt.post for excerpt in part} for part in parts]
        assert sum(map(len, homes)) == len(set().union(*homes)) == 10


def test_both_sides_have_as_many_excerpts_and_openings():
    real, generated = balanced(made(ENGLISH, 1, posts=2, per_post=6), made(ENGLISH, 2, posts=20, per_post=2))
    assert len(real) == len(generated) == 12
    assert sum(each.is_opening for each in real) == sum(each.is_opening for each in generated) == 2


def test_the_same_excerpts_give_the_same_share_in_any_order_and_process():
    real, generated = made(ENGLISH[:12], 1), made(ENGLISH[6:], 2)
    expected = accuracy(real, generated)
    assert accuracy(real[::-1], generated[::-1]) == expected
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_classifier import *\n"
        "share = accuracy(made(ENGLISH[:12], 1), made(ENGLISH[6:], 2))\n"
        "print(share.count, share.total)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.split() == [str(expected.count), str(expected.total)]


@pytest.mark.parametrize(
    ("real", "generated"),
    [
        ([], made(ENGLISH, 2)),
        (made(ENGLISH, 1), []),
        (made(ENGLISH, 1, posts=MIN_EXCERPTS - 1, per_post=1), made(ENGLISH, 2)),
        (made(ENGLISH, 1, posts=1, per_post=20), made(ENGLISH, 2, posts=1, per_post=20)),
    ],
)
def test_too_few_excerpts_or_posts_are_refused(real, generated):
    assert accuracy(real, generated) is None


def test_n_grams_go_across_spaces_and_keep_case():
    grams = n_grams("A b")
    assert grams["A b"] == grams[" A b"] == grams["A b "] == 1
    assert grams[" "] == 3 and "a" not in grams
    assert max(map(len, grams)) == 4

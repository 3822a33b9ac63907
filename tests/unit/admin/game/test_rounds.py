"""Rounds, players and scores."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.admin.game import rounds as module
from services.admin.game.rounds import Rounds
from services.admin.game.share import Share
from services.admin.game.version import Version
from tests.unit.admin.game.conftest import excerpts


def play(rounds, version, player, right):
    """Deal and answer one round."""
    dealt = rounds.open(version, player)
    other = {"left": "right", "right": "left"}[dealt.real_side]
    return rounds.answer(dealt.id, player, dealt.real_side if right else other)


def test_a_round_shows_one_excerpt_of_each_side_alike_in_place(rounds, stocked):
    for _ in range(8):
        told = play(rounds, stocked, "ann", right=True)
        by_side = dict(zip(("left", "right"), told.texts, strict=True))
        real = by_side.pop(told.real_side)
        (made,) = by_side.values()
        assert real.startswith("real") and made.startswith("made")
        assert int(real.split()[2][:-1]) % 2 == int(made.split()[2][:-1]) % 2
        assert told.title == f"Title {real.split()[2][:-1]}"


def test_a_round_stays_open_until_it_is_answered(rounds, stocked):
    dealt = rounds.open(stocked, "ann")
    assert rounds.open(stocked, "ann") == dealt
    assert dealt.guess == ""
    rounds.answer(dealt.id, "ann", "left")
    assert rounds.open(stocked, "ann").id != dealt.id


@pytest.mark.parametrize("first_right", [True, False])
def test_a_second_guess_changes_nothing(rounds, stocked, first_right):
    first = play(rounds, stocked, "ann", right=first_right)
    for guess in ("left", "right"):
        assert rounds.answer(first.id, "ann", guess) == first
    assert rounds.score(stocked, "ann").own == (first_right,)
    assert rounds.score(stocked, "ann").wrong == Share(int(not first_right), 1)


def test_the_side_of_the_real_one_is_drawn_by_lot(database, stocked):
    rounds = Rounds(database, random.Random(5))
    sides = [rounds.open(stocked, f"player {number}").real_side for number in range(60)]
    assert 15 < sides.count("left") < 45


def test_a_round_is_its_players_alone(rounds, stocked):
    dealt = rounds.open(stocked, "ann")
    assert rounds.show(dealt.id, "bob") is None
    assert rounds.answer(dealt.id, "bob", "left") is None
    assert rounds.show(dealt.id, "ann").guess == ""
    assert rounds.answer("unheard-of", "ann", "left") is None


def test_a_guess_is_left_or_right(rounds, stocked):
    with pytest.raises(ValueError, match="both"):
        rounds.answer(rounds.open(stocked, "ann").id, "ann", "both")


def test_a_round_counts_only_with_posts_that_its_player_has_not_met(rounds, stocked):
    told = [play(rounds, stocked, "ann", right=True) for _ in range(4)]
    posts = [int(text.split()[2][:-1]) // 2 for each in told for text in each.texts]
    assert sorted(posts) == sorted(2 * [0, 1, 2, 3]) and all(each.counts for each in told)
    assert rounds.score(stocked, "ann").num_left == 0
    assert not play(rounds, stocked, "ann", right=True).counts


def test_nobody_meets_an_excerpt_twice_before_all_are_met(rounds, stocked):
    told = [play(rounds, stocked, "ann", right=False) for _ in range(10)]
    assert len({text for each in told[:8] for text in each.texts}) == 16
    assert [each.counts for each in told] == [True] * 4 + [False] * 6
    score = rounds.score(stocked, "ann")
    assert score.wrong == Share(4, 4) and score.num_left == 0 and len(score.own) == 10
    assert rounds.open(stocked, "bob").counts


def test_a_round_counts_only_with_a_generated_post_that_its_player_has_not_met(rounds, store, version):
    store.put(version, excerpts(8, side="real"), real=True)
    store.put(version, excerpts(4, side="made"), real=False)  # two posts
    told = [play(rounds, version, "ann", right=True) for _ in range(4)]
    assert [each.counts for each in told] == [True] * 2 + [False] * 2
    met = [text for each in told for text in each.texts]
    assert len(set(met)) == 8
    assert rounds.score(version, "ann").wrong == Share(0, 2)


def test_a_round_that_counts_shows_an_opening_beside_an_opening(rounds, store, version):
    store.put(version, excerpts(8, side="real"), real=True)
    store.put(version, [each for each in excerpts(8, side="made") if each.is_opening], real=False)
    told = [play(rounds, version, "ann", right=True) for _ in range(5)]
    assert [each.counts for each in told] == [True] * 4 + [False]
    for each in told[:4]:
        assert all(int(text.split()[2][:-1]) % 2 == 0 for text in each.texts)


def test_the_score_is_of_a_version_and_over_all_players(rounds, store, stocked):
    other = Version("run1", 4, "blog-1", "later")
    store.put(other, excerpts(4, side="real"), real=True)
    store.put(other, excerpts(4, side="made"), real=False)
    play(rounds, stocked, "ann", right=True)
    play(rounds, stocked, "bob", right=False)
    play(rounds, other, "bob", right=False)
    rounds.open(other, "cid")  # no answer yet
    assert rounds.all_wrong() == {stocked: Share(1, 2), other: Share(1, 1)}
    assert rounds.score(stocked, "bob").own == (False,)
    assert rounds.score(stocked, "cid").wrong == Share(1, 2)


def test_many_players_at_once_lose_no_answer(database, stocked):
    def session(player):
        for number in range(8):
            play(Rounds(database), stocked, player, right=bool(number % 2))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(session, [f"player {number}" for number in range(6)]))
    assert Rounds(database).score(stocked, "player 0").wrong == Share(12, 24)


def test_a_round_that_nobody_answers_is_forgotten(rounds, stocked, monkeypatch):
    old = rounds.open(stocked, "ann")
    monkeypatch.setattr(module, "OPEN_S", -1.0)
    assert rounds.open(stocked, "bob").id
    assert rounds.answer(old.id, "ann", "left") is None
    assert rounds.score(stocked, "ann").own == ()


def test_without_excerpts_of_both_sides_there_is_no_round(rounds, store, version):
    assert rounds.open(version, "ann") is None
    store.put(version, excerpts(4, side="real"), real=True)
    assert rounds.open(version, "ann") is None
    assert rounds.score(version, "ann").wrong is None

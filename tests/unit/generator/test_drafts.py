"""Drafts change how fast a text is written, and nothing of what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.generator.drafter import LEVELS, MOST, Drafter
from services.generator.drafts import Drafts
from services.generator.engine import Chunk
from services.generator.events import Text
from services.generator.generation import Generation
from services.generator.loop import Loop
from services.generator.pay import Pay
from services.generator.scheduler import Work
from services.generator.sequence import Sequence
from services.sampling.parameters import SamplingParameters
from services.tokens.corpus_index import CorpusIndex
from tests.unit.generator.fakes import END, DreamingEngine, SpellingEngine, codec, request, scheduler, spell
from tests.unit.tokens.brute_force import make_index

STORY = "Once upon a time, naïve owls wrote posts of owls who wrote posts of owls who wrote posts."
CODEC = codec()


def corpus(*texts: str) -> CorpusIndex:
    return make_index([list(text.encode()) for text in texts], end=END)


def texts_of(engine: SpellingEngine, drafts: Drafts | None, requests: list[Any]) -> list[list[tuple[int, list[int]]]]:
    """What each request gets, all of them at once: by sample its ids, in order."""
    loop = Loop("test", engine, scheduler(engine, prefill_tokens=6), drafts=drafts)
    try:
        generations = [Generation(wanted, CODEC, engine.context) for wanted in requests]
        for generation in generations:
            loop.submit(generation)
        found = []
        for generation in generations:
            ids: dict[int, list[int]] = {}
            for event in generation.events():
                if isinstance(event, Text):
                    ids.setdefault(event.index, []).extend(event.ids)
            found.append(sorted(ids.items()))
        assert loop.blocks_held[0] == 0
        return found
    finally:
        loop.stop()


@pytest.fixture
def even_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each step take as long as any other, as those of a large model do; the tests' engine takes as long per id."""
    observe = Pay.observe_step
    monkeypatch.setattr(Pay, "observe_step", lambda pay, rows, tokens, seconds: observe(pay, rows, tokens, 1.0))


@pytest.mark.usefixtures("even_steps")
def test_a_text_of_the_corpus_is_written_in_few_steps() -> None:
    plain, drafted = (SpellingEngine(spell(STORY), context=128) for _ in range(2))
    wanted = [request(max_new_tokens=100)]
    expected = texts_of(plain, None, wanted)
    assert texts_of(drafted, Drafts(corpus(STORY), 128), wanted) == expected
    assert bytes(expected[0][0][1]).decode() == STORY
    assert len(drafted.steps) < len(plain.steps) / 3


@pytest.mark.usefixtures("even_steps")
def test_without_a_corpus_a_text_is_a_draft_of_itself() -> None:
    story = "owls wrote posts. " * 5
    plain, drafted = (SpellingEngine(spell(story), context=128) for _ in range(2))
    wanted = [request(max_new_tokens=100)]
    assert texts_of(drafted, Drafts(None, 128), wanted) == texts_of(plain, None, wanted)
    assert len(drafted.steps) < len(plain.steps) / 1.5


@pytest.mark.parametrize("slide", [False, True])
@pytest.mark.parametrize(
    "rules",
    [
        {"temperature": 1.0},
        {"temperature": 0.0},
        {"temperature": 0.7, "top_k": 3, "repetition_penalty": 1.2},
        {"temperature": 1.0, "no_repeat_ngram": 2, "frequency_penalty": 0.5},
    ],
    ids=str,
)
def test_texts_are_the_same_with_drafts_and_without(rules: dict[str, Any], slide: bool) -> None:
    sampling = SamplingParameters(**({"top_k": 4} | rules))
    wanted = [
        request(
            prompt,
            sampling=sampling,
            seed=seed,
            n=2,
            best_of=2,
            max_new_tokens=40 + seed,
            slide=slide,
            stop=("q", "zz") if seed % 2 else (),
        )
        for seed, prompt in enumerate([b"", b"owls", b"owls wrote posts of owls", b"x" * 20])
    ]
    plain = texts_of(DreamingEngine(num_slots=4, context=48, block_size=4), None, wanted)
    # What the model writes is the corpus: drafts are right until the texts part.
    written = [bytes(ids) for samples in plain for _, ids in samples]
    index = make_index([list(text) for text in written], end=END)
    for drafts in (Drafts(index, 48), Drafts(None, 48)):
        assert texts_of(DreamingEngine(num_slots=4, context=48, block_size=4), drafts, wanted) == plain


def test_a_drafter_looks_up_the_longest_end_of_the_text() -> None:
    index = corpus("the owl flew off", "an owl wrote a post")
    drafter = Drafter(index, list(b"and then an o"))
    for byte in b"wl":
        drafter.push(byte)
    assert bytes(drafter.propose(8)) == b" wrote a"
    assert drafter.level == len("an owl").bit_length() == 3
    drafter.push(ord("!"))
    assert (drafter.level, drafter.propose(8)) == (0, [])


def test_behind_a_short_run_the_usual_is_proposed() -> None:
    index = corpus("xab", "abcd", "abcd", "bce", "ccf")
    assert bytes(Drafter(index, list(b"xa")).propose(8)) == b"bcd"  # "xa" stands before "b" and an end
    assert bytes(Drafter(index, list(b"q")).propose(8)) == b""
    assert bytes(Drafter(index, list(b"wabcabcab")).propose(2)) == b"ca"  # what the text itself went on with


def test_what_was_missed_is_caught_up_with() -> None:
    one, other = (Drafter(corpus("the owl wrote", "the mouse wrote of the owl"), list(b"x")) for _ in range(2))
    for token_id in b"a mouse wrote of the owl":
        one.push(token_id)
    other.catch_up(b"a mouse wrote of the owl")
    assert (one.level, one.propose(9)) == (other.level, other.propose(9))


def test_a_text_that_nothing_is_drafted_for_is_left_alone_ever_longer_until_something_is() -> None:
    drafts, sequence = Drafts(corpus("zzzz the owl wrote of mice"), 4096), Sequence([1], 1)
    drafts.join(sequence, 4000)
    rng, looked = np.random.default_rng(0), []
    push, Drafter.push = Drafter.push, lambda self, token_id: (looked.append(token_id), push(self, token_id))[1]
    try:
        for _ in range(400):
            sequence.append(int(rng.integers(128, 250)))
            drafts.learn([Work(sequence, Chunk(blocks=[], start=0, ids=[0]), last=True)], 1, 1e-3)
            assert not sequence.draft
        assert len(looked) < 60
    finally:
        Drafter.push = push
    for token_id in b"the owl wrote of mice" * 8:
        sequence.draft = []
        sequence.append(token_id)
        drafts.learn([Work(sequence, Chunk(blocks=[], start=0, ids=[0]), last=True)], 1, 1e-3)
    assert drafts._followed[sequence].last_rest == 0


def test_a_draft_ends_with_its_document() -> None:
    assert bytes(Drafter(corpus("owls", "mice"), list(b"ow")).propose(8)) == b"ls"


def test_drafts_that_pay_get_longer_and_others_end() -> None:
    pay = Pay()
    for _ in range(60):  # each row more takes a twentieth of a step
        for accepted, level in ((MOST, 5), (0, 1)):
            length = pay.length(level)
            pay.observe_draft(level, MOST, accepted)
            pay.observe_step(1 + length, 1 + min(length, accepted), 1.0 + 0.05 * length)
    assert pay.length(5) == MOST
    assert pay.length(1) == 0
    tries = [number for number in range(2000) if pay.is_due(1)]
    assert 4 <= len(tries) <= 9, "a level that does not pay is tried now and then, ever less often"
    assert np.all(np.diff(np.diff(tries)) >= 0)
    pay.observe_draft(1, 1, 1)
    assert sum(pay.is_due(1) for _ in range(64)) >= 1


def test_a_step_that_another_program_held_up_says_little_of_drafts() -> None:
    pay = Pay()
    for number in range(400):
        length = number % 3
        held_up = number % 100 == 99
        pay.observe_step(1 + length, 1 + length, (1.0 + 0.05 * length) * (50.0 if held_up else 1.0))
        pay.observe_draft(5, MOST, MOST)
        if number > 100:
            assert pay.length(5) == MOST


def test_what_drafts_cost_is_guessed_alike_for_one_text_and_for_many() -> None:
    for num_texts in (1, 8):
        pay = Pay()
        for _ in range(100):  # no step has a draft
            pay.observe_step(num_texts, num_texts, 0.9 + 0.1 * num_texts)
        assert pay._least() == pytest.approx(0.1 * num_texts / (0.9 + 0.1 * num_texts))


def test_drafts_do_not_pay_where_each_row_takes_as_long_as_the_first() -> None:
    pay = Pay()
    rng = np.random.default_rng(1)
    for _ in range(200):
        rows = int(rng.integers(30, 34))
        pay.observe_step(rows, rows, 0.1 * rows)
        pay.observe_draft(3, 4, 2)
    assert sum(pay.length(3) for _ in range(64)) <= 2


def test_levels_grow_with_the_length_of_what_is_alike() -> None:
    story = "abcdefghijklmnopqrstuvwxyz" * 4
    drafter = Drafter(corpus(story), [])
    levels = []
    for byte in story.encode():
        drafter.push(byte)
        levels.append(drafter.level)
    assert levels[0] == 1 and max(levels) == LEVELS - 1

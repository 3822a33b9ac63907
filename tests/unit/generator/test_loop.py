"""The serving loop on an engine that spells: text, endings, cancellation, failure."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from services.common.errors import Busy, InvalidRequest, Unavailable
from services.generator.events import End, Event, Finish, Text
from services.generator.generation import Generation
from services.generator.loop import MAX_PAUSE_S, MOST_REFUSED, Loop
from services.generator.outbox import Outbox
from services.generator.request import SampleRequest
from services.sampling.parameters import SamplingParameters
from tests.unit.generator.fakes import END, SpellingEngine, codec, request, scheduler, spell
from tests.waiting import PATIENCE_S, wait_for

STORY = "Once upon a time, naïve café 🙂 owls wrote posts."
CODEC = codec()


class Bench:
    """A loop and its engine."""

    def __init__(self, next_id: Callable[[list[int]], int], **engine: Any) -> None:
        self.engine = SpellingEngine(next_id, **engine)
        self.scheduler = scheduler(self.engine, prefill_tokens=4)
        self.loop = Loop("test", self.engine, self.scheduler)

    def submit(self, wanted: SampleRequest, timeout_s: float | None = None) -> Generation:
        generation = Generation(wanted, CODEC, self.engine.context, timeout_s=timeout_s)
        self.loop.submit(generation)
        return generation

    def write(self, wanted: SampleRequest) -> tuple[str, End]:
        """The text of one sample and its end."""
        *texts, end = self.submit(wanted).events()
        assert isinstance(end, End)
        return "".join(event.text for event in texts if isinstance(event, Text)), end


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(next_id: Callable[[list[int]], int] | None = None, **engine: Any) -> Bench:
        benches.append(Bench(next_id or spell(STORY), **engine))
        return benches[-1]

    yield make
    for made in benches:
        made.engine.gate.set()
        made.loop.stop()


def test_a_sample_ends_at_end_of_text(bench: Callable[..., Bench]) -> None:
    assert bench().write(request(max_new_tokens=100)) == (STORY, End(0, Finish.END_OF_TEXT))


def test_a_sample_ends_at_max_new_tokens(bench: Callable[..., Bench]) -> None:
    assert bench().write(request(max_new_tokens=4)) == ("Once", End(0, Finish.LENGTH))


def test_a_sample_ends_when_the_context_is_full(bench: Callable[..., Bench]) -> None:
    text, end = bench(context=16).write(request(max_new_tokens=100))
    assert (text, end.finish) == (STORY[:15], Finish.CONTEXT)


def test_a_sliding_sample_goes_on_past_the_context(bench: Callable[..., Bench]) -> None:
    """The next letter follows from the last one, so the text shows whether a slide lost or doubled one."""
    made = bench(lambda ids: (ids[-1] - 96) % 26 + 97 if ids[-1] != END else 97, context=16)

    text, end = made.write(request(max_new_tokens=60, slide=True, slide_keep=1))

    assert text == ("abcdefghijklmnopqrstuvwxyz" * 3)[:60]
    assert end.finish is Finish.LENGTH


def test_a_stop_text_across_tokens_is_not_part_of_the_sample(bench: Callable[..., Bench]) -> None:
    events = list(bench().submit(request(stop=("time", "owls"))).events())

    assert "".join(event.text for event in events if isinstance(event, Text)) == "Once upon a "
    assert [i for event in events if isinstance(event, Text) for i in event.ids] == list(b"Once upon a ")
    assert events[-1] == End(0, Finish.STOP, "time")


def test_a_stop_id_is_not_part_of_the_sample(bench: Callable[..., Bench]) -> None:
    assert bench().write(request(stop_ids=(ord(","),))) == ("Once upon a time", End(0, Finish.STOP))


def test_nothing_ends_a_sample_before_min_new_tokens(bench: Callable[..., Bench]) -> None:
    made = bench(spell("stop. stop. stop."))

    assert made.write(request(min_new_tokens=8, stop=("stop",)))[0] == "stop. stop. "
    text, end = made.write(request(min_new_tokens=20, max_new_tokens=20))
    assert (text[:17], end.finish) == ("stop. stop. stop.", Finish.LENGTH)


def test_end_of_text_can_be_ignored(bench: Callable[..., Bench]) -> None:
    _, end = bench(spell("abc")).write(request(ignore_end_of_text=True, max_new_tokens=9))
    assert end.finish is Finish.LENGTH


def test_a_character_cut_in_half_becomes_a_replacement(bench: Callable[..., Bench]) -> None:
    assert bench(spell("né")).write(request(max_new_tokens=2))[0] == "n\N{REPLACEMENT CHARACTER}"


def test_deltas_hold_whole_characters_only(bench: Callable[..., Bench]) -> None:
    texts = [event.text for event in bench().submit(request(max_new_tokens=100)).events() if isinstance(event, Text)]
    assert not any("\N{REPLACEMENT CHARACTER}" in text for text in texts)


def test_samples_of_many_requests_do_not_mix(bench: Callable[..., Bench]) -> None:
    made = bench(num_slots=3)
    stories = [made.submit(request(bytes([65 + i]), max_new_tokens=5 + i)) for i in range(6)]

    for i, generation in enumerate(stories):
        text = "".join(event.text for event in generation.events() if isinstance(event, Text))
        assert text == STORY[: 5 + i]


def test_several_samples_of_a_request_differ_and_repeat_with_the_seed(bench: Callable[..., Bench]) -> None:
    made = bench(lambda ids: 0)
    wanted = request(sampling=SamplingParameters(temperature=5.0, top_k=0), n=2, best_of=2, seed=9)

    def write() -> list[list[int]]:
        ids: list[list[int]] = [[], []]
        for event in made.submit(wanted).events():
            if isinstance(event, Text):
                ids[event.index] += event.ids
        return ids

    first = write()
    assert first[0] != first[1]
    assert write() == first


def test_a_cancelled_request_frees_its_slot_within_one_step(bench: Callable[..., Bench]) -> None:
    made = bench(lambda ids: 97, num_slots=1)
    made.engine.gate.clear()
    endless = made.submit(request(max_new_tokens=60))
    wait_for(lambda: made.loop.num_running == 1)

    endless.cancel()
    steps = len(made.engine.steps)
    made.engine.gate.set()
    *_, end = endless.events()

    assert isinstance(end, End) and end.finish is Finish.CANCELLED
    assert len(made.engine.steps) <= steps + 1
    wait_for(lambda: made.loop.num_running == 0)
    assert made.write(request(max_new_tokens=2))[0] == "aa"


def test_a_request_past_its_deadline_leaves(bench: Callable[..., Bench]) -> None:
    *_, end = bench(num_slots=1).submit(request(), timeout_s=0.0).events()
    assert isinstance(end, End) and end.finish is Finish.CANCELLED


def test_a_full_queue_is_refused(bench: Callable[..., Bench]) -> None:
    made = bench(num_slots=1)
    made.engine.gate.clear()
    generations = [made.submit(request(max_new_tokens=1)) for _ in range(5)]

    with pytest.raises(Busy):
        made.submit(request(n=2, best_of=2))

    made.engine.gate.set()
    assert all(list(generation.events()) for generation in generations)


def test_a_failing_step_ends_its_requests_and_nothing_else(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.engine.error = MemoryError("no room")
    with pytest.raises(MemoryError):
        list(made.submit(request(n=3, best_of=3)).events())

    made.engine.error = None

    assert made.write(request(max_new_tokens=4))[0] == "Once"
    wait_for(lambda: made.loop.num_running == 0)


def test_logits_that_are_missing_end_the_requests_of_their_step_and_nothing_else(bench: Callable[..., Bench]) -> None:
    made = bench()
    whole = made.engine.step
    made.engine.step = lambda chunks: whole(chunks)[1:]  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        list(made.submit(request(n=2, best_of=2)).events())

    made.engine.step = whole  # type: ignore[method-assign]

    assert made.write(request(max_new_tokens=4))[0] == "Once"
    wait_for(lambda: made.scheduler.pool.num_held == 0)


@pytest.mark.parametrize("stop", [(), ("time",)], ids=["when text is told", "when it is written"])
def test_text_that_cannot_be_made_ends_its_request_and_nothing_else(
    bench: Callable[..., Bench], stop: tuple[str, ...]
) -> None:
    class Bug(Exception):
        pass

    def broken(*arguments: object) -> str:
        raise Bug

    made = bench(num_slots=3)
    generation = Generation(request(n=2, best_of=2, stop=stop), CODEC, made.engine.context)
    for writer in generation.writers:
        writer._decoder.push = broken  # type: ignore[method-assign]
        writer._decoder.flush = broken  # type: ignore[method-assign,assignment]
    made.loop.submit(generation)
    with pytest.raises(Bug):
        list(generation.events())

    assert made.write(request(max_new_tokens=4))[0] == "Once"
    wait_for(lambda: made.scheduler.pool.num_held == 0)


def test_exclusions_that_leave_no_token_end_the_request(bench: Callable[..., Bench]) -> None:
    made = bench(lambda ids: 1, context=300)
    with pytest.raises(InvalidRequest, match="no token is left"):
        list(made.submit(request(sampling=SamplingParameters(no_repeat_ngram=1), max_new_tokens=290)).events())


def test_best_of_returns_the_likeliest(bench: Callable[..., Bench]) -> None:
    made = bench(lambda ids: 97, num_slots=4)
    wanted = request(sampling=SamplingParameters(temperature=4.0, top_k=3), n=2, best_of=4, max_new_tokens=3)

    generation = made.submit(wanted)
    list(generation.events())

    means = [writer.mean_logprob for writer in generation.writers]
    chosen = generation.likeliest()
    assert [means[i] for i in chosen] == sorted(means, reverse=True)[:2]


def test_logprobs_come_with_each_id(bench: Callable[..., Bench]) -> None:
    events = bench().submit(request(max_new_tokens=3, logprobs=2)).events()
    found = [logprob for event in events if isinstance(event, Text) for logprob in event.logprobs]

    assert [logprob.id for logprob in found] == list(b"Onc")
    assert all(logprob.alternatives[0] == (logprob.id, logprob.logprob) for logprob in found)
    assert all(len(logprob.alternatives) == 2 and -0.01 < logprob.logprob < 0 for logprob in found)


def test_a_slow_reader_is_cancelled_and_told_so(bench: Callable[..., Bench]) -> None:
    made = bench(lambda ids: 97, num_slots=1)
    slow = threading.Event()
    generation = Generation(
        request(max_new_tokens=50, slide=True), CODEC, made.engine.context, unread_limit=5, on_slow=slow.set
    )

    made.loop.submit(generation)
    assert slow.wait(PATIENCE_S)

    with pytest.raises(Busy, match="5 tokens wait") as refusal:
        list(generation.events())
    assert refusal.value.reason == "SLOW_READER"
    wait_for(lambda: made.loop.num_running == 0)
    assert generation.num_drawn <= 7


def test_a_reader_that_keeps_up_may_read_any_number_of_tokens(bench: Callable[..., Bench]) -> None:
    turns = threading.Semaphore(0)

    def write_in_turn(ids: list[int]) -> int:
        assert turns.acquire(timeout=PATIENCE_S)
        return 97

    made = bench(write_in_turn, num_slots=1)
    generation = Generation(request(max_new_tokens=50), CODEC, made.engine.context, unread_limit=1)
    made.loop.submit(generation)
    reader = generation.events()

    for _ in range(50):
        turns.release()
        assert next(reader) == Text(0, "a", (97,))
    assert isinstance(next(reader), End)


class Clock:
    """Time that passes when a step is made."""

    def __init__(self, step_s: float) -> None:
        self.now, self._step_s = 1000.0, step_s

    def monotonic(self) -> float:
        return self.now

    def pass_with(self, engine: SpellingEngine) -> SpellingEngine:
        """The engine, whose steps take that long."""
        compute = engine.step

        def step(chunks: Any) -> Any:
            self.now += self._step_s
            return compute(chunks)

        engine.step = step  # type: ignore[method-assign]
        return engine


def _told(monkeypatch: pytest.MonkeyPatch, *, messages_per_s: float, num_streams: int) -> list[list[tuple[int, int]]]:
    """For each stream, the (step, ids) with which its reader was woken; a step takes 10 ms."""
    clock = Clock(0.01)
    monkeypatch.setattr("services.generator.loop.time", clock)
    engine = clock.pass_with(SpellingEngine(lambda ids: 97, num_slots=num_streams, context=300))
    told: dict[Outbox, list[tuple[int, int]]] = {}
    put = Outbox.put

    def watched(self: Outbox, events: list[Event], *, wake: bool) -> bool:
        count = sum(len(event.ids) for event in events if isinstance(event, Text))
        told.setdefault(self, []).append((len(engine.steps), count))
        return put(self, events, wake=wake)

    monkeypatch.setattr(Outbox, "put", watched)
    engine.gate.clear()
    loop = Loop("test", engine, scheduler(engine, prefill_tokens=1), messages_per_s=messages_per_s)
    generations = [Generation(request(max_new_tokens=200), CODEC, engine.context) for _ in range(num_streams)]
    for generation in generations:
        loop.submit(generation)
    engine.gate.set()
    for generation in generations:
        assert sum(len(event.ids) for event in generation.events() if isinstance(event, Text)) == 200
    loop.stop()
    return list(told.values())


def test_streams_are_told_together_and_so_often_that_messages_keep_to_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = _told(monkeypatch, messages_per_s=20, num_streams=2)  # each every 0.1 s, which is 10 steps

    assert first[0][1] == second[0][1] == 1, "the first text does not wait"
    both = sorted({step for step, _ in first[1:-1]} & {step for step, _ in second[1:-1]})
    assert len(both) >= 18
    assert all(later - sooner == pytest.approx(10, abs=1) for sooner, later in itertools.pairwise(both))
    assert len(first) <= 23


def test_text_is_never_held_back_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = _told(monkeypatch, messages_per_s=0.001, num_streams=1)
    gaps = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(told)]
    assert max(gaps) == pytest.approx(MAX_PAUSE_S / 0.01, abs=1)


def test_text_does_not_wait_for_what_slid_to_be_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is due goes out although the stream draws nothing in that step."""
    clock = Clock(0.01)
    monkeypatch.setattr("services.generator.loop.time", clock)
    engine = clock.pass_with(SpellingEngine(lambda ids: 97, num_slots=1, context=64))
    steps: list[int] = []
    put = Outbox.put

    def watched(self: Outbox, events: list[Event], *, wake: bool) -> bool:
        steps.append(len(engine.steps))
        return put(self, events, wake=wake)

    monkeypatch.setattr(Outbox, "put", watched)
    # 31 ids are read anew, one in a step, while text is due every 10 steps.
    loop = Loop("test", engine, scheduler(engine, prefill_tokens=1), messages_per_s=10)
    generation = Generation(request(max_new_tokens=70, slide=True), CODEC, engine.context)
    loop.submit(generation)
    list(generation.events())
    loop.stop()

    drawing = [step for step, chunks in enumerate(engine.steps, 1) if chunks[0].num_logits]
    before_slide = drawing[62]
    assert drawing[63] - before_slide > 20
    assert any(before_slide < step < before_slide + 11 for step in steps)


def test_timings_add_up(bench: Callable[..., Bench]) -> None:
    generation = bench().submit(request(max_new_tokens=10))
    list(generation.events())

    timings = generation.timings()
    total = generation.ended_at - generation.submitted_at  # type: ignore[operator]
    assert timings.queue_s + timings.prefill_s + timings.decode_s == pytest.approx(total)
    assert timings.per_token_s == pytest.approx(timings.decode_s / 9)


def test_a_stopped_loop_cancels_and_takes_nothing_more(bench: Callable[..., Bench]) -> None:
    made = bench(lambda ids: 97)
    generation = made.submit(request(max_new_tokens=60))

    made.loop.stop()

    *_, end = generation.events()
    assert isinstance(end, End) and end.finish in (Finish.CANCELLED, Finish.LENGTH, Finish.CONTEXT)
    with pytest.raises(Unavailable):
        made.submit(request())


@pytest.mark.parametrize("prefill_tokens", [1, 3, 64])
@pytest.mark.parametrize("num_slots", [1, 4])
def test_the_text_does_not_depend_on_how_the_work_is_cut(prefill_tokens: int, num_slots: int) -> None:
    engine = SpellingEngine(lambda ids: (sum(ids) * 7 + len(ids)) % 256, num_slots=num_slots)
    loop = Loop("test", engine, scheduler(engine, prefill_tokens=prefill_tokens))
    prompts = [b"a", b"two words", b"a prompt that is cut into several pieces"]
    generations = [
        Generation(request(prompt, max_new_tokens=90, slide=True, seed=i), CODEC, engine.context)
        for i, prompt in enumerate(prompts)
    ]

    for generation in generations:
        loop.submit(generation)
    written = [[i for e in g.events() if isinstance(e, Text) for i in e.ids] for g in generations]
    loop.stop()

    for prompt, ids in zip(prompts, written, strict=True):
        assert ids == _alone(engine, list(prompt))


def _alone(engine: SpellingEngine, context: list[int]) -> list[int]:
    """What the engine's rule gives without cache, slots and pieces; sliding drops the older half."""
    written = []
    while len(written) < 90:
        written.append(engine.next_id(context))
        context = [*context, written[-1]]
        if len(context) == engine.context:
            context = context[len(context) - len(context) // 2 :]
    return written


class Limit:
    """Allows what it is told to; stands for a VerbatimLimit."""

    end_of_text_id = END

    def __init__(self, allows: Callable[[int], bool]) -> None:
        self.allows = allows

    def excluded(self) -> np.ndarray:
        return np.zeros(0, np.int32)

    def push(self, token_id: int) -> None:
        """Remembers nothing."""


def limited(made: Bench, allows: Callable[[int], bool], **fields: Any) -> Generation:
    generation = Generation(
        request(**fields),
        CODEC,
        made.engine.context,
        limit=lambda: Limit(allows),  # type: ignore[arg-type, return-value]
    )
    made.loop.submit(generation)
    return generation


@pytest.mark.parametrize("fields", [{"ignore_end_of_text": True}, {"min_new_tokens": 9}], ids=str)
def test_where_a_limit_leaves_nothing_the_sample_ends(bench: Callable[..., Bench], fields: dict[str, Any]) -> None:
    story = iter([True, True, *[False] * 1000])
    events = list(limited(bench(), lambda token_id: next(story), max_new_tokens=20, **fields).events())

    assert "".join(event.text for event in events if isinstance(event, Text)) == STORY[:2]
    assert events[-1] == End(0, Finish.END_OF_TEXT)


def test_a_limit_that_refuses_one_id_after_another_ends_the_sample(bench: Callable[..., Bench]) -> None:
    asked: list[int] = []
    events = list(limited(bench(), lambda token_id: bool(asked.append(token_id)), max_new_tokens=20).events())

    assert events == [End(0, Finish.END_OF_TEXT)]
    assert len(asked) == len(set(asked)) == min(MOST_REFUSED, CODEC.vocabulary.size - 1)


def test_a_stop_id_is_never_written_so_no_limit_refuses_it(bench: Callable[..., Bench]) -> None:
    (end,) = limited(bench(), lambda token_id: False, max_new_tokens=9, stop_ids=(ord(STORY[0]),)).events()
    assert end == End(0, Finish.STOP)


def test_a_limit_that_fails_ends_its_own_request_alone(bench: Callable[..., Bench]) -> None:
    def broken(token_id: int) -> bool:
        raise KeyError("a bug")

    made = bench()
    made.engine.gate.clear()  # both are in one step
    failing, other = limited(made, broken, max_new_tokens=9), made.submit(request(max_new_tokens=9))
    made.engine.gate.set()

    with pytest.raises(KeyError):
        list(failing.events())
    *texts, end = other.events()
    assert "".join(event.text for event in texts if isinstance(event, Text)) == STORY[:9]
    assert end == End(0, Finish.LENGTH)
    wait_for(lambda: made.loop.num_running == 0)

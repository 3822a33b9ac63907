import json
import math
import threading

import pytest

from protos import generator_pb2, trainer_pb2
from services.admin import run_events, streams
from services.admin.text_events import HeaderWatch, may_be_header
from services.client import statuses
from services.common.errors import InvalidRequest, Unavailable
from tests.waiting import PATIENCE_S


def parsed(lines):
    """[(event, data, id)] of a stream's text, comments apart."""
    found = []
    for block in "".join(lines).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def metrics(step, loss=3.0):
    made = trainer_pb2.Metrics(
        step=step, seconds=step / 2, loss=loss, average_loss=loss, learning_rate=0.001, mfu=0.314159,
        remaining_seconds=61.2, memory_bytes=2_000_000_000, epoch=0.5,
    )  # fmt: skip
    return trainer_pb2.RunUpdate(cursor=step, metrics=made)


def state(value, cursor=0):
    return trainer_pb2.RunUpdate(cursor=cursor, run=trainer_pb2.Run(name="run1", state=value))


def test_an_event_is_one_block_whatever_its_data_holds():
    block = streams.event("text", 'two\nlines\n\n and "quotes" – ok', 7)

    assert block.endswith("\n\n")
    assert block.count("\n\n") == 1
    assert parsed([block]) == [("text", 'two\nlines\n\n and "quotes" – ok', "7")]


def test_batches_hand_on_everything_in_order_and_then_the_error():
    def messages():
        yield from range(1200)
        raise Unavailable("gone")

    seen = []
    with pytest.raises(Unavailable):
        for batch in streams.batches(messages(), threading.Event()):
            seen += batch

    assert seen == list(range(1200))


def test_a_stream_ends_when_the_page_stops():
    stopping, closed = threading.Event(), threading.Event()

    def messages():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    for batch in streams.batches(messages(), stopping):
        assert batch
        stopping.set()

    assert closed.wait(PATIENCE_S), "the stream behind was not closed"


def test_a_stream_whose_reader_left_closes_the_one_behind():
    closed = threading.Event()

    def messages():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    reader = streams.batches(messages(), threading.Event())
    next(reader)
    reader.close()

    assert closed.wait(PATIENCE_S)


def test_a_silent_stream_sends_heartbeats(monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.0)
    go_on = threading.Event()

    def messages():
        go_on.wait(PATIENCE_S)
        yield "late"

    reader = streams.batches(messages(), threading.Event())
    first = next(reader)
    go_on.set()

    assert first == []
    assert ["late"] in list(reader)


def test_a_run_is_drawn_from_its_updates(client, services):
    sample = trainer_pb2.Sample(
        run="run1", step=2, index=1, text="title: T\n\nBody.", prompt="The tide", temperature=0.7
    )
    updates = [
        state(trainer_pb2.RUN_STATE_RUNNING),
        metrics(1),
        metrics(2, loss=math.inf),
        trainer_pb2.RunUpdate(cursor=3, validation=trainer_pb2.Validation(step=2, loss=3.5, token_accuracy=0.25)),
        trainer_pb2.RunUpdate(cursor=4, sample=sample),
        trainer_pb2.RunUpdate(cursor=5, originality={"step": 2, "verbatim_share": 0.12345, "longest_run_tokens": 31}),
        trainer_pb2.RunUpdate(cursor=5, checkpoint=trainer_pb2.Checkpoint(step=2, size_bytes=1_500_000)),
        trainer_pb2.RunUpdate(cursor=6, event=trainer_pb2.Event(step=2, message="saved")),
        state(trainer_pb2.RUN_STATE_SUCCEEDED, cursor=7),
    ]
    services.trainer.answer("WatchRun", lambda request: iter(updates))

    answer = client.get("/runs/run1/events", headers={"Last-Event-ID": "0"})

    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    events = parsed([answer.text])
    assert [name for name, _, _ in events] == ["updates"] * (len(events) - 1) + ["end"]
    assert events[-2][2] == "7"
    drawn = {}
    for _, data, _ in events[:-1]:
        for kind, found in data.items():
            drawn[kind] = drawn.get(kind, []) + found if isinstance(found, list) else found
    assert [found["loss"] for found in drawn["metrics"]] == [3.0, None]
    assert drawn["metrics"][0]["line"] == "[1 | 0.50] loss=3.00 avg=3.00"
    seen = {name: drawn["metrics"][0][name] for name in ("rate", "mfu", "remaining", "memory", "epoch")}
    assert seen == {"rate": 0.001, "mfu": 0.3142, "remaining": 61, "memory": "2.0 GB", "epoch": 0.5}
    assert drawn["validations"][0]["accuracy"] == 0.25
    assert drawn["originalities"] == [{"step": 2, "share": 0.1235, "longest": "31 tokens"}]
    assert drawn["samples"][0]["recited"] == ""
    assert drawn["samples"][0]["title"] == "T"
    assert drawn["samples"][0]["wish"] == "“The tide”, temperature 0.7"
    assert drawn["checkpoints"] == [{"step": 2, "size": "1.5 MB"}]
    assert drawn["notes"] == [{"step": 2, "message": "Saved."}]
    assert drawn["run"]["state"] == "finished"
    assert drawn["run"]["ended"] is True


def test_a_browser_that_comes_back_goes_on_from_its_cursor(client, services):
    services.trainer.answer("WatchRun", lambda request: iter([state(trainer_pb2.RUN_STATE_CANCELLED, 41)]))

    client.get("/runs/run1/events", headers={"Last-Event-ID": "40"}).get_data()

    assert services.trainer.asked(trainer_pb2.WatchRunRequest)[0].cursor == 40


def test_a_watch_that_runs_out_of_time_goes_on_without_gap_or_repetition(services):
    def watch(request):
        if request.cursor == 0:
            yield state(trainer_pb2.RUN_STATE_RUNNING)
            yield metrics(1)
            raise Unavailable("too late", reason=statuses.DEADLINE)
        yield metrics(2)

    services.trainer.answer("WatchRun", watch)

    events = parsed(run_events.lines(services, "run1", 0, threading.Event()))

    steps = [found["step"] for _, data, _ in events[:-1] for found in data["metrics"]]
    assert steps == [1, 2]
    assert [request.cursor for request in services.trainer.asked(trainer_pb2.WatchRunRequest)] == [0, 1]


def test_a_trainer_that_goes_away_is_told_to_the_browser(services):
    gone = Unavailable("the trainer does not answer at x; set ADDRESS", reason=statuses.UNREACHABLE)
    services.trainer.answer("WatchRun", gone)

    events = parsed(run_events.lines(services, "run1", 0, threading.Event()))

    assert [name for name, _, _ in events] == ["problem"]
    assert events[0][1]["message"] == "The trainer does not answer at x."
    assert "Start everything" in events[0][1]["remedy"]


def delta(**kind):
    return generator_pb2.GenerateDelta(**kind)


def write(client, services, csrf, deltas, **fields):
    services.generator.answer("GenerateStream", lambda request: iter(deltas))
    return client.post("/try/stream", data={"csrf_token": csrf} | fields)


def test_a_text_comes_with_its_seed_its_header_and_why_it_ended(client, services, csrf):
    reference = generator_pb2.ModelReference(name="run1", version=2)
    effective = generator_pb2.EffectiveParameters(seed=2**64 - 1)
    done = generator_pb2.StreamEnd(usage=generator_pb2.Usage(generated_tokens=9))
    done.timings.decode.FromMilliseconds(500)
    pieces = ["ti", "tle: 😀 sea\nda", "te: 2024-01-02\n", "\nIt went", " out."]
    deltas = [
        delta(start=generator_pb2.StreamStart(model=reference, effective=effective)),
        *(delta(text=generator_pb2.TextDelta(text=piece)) for piece in pieces),
        delta(end=generator_pb2.SampleEnd(finish_reason=generator_pb2.FINISH_REASON_END_OF_TEXT)),
        delta(done=done),
    ]

    events = parsed([write(client, services, csrf, deltas).text])

    assert events[0][1] == {"model": "run1", "version": 2, "seed": "18446744073709551615"}
    assert "".join(data for name, data, _ in events if name == "text") == "".join(pieces)
    header = next(data for name, data, _ in events if name == "header")
    head = "title: 😀 sea\ndate: 2024-01-02\n\n"
    assert header == {"title": "😀 sea", "tags": [], "date": "2024-01-02", "skip": len(head) + 1}
    assert events[-1][0] == "end"
    assert events[-1][1]["reason"] == "The model ended the text itself."
    assert events[-1][1]["speed"] == "18 tokens/s"


def test_what_was_filled_in_reaches_the_generator_and_nothing_else(client, services, csrf):
    write(
        client, services, csrf, [],
        prompt="Once\r\nupon", model="run1@3", temperature="0", top_k="", seed=str(2**64 - 1), stop="END",
    ).get_data()  # fmt: skip

    expected = generator_pb2.GenerateRequest(
        prompt="Once\nupon", model="run1", version=3, seed=2**64 - 1, stop=["END"], originality=True
    )
    expected.sampling.temperature = 0
    assert services.generator.asked(generator_pb2.GenerateRequest)[0] == expected


def test_a_wrong_sampling_value_is_complained_about_by_its_field(client, services, csrf):
    answer = write(client, services, csrf, [], top_p="2", seed="x")

    assert answer.status_code == 400
    assert answer.json["problems"] == {
        "top_p": "Number must be between 0 and 1.",
        "seed": "Give a whole number.",
    }
    assert not services.generator.requests[1:]


def test_an_error_of_the_generator_comes_as_an_event_with_its_field(client, services, csrf):
    def refuse(request):
        raise InvalidRequest("top_p is 0: give more", field="sampling.top_p")
        yield

    services.generator.answer("GenerateStream", refuse)

    events = parsed([client.post("/try/stream", data={"csrf_token": csrf, "top_p": "0"}).text])

    problem = {"message": "Top_p is 0: give more.", "remedy": "", "field": "sampling.top_p"}
    assert events == [("problem", problem, None)]


def test_a_text_without_header_never_gets_one():
    watch = HeaderWatch("")

    assert watch.push("title") is None
    assert watch.push(" of the song\n\n") is None
    assert watch.push("title: no\n\n", is_last=True) is None


def test_a_header_that_was_begun_by_the_prompt_is_found():
    watch = HeaderWatch("title: Mine\n")

    assert watch.push("tags: a, b\n\nBody")["tags"] == ["a", "b"]


@pytest.mark.parametrize("text", ["", "t", "tit", "title: x", "title: x\n", "title: x\nda", "date: 1\ntags:"])
def test_the_beginning_of_a_header_may_be_one(text):
    assert may_be_header(text)


@pytest.mark.parametrize("text", ["x", "title: x\n\n", "title: x\nbody", "Title: x", "title: " + "x" * 2000])
def test_anything_else_is_none(text):
    assert not may_be_header(text)


def test_a_text_is_given_back_as_a_markdown_file(client, csrf):
    answer = client.post(
        "/try/download",
        data={"csrf_token": csrf, "text": "title: Low: water\r\n\r\nIt went out.", "form": "md"},
    )

    assert answer.text == '---\ntitle: "Low: water"\n---\n\nIt went out.\n'
    assert answer.headers["Content-Disposition"] == 'attachment; filename="low-water.md"'
    assert answer.mimetype == "text/markdown"

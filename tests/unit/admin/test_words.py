import subprocess
import sys

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protos import corpus_pb2, generator_pb2, trainer_pb2
from services.admin import corpus_words, words
from services.admin.problems import explain, sentence
from services.admin.uploads import read_skipped, relative_paths
from services.common.errors import Corrupt, InvalidRequest, NonesuchError, NotFound


def test_admin_loads_neither_tensorflow_nor_numpy():
    code = (
        "import services.admin.server, sys;"
        "print([name for name in ('tensorflow', 'numpy', 'numba') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("wire", "name", "word"),
    [
        (trainer_pb2, "RunState", lambda value: words.run_state(value)[0]),
        (generator_pb2, "ModelState", lambda value: words.model_state(value)[0]),
        (corpus_pb2, "ReasonCode", corpus_words.reason),
        (generator_pb2, "FinishReason", words.finish),
    ],
)
def test_every_value_on_the_wire_has_words(wire, name, word):
    values = wire.DESCRIPTOR.enum_types_by_name[name].values_by_number

    for number in set(values) - {0}:
        assert word(number) not in ("", "unknown", "other"), values[number].name


def test_numbers_read_as_people_write_them():
    assert words.number(12345) == "12,345"
    assert words.short_number(124_439_808) == "124 million"
    assert words.short_number(999) == "999"
    assert [words.size(value) for value in (999, 1500, 15_000, 2_500_000, 3e12)] == [
        "999 bytes",
        "1.5 kB",
        "15 kB",
        "2.5 MB",
        "3000 GB",
    ]
    assert [words.plural(count, "post") for count in (0, 1, 1200)] == ["0 posts", "1 post", "1,200 posts"]
    assert [words.duration(value) for value in (59, 83, 7260)] == ["59 s", "1 min 23 s", "2 h 1 min"]


def test_times_are_told_from_now(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)

    told = [words.ago(Timestamp(seconds=1_000_000 - passed)) for passed in (5, 60, 7200, 86400 * 3)]

    assert told == ["just now", "1 minute ago", "2 hours ago", "3 days ago"]
    assert words.ago(Timestamp()) == "never"
    assert words.exact(Timestamp(seconds=0)) == ""


def test_messages_become_sentences():
    assert sentence("no run 'x'; start one") == "No run 'x'; start one."
    assert sentence("Why?") == "Why?"
    assert sentence("  ") == ""


def test_each_error_has_its_http_status():
    assert explain(NotFound("x")).status == 404
    assert explain(InvalidRequest("x", field="settings.steps")).field == "settings.steps"
    assert explain(Corrupt("x")).status == 500
    assert "fault in Nonesuch" in explain(NonesuchError("x")).remedy


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (["blog/a.md", "blog/b/c.md"], ["a.md", "b/c.md"]),
        (["a.md", "b.md"], ["a.md", "b.md"]),
        (["x/a.md", "y/b.md"], ["x/a.md", "y/b.md"]),
        (["x/a.md", "b.md"], ["x/a.md", "b.md"]),
        (["blog\\a.md"], ["a.md"]),
        ([], []),
    ],
)
def test_paths_are_relative_to_the_folder_that_was_dropped(names, paths):
    assert relative_paths(names) == paths


@pytest.mark.parametrize("text", ["x", "{}[", "[1]", '[["a", "DRAFT", "m"]]', '[["a"]]', '[[1, "TOO_LARGE", 2]]'])
def test_a_broken_list_of_left_out_files_is_refused(text):
    with pytest.raises(InvalidRequest):
        read_skipped(text)

"""`nonesuch generate`: every parameter, streams, patience and interrupts."""

from __future__ import annotations

import json

import pytest

from protos import generator_pb2
from services.client.commands.root import root
from tests.rpc.client.answers import DEAD, POST_TEXT
from tests.rpc.client.telling import interrupt_when


def test_generate_prints_the_text_alone(run):
    assert run("generate").stdout == f"{POST_TEXT} (0)\n"


def test_generate_sends_every_parameter(run, fakes):
    run(
        *("generate", "Once", "-n", 2, "--length", 5, "--temperature", 0.5, "--top-k", 3, "--top-p", 0.9),
        *("--seed", 2**63, "--stop", "END", "--stop", "\n\n", "--stop-id", 7, "--logit-bias", "5=-1.5"),
        *("--model", "run1@3", "--best-of", 4, "--slide", "--echo", "--ignore-end-of-text", "--json"),
    )

    request = fakes.generator.requests[0]
    assert (request.prompt, request.n, request.max_new_tokens, request.best_of) == ("Once", 2, 5, 4)
    assert (request.model, request.version, request.seed) == ("run1", 3, 2**63)
    assert list(request.stop) == ["END", "\n\n"]
    assert list(request.stop_ids) == [7]
    assert dict(request.sampling.logit_bias) == {5: -1.5}
    assert request.slide and request.echo and request.ignore_end_of_text
    assert not request.sampling.HasField("min_p")


def test_more_samples_than_the_server_writes_at_once_are_asked_for_in_parts(run, fakes):
    fakes.generator.max_samples = 8
    lines = run("generate", "-n", 20, "--seed", 2**64 - 1).stdout.splitlines()

    assert [(request.n, request.seed) for request in fakes.generator.requests] == [(8, 2**64 - 1), (8, 0), (4, 1)]
    titles = [line for line in lines if line.startswith("=")]
    assert titles == [f"======== SAMPLE {number} ========" for number in range(1, 21)]


def test_samples_go_to_a_new_file_each_time(run, fakes, tmp_path):
    fakes.generator.max_samples = 2
    folder = tmp_path / "deep" / "samples"
    said = run("generate", "-n", 3, "--out", folder).stdout
    told = json.loads(run("generate", "-n", 1, "--out", folder, "--json").stdout)

    assert said == f"3 samples in {folder / 'samples-1'}\n"
    assert told == {"file": str(folder / "samples-2"), "num_samples": 1}
    first = (folder / "samples-1").read_text()
    assert first == (
        f"======== SAMPLE 1 ========\n{POST_TEXT} (0)\n"
        f"======== SAMPLE 2 ========\n{POST_TEXT} (1)\n"
        f"======== SAMPLE 3 ========\n{POST_TEXT} (0)\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["samples-1", "samples-2"]


def test_where_no_file_can_be_written_it_is_told(run, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "give another --out" in run("generate", "--out", tmp_path / "file" / "x", status=1).stderr
    assert "--interactive and --stream" in run("generate", "--out", tmp_path, "--stream", status=2).stderr


def test_every_generate_field_has_an_option():
    options = {parameter.name for parameter in root.commands["generate"].params}
    fields = {field.name for field in generator_pb2.GenerateRequest.DESCRIPTOR.fields}
    fields |= {field.name for field in generator_pb2.SamplingParameters.DESCRIPTOR.fields}
    # The version stands in --model NAME@VERSION; ids as a prompt are for programs.
    assert fields - options == {"version", "alias", "sampling", "n", "prompt_ids"}


def test_generate_separates_several_samples(run):
    lines = run("generate", "-n", 2).stdout.splitlines()

    assert [line for line in lines if line.startswith("=")] == [
        "======== SAMPLE 1 ========",
        "======== SAMPLE 2 ========",
    ]


def test_generate_stream_prints_sample_after_sample(run):
    streamed = run("generate", "-n", 2, "--stream").stdout

    assert streamed == run("generate", "-n", 2).stdout


def test_generate_json_is_one_document_and_streams_are_lines(run):
    whole = json.loads(run("generate", "--json").stdout)
    deltas = [json.loads(line) for line in run("generate", "--stream", "--json").stdout.splitlines()]

    assert whole["samples"][0]["finish_reason"] == "END_OF_TEXT"
    assert list(deltas[0]) == ["start"]
    assert "".join(delta["text"]["text"] for delta in deltas if "text" in delta) == whole["samples"][0]["text"]
    assert list(deltas[-1]) == ["done"]


def test_generate_names_the_field_of_a_bad_parameter(run):
    result = run("generate", "--top-p", 2, status=1)

    assert "error: must be above 0 and at most 1 (field sampling.top_p)" in result.stderr
    assert result.stdout == ""


def test_generate_waits_when_the_queue_is_full(run, fakes):
    fakes.generator.busy = 2

    assert run("generate").stdout == f"{POST_TEXT} (0)\n"


def test_generate_wait_is_patient_with_a_model_that_is_not_there_yet(run, fakes):
    fakes.generator.unpublished = 1
    assert "no model 'new'" in run("generate", "--model", "new", status=1).stderr

    fakes.generator.unpublished = 1
    assert run("generate", "--model", "new", "--wait").stdout == f"{POST_TEXT} (0)\n"


def test_generate_forever_goes_on_until_interrupt_with_a_new_seed_each_round(run, fakes):
    interrupt_when(fakes.generator.answered)

    result = run("generate", "--forever", "--seed", 5, "--json", status=130)

    assert [request.seed for request in fakes.generator.requests][:3] == [5, 6, 7]
    assert all(json.loads(line)["samples"] for line in result.stdout.splitlines())


def test_an_interrupt_ends_a_stream_and_keeps_what_was_written(run, fakes):
    fakes.generator.hold = True
    interrupt_when(fakes.generator.answered)

    result = run("generate", "--stream", status=130)

    assert f"{POST_TEXT} (0)\n".startswith(result.stdout.rstrip("\n"))


def test_generate_min_words_draws_again_and_says_when_it_gives_up(run, fakes):
    assert run("generate", "--min-words", 5, "--seed", 3).stdout == f"{POST_TEXT} (0)\n"
    assert [request.seed for request in fakes.generator.requests] == [3]

    result = run("generate", "--min-words", 500, "--seed", 3, status=1)
    assert "fewer than 500 words" in result.stderr
    assert [request.seed for request in fakes.generator.requests][1:4] == [3, 4, 5]


def test_generate_interactive_answers_each_line(run, fakes):
    result = run("generate", "--interactive", stdin="One\n\nTwo\n")

    assert [request.prompt for request in fakes.generator.requests] == ["One", "Two"]
    assert result.stdout == f"{POST_TEXT} (0)\n" * 2


def test_generate_reads_a_prompt_from_standard_input(run, fakes):
    run("generate", "-", stdin="title: Ünder\n")

    assert fakes.generator.requests[0].prompt == "title: Ünder\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--forever", "--interactive"),
        ("--interactive", "Once"),
        ("--stream", "--best-of", "2"),
        ("--length", "99999999999"),
        ("--seed", "-1"),
        ("--logit-bias", "5"),
        ("--generator", "nowhere"),
        ("-n", "0"),
        ("--min-words", "5", "--stream"),
    ],
)
def test_generate_refuses_wrong_usage(run, fakes, arguments):
    run("generate", *arguments, status=2)

    assert fakes.generator.requests == []


def test_generate_can_ask_another_generator(run):
    result = run("generate", "--generator", DEAD, status=1)

    assert f"the generator does not answer at {DEAD}" in result.stderr

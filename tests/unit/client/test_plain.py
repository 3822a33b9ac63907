from __future__ import annotations

import json

from protos import corpus_pb2, generator_pb2, trainer_pb2
from services.client.commands.plain import enum_name, plain


def test_numbers_stay_numbers_and_enums_lose_their_prefix():
    run = trainer_pb2.Run(name="run1", state=trainer_pb2.RUN_STATE_SUCCEEDED, num_parameters=1 << 40)

    values = plain(run)

    assert values["num_parameters"] == 1 << 40
    assert values["state"] == enum_name(run, "state") == "SUCCEEDED"


def test_unset_optional_fields_are_left_out_and_others_are_not():
    values = plain(trainer_pb2.RunSettings(steps=0))

    optional = {field.name for field in trainer_pb2.RunSettings.DESCRIPTOR.fields if field.has_presence}
    assert set(values) & optional == {"steps"}
    assert values["steps"] == 0
    assert (values["schedule"], values["sample_prompts"]) == ("UNSPECIFIED", [])


def test_32_bit_floats_are_written_as_they_were_typed():
    parameters = generator_pb2.SamplingParameters(temperature=0.7, top_p=0.95, logit_bias={5: -1.1})

    assert plain(parameters) == {"temperature": 0.7, "top_p": 0.95, "logit_bias": {"5": -1.1}}


def test_times_bytes_and_infinities_become_json():
    timings = generator_pb2.Timings(queue={"seconds": 1, "nanos": 500_000_000})
    report = corpus_pb2.ImportReport(created_at={"seconds": 0})
    token = generator_pb2.TokenLogprob(token=b"\xff", logprob=float("-inf"))

    assert plain(timings) == {"queue": 1.5}
    assert plain(report)["created_at"] == "1970-01-01T00:00:00Z"
    assert plain(token)["token"] == "\ufffd"
    assert plain(token)["logprob"] is None


def test_a_oneof_shows_the_member_that_is_set():
    update = trainer_pb2.RunUpdate(cursor=3, metrics={"step": 1})

    assert set(plain(update)) == {"cursor", "metrics"}


def test_an_enum_value_from_a_newer_service_is_its_number():
    run = trainer_pb2.Run()
    run.state = 99

    assert json.dumps(plain(run)["state"]) == '"99"'

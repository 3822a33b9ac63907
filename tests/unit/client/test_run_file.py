"""A run's TOML file says what the options say, and nothing that no run can have."""

import tomllib

import pytest
from click.testing import CliRunner

from protos import trainer_pb2
from services.client import run_file
from services.client.commands.root import root
from services.client.run_settings import FIELDS, SETTINGS, run_settings, values_of, words_of
from services.common.errors import InvalidRequest

SOME = {
    "steps": 40,
    "learning_rate": 1e-05,
    "schedule": "warmup-stable-decay",
    "save_best": False,
    "sample_prompts": ['She said "no"\n', "Fährt 🚢 \x7f\\"],
    "sample_temperatures": [0.0, 0.7],
    "seed": 2**62,
}


def test_the_table_of_words_names_every_setting_of_the_wire_once():
    named = [name for group in SETTINGS.values() for name in group]
    assert sorted(named) == sorted(FIELDS)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(run_file.write({"run": "voice", "base": "124M", **SOME}), encoding="utf-8")
    assert run_file.read(path) == {"run": "voice", "base": "124M", **SOME}


def test_values_and_message_are_inverse():
    assert values_of(run_settings(SOME)) == SOME


def test_every_choice_of_every_setting_is_understood_in_a_file():
    for name, kind in FIELDS.items():
        for word in words_of(kind) if kind.enum_type else ():
            assert values_of(run_settings({name: word})) == {name: word}
            assert values_of(run_settings({name: word.replace("-", "_").upper()})) == {name: word}


def test_a_run_is_written_as_the_file_that_starts_one_like_it():
    settings = run_settings(SOME | {"epochs": 0.0, "tokens": 0, "minutes": 0.0, "patience": 0})
    run = trainer_pb2.Run(name="voice", base="nano", dataset="d1", settings=settings)
    read = tomllib.loads(run_file.of_run(run))
    assert read == {"run": "voice", "base": "nano", "dataset": "d1", "patience": 0, **SOME}


def test_a_file_with_comments_is_a_file():
    read = tomllib.loads(run_file.write({"steps": 3}, comments=True))
    assert read == {"steps": 3}
    assert all(f"# {name} =" in run_file.write({}, comments=True) for name in FIELDS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("stepps = 3", r"no setting 'stepps'; did you mean steps\?"),
        ("learning-rate = 3", r"did you mean learning_rate\?"),
        ("xyzzy = 3", "see `nonesuch train --help`"),
        ("[steps]\nx = 1", "steps is {'x': 1}"),
        ("steps = 'many'", "steps is 'many'"),
        ("steps = true", "steps is True"),
        ("steps = 1.5", "steps is 1.5"),
        ("save_best = 1", "save_best is 1"),
        ("schedule = 'steep'", "schedule is 'steep'; write constant, linear"),
        ("sample_temperatures = ['warm']", "sample_temperatures is"),
        ("run = 7", "run is 7; write it in quotes"),
        ("steps = ", "is no TOML"),
    ],
)
def test_what_no_run_can_have_is_refused_by_name(tmp_path, text, complaint):
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRequest, match=complaint) as caught:
        run_file.read(path)
    assert str(path) in caught.value.message


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidRequest, match=r"absent.toml cannot be read"):
        run_file.read(tmp_path / "absent.toml")


def printed(*arguments):
    result = CliRunner().invoke(root, ["train", *arguments, "--print-config"])
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


def test_options_go_before_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('run = "voice"\ncorpus = "blog"\nsteps = 40\nschedule = "linear"\nsample_prompts = ["a"]\n')
    asked = ["--config", str(path), "--steps", "50", "--sample-prompts", "b", "--no-save-best"]
    assert printed(*asked) == {
        "run": "voice",
        "corpus": "blog",
        "steps": 50,
        "schedule": "linear",
        "sample_prompts": ["b"],
        "save_best": False,
    }
    assert "corpus" not in printed("--config", str(path), "--dataset", "d1")


def test_what_is_printed_does_the_same_when_it_is_read(tmp_path):
    options = ["--run", "voice", "--steps", "7", "--optimizer", "lion", "--sample-temperatures", "0.5"]
    path = tmp_path / "run.toml"
    path.write_text(run_file.write(printed(*options)))
    assert printed("--config", str(path)) == printed(*options)


def test_a_mistake_in_the_file_is_a_mistake_of_usage(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("stepps = 3")
    result = CliRunner().invoke(root, ["train", "--config", str(path)])
    assert result.exit_code == 2
    assert "did you mean steps?" in result.output

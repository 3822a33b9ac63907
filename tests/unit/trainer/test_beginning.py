"""A run begins with what its source was when it was asked for, whatever becomes of the source."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Corrupt, FailedPrecondition, NotFound
from services.trainer.bases import Bases
from services.trainer.beginning import START_FOLDER, find
from services.trainer.publishing import Models
from services.trainer.runs import Runs
from services.trainer.starting import check_dataset, facts_of, plan, plan_again
from services.trainer.training.start import first_step
from services.trainer.volume import Volume
from tests.unit.trainer.made import make_checkpoint
from tests.unit.trainer.tiny import CONFIG, SETTINGS, make_run, write_tiny_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume with the run `a` and its checkpoints 2, 4 and 6, of which 4 is the best."""
    write_tiny_dataset(tmp_path)
    make_run(tmp_path, "a", SETTINGS)
    for step, loss in ((2, 5.0), (4, 3.0), (6, 4.0)):
        make_checkpoint(tmp_path, "a", step, loss)
    return tmp_path


def asked(data: Path, base: str, **choices: Any) -> Any:
    volume = Volume(data)
    return plan(volume, Bases(volume.bases), {"dataset": "tiny", "base": base, **SETTINGS, **choices})


def found(data: Path, word: str) -> str:
    volume = Volume(data)
    return find(volume, Bases(volume.bases), word).word


def create(data: Path, name: str, planned: Any) -> Path:
    runs = Runs(Volume(data))
    runs.load()
    runs.create(
        name,
        planned.settings,
        {},
        num_parameters=planned.config.num_parameters,
        fill=planned.fill,
        dataset_facts=planned.dataset_facts,
    )
    return runs.folder(name)


def test_newest_best_and_step_become_exact(data: Path) -> None:
    assert found(data, "runs/a") == "runs/a@6"
    assert found(data, "runs/a@best") == "runs/a@4"
    assert found(data, "runs/a@2") == "runs/a@2"
    assert asked(data, "runs/a@best").settings.base == "runs/a@4"
    assert asked(data, "runs/a").config == CONFIG


def test_a_model_is_found_by_its_newest_version_or_by_number(data: Path) -> None:
    models = Models(data / "models")
    facts = facts_of(write_tiny_dataset(data, "again"))
    for step in (2, 4):
        models.publish_checkpoint("voice", make_or_get(data, step), dataset=facts)
    assert found(data, "models/voice") == "models/voice@2"
    assert found(data, "models/voice@1") == "models/voice@1"
    for word, words in (("models/voice@9", "has no version 9; it has 2, 1"), ("models/nobody", "nobody")):
        with pytest.raises(NotFound, match=words):
            found(data, word)
    folder = create(data, "c", asked(data, "models/voice@1"))
    assert (folder / START_FOLDER / "model.index").read_text() == "a 2 model-2.index"


def make_or_get(data: Path, step: int) -> Any:
    from services.trainer.checkpoints import get_checkpoint

    return get_checkpoint(data / "checkpoint" / "a", step)


def test_what_is_not_there_is_said_with_what_is(data: Path) -> None:
    with pytest.raises(NotFound, match="no run 'nobody'"):
        found(data, "runs/nobody")
    with pytest.raises(NotFound, match="no checkpoint of step 3; it has 2, 4, 6"):
        found(data, "runs/a@3")
    make_run(data, "young", SETTINGS)
    with pytest.raises(FailedPrecondition, match="has no checkpoint yet"):
        found(data, "runs/young")
    make_checkpoint(data, "young", 1)
    with pytest.raises(FailedPrecondition, match="was validated"):
        found(data, "runs/young@best")


def test_the_weights_are_there_when_the_source_is_gone_and_cost_no_space(data: Path) -> None:
    folder = create(data, "b", asked(data, "runs/a@best"))
    source = data / "checkpoint" / "a" / "step-4" / "model-4.data-00000-of-00001"
    copy = folder / START_FOLDER / "model.data-00000-of-00001"
    assert copy.stat().st_ino == source.stat().st_ino
    shutil.rmtree(data / "checkpoint" / "a")
    assert copy.read_text() == "a 4 model-4.data-00000-of-00001"


def test_without_links_the_weights_are_copied(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder = create(data, "b", asked(data, "runs/a@2"))
    assert (folder / START_FOLDER / "model.index").read_text() == "a 2 model-2.index"


def test_a_checkpoint_that_goes_while_a_run_is_made_is_not_found_and_leaves_no_run(data: Path) -> None:
    planned = asked(data, "runs/a@2")
    shutil.rmtree(data / "checkpoint" / "a" / "step-2")
    with pytest.raises(NotFound, match="deleted meanwhile"):
        create(data, "b", planned)
    assert not (data / "checkpoint" / "b").exists()


def test_a_damaged_checkpoint_is_named_by_its_own_place(data: Path) -> None:
    path = data / "checkpoint" / "a" / "step-6" / "model-6.index"
    path.write_text("x")
    with pytest.raises(Corrupt, match=r"a/step-6/model-6\.index"):
        create(data, "b", asked(data, "runs/a"))


def test_another_vocabulary_is_refused_with_the_remedy(data: Path) -> None:
    write_tiny_dataset(data, "other", end_of_text_first=True)
    with pytest.raises(FailedPrecondition, match="build a dataset with vocabulary 'runs/a@6'") as caught:
        asked(data, "runs/a", dataset="other")
    assert caught.value.reason == "VOCABULARY_MISMATCH"


def test_fresh_weights_of_any_shape_take_the_vocabulary_of_the_dataset(data: Path) -> None:
    config = asked(data, "fresh/3x24x4", context=16).config
    assert (config.n_layer, config.n_embd, config.n_head, config.n_ctx, config.n_vocab) == (3, 24, 4, 16, 257)


def test_a_run_is_repeated_from_its_own_weights_when_its_source_is_gone(data: Path) -> None:
    create(data, "b", asked(data, "runs/a@best", seed=7))
    shutil.rmtree(data / "checkpoint" / "a")
    volume, runs = Volume(data), Runs(Volume(data))
    runs.load()
    again = plan_again(volume, runs.get("b"))
    assert (again.settings, again.config) == (runs.get("b").settings, CONFIG)
    assert (create(data, "b-2", again) / START_FOLDER / "model.index").read_text() == "a 4 model-4.index"


def test_a_run_that_went_on_from_another_program_s_steps_is_repeated_from_them(data: Path) -> None:
    planned = asked(data, "runs/a@4")
    create(data, "b", replace(planned, beginning=replace(planned.beginning, step=4)))
    volume = Volume(data)
    runs = Runs(volume)
    runs.load()
    folder = create(data, "c", plan_again(volume, runs.get("b")))
    assert first_step(folder, runs.get("b").settings) == 4


def test_a_run_whose_dataset_is_gone_or_changed_is_not_repeated(data: Path) -> None:
    create(data, "b", asked(data, "nano"))
    volume, runs = Volume(data), Runs(Volume(data))
    runs.load()
    record = runs.get("b")
    check_dataset(volume, record)
    shutil.rmtree(data / "datasets" / "tiny")
    with pytest.raises(NotFound, match="needs it; build it again"):
        plan_again(volume, record)
    write_tiny_dataset(data, texts=["Something else altogether, and long enough to learn from. " * 9] * 4)
    with pytest.raises(FailedPrecondition, match="is not the one"):
        plan_again(volume, record)

"""Where a run trained, in words."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from services.trainer.environment import differences, environment, gpus, processor


def test_it_names_what_numbers_depend_on() -> None:
    here = environment()
    assert here["python"] == ".".join(str(number) for number in sys.version_info[:3])
    assert here["numpy"] == importlib.metadata.version("numpy")
    assert here["tensorflow"] and int(here["threads"]) >= 1 and len(here["code"]) == 12
    assert all(here.values())


def test_only_what_changed_is_told() -> None:
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b 2, now 3", "c none, now 4"]
    assert differences({"a": "1"}, {"a": "1"}) == []


def test_processor_and_gpus_are_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Good One\nmodel name\t: A Good One\n")
    assert processor(tmp_path / "cpuinfo") == "A Good One"
    assert gpus(tmp_path / "none") == ""
    for number in ("0000:01", "0000:02"):
        (tmp_path / "gpus" / number).mkdir(parents=True)
        (tmp_path / "gpus" / number / "information").write_text("Model: \t\t A Card\nIRQ: 7\n")
    assert gpus(tmp_path / "gpus") == "A Card, A Card"

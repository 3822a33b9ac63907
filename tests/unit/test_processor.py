"""How many cores there are to use."""

from __future__ import annotations

import os

import pytest

from services.common import processor


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Six cores, and no container's limit yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    for name in ("_CPU_MAX", "_CPU_QUOTA", "_CPU_PERIOD"):
        monkeypatch.setattr(processor, name, tmp_path / name)
    return tmp_path


def test_without_a_limit_all_cores_are_used(machine):
    assert processor.cores() == 6


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 6), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("x", 6)]
)
def test_a_containers_limit_counts(machine, limit, cores):
    (machine / "_CPU_MAX").write_text(f"{limit}\n")
    assert processor.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 6), ("300000", 3), ("50000", 1)])
def test_an_older_kernels_limit_counts(machine, quota, cores):
    (machine / "_CPU_QUOTA").write_text(f"{quota}\n")
    (machine / "_CPU_PERIOD").write_text("100000\n")
    assert processor.cores() == cores

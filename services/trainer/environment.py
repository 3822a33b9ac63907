"""Where a run trains: the versions and the machine that its numbers depend on, by name.

In: this process's surroundings. Out: words. Imports no TensorFlow: the training process, which does, lives in the
same place.
"""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

_TRAINING_CODE = ("trainer", "gpt2", "tokens", "sampling")
_TENSORFLOW = ("tensorflow-cpu", "tensorflow", "tensorflow-cpu-aws", "tensorflow-macos")


@cache
def environment() -> dict[str, str]:
    """Versions of Nonesuch, Python, TensorFlow and NumPy, the processor, the GPUs, the cores that may be used."""
    known = {
        "nonesuch": _version("nonesuch"),
        "code": _code_digest(Path(__file__).parents[1]),
        "python": platform.python_version(),
        "tensorflow": _version(*_TENSORFLOW),
        "numpy": _version("numpy"),
        "machine": platform.machine(),
        "processor": processor(),
        "gpu": gpus(),
        "threads": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    }
    return {name: value for name, value in known.items() if value}


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What is not as it was, such as `tensorflow 2.20.0, now 2.21.0`, in order of name."""
    names = sorted(before.keys() | now.keys())
    changed = [name for name in names if before.get(name) != now.get(name)]
    return [f"{name} {before.get(name, 'none')}, now {now.get(name, 'none')}" for name in changed]


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the kernel has it; empty where unknown."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def gpus(driver: Path = Path("/proc/driver/nvidia/gpus")) -> str:
    """The names of NVIDIA's GPUs as their driver has them, joined by commas; empty where there is none."""
    names = []
    for path in sorted(driver.glob("*/information")):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return ", ".join(names)


def _version(*distributions: str) -> str:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _code_digest(services: Path) -> str:
    """The first 12 digits of the SHA-256 of the code that trains: it tells apart what has one version."""
    digest = hashlib.sha256()
    for path in sorted(path for part in _TRAINING_CODE for path in (services / part).rglob("*.py")):
        digest.update(path.relative_to(services).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]

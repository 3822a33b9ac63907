"""What the machine offers a training process: memory that is free, GPUs, processor features, speed of products.

Reads the kernel's files, asks nvidia-smi, times one matrix product. Loads no TensorFlow, so that the service can ask.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
# With AVX-512 alone bfloat16 pays for large products only; below this many weights the casts cost more.
# With AMX it paid at every size: a step of `nano` took 0.84 times as long as in float32.
MIN_BFLOAT16_PARAMETERS = 20_000_000
PRODUCT_SIDE, PRODUCTS = 1024, 3


@dataclass(frozen=True, slots=True)
class Device:
    """What a run would train on."""

    words: str
    available_bytes: int
    """Free for a training process: of the first GPU, or of the container or machine; 0 where unknown."""
    num_gpus: int = 0


def device(cpuinfo: Path = PROC / "cpuinfo") -> Device:
    """Look at the machine."""
    if gpus := _gpus():
        name, free = gpus[0]
        return Device(f"{len(gpus)} x {name}" if len(gpus) > 1 else name, free, len(gpus))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = {line.partition(":")[2].strip() for line in _text(cpuinfo).splitlines() if line.startswith("model name")}
    return Device(", ".join([f"{cores} CPU cores", *sorted(names)]), available_memory())


def available_memory(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Bytes that this machine and this container still give; 0 where the system does not say."""
    found = [line.split()[1] for line in _text(proc / "meminfo").splitlines() if line.startswith("MemAvailable:")]
    limits = [int(found[0]) * 1024] if found else []
    for limit, used, files in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        most = _text(cgroup / limit).strip()
        if most.isdecimal():
            now = _text(cgroup / used).strip()
            stat = dict(line.split() for line in _text((cgroup / used).parent / "memory.stat").splitlines())
            # What files take there is given back when it is needed.
            limits.append(max(0, int(most) - int(now or 0) + int(stat.get(files, 0))))
            break
    return min(limits, default=0)


def cpu_flags(cpuinfo: Path = PROC / "cpuinfo") -> set[str]:
    """What the CPU can do, in Linux's words; empty elsewhere."""
    return set(_text(cpuinfo).split())


def fastest_precision(num_parameters: int, *, has_gpu: bool) -> str:
    """`bfloat16` or `float32`: the format of matrix products in which a model of this size trains faster here."""
    flags = set() if has_gpu else cpu_flags()
    pays = has_gpu or "amx_bf16" in flags or ("avx512_bf16" in flags and num_parameters >= MIN_BFLOAT16_PARAMETERS)
    return "bfloat16" if pays else "float32"


@cache
def product_rate() -> float:
    """Operations a second of a float32 matrix product, measured once; takes a fraction of a second."""
    side = np.ones((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    side @ side  # the threads wake up
    durations = []
    for _ in range(PRODUCTS):
        begun = time.perf_counter()
        side @ side
        durations.append(time.perf_counter() - begun)
    return 2.0 * PRODUCT_SIDE**3 / min(durations)


def _gpus() -> list[tuple[str, int]]:
    """Name and free bytes of each GPU, as nvidia-smi tells; none where there is no such program."""
    command = ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
        return [
            (name.strip(), int(free) * 1024**2) for name, free in (line.rsplit(",", 1) for line in told.splitlines())
        ]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

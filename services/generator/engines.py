"""Which engine runs a model, and making it: from the file that was published with it, or from one converted here.

In: a published version, verified, and the settings. Out: an engine, warmed. Imports each engine late: TensorFlow takes
seconds and a gigabyte, and the process that serves `litert` never loads it.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.common.errors import Corrupt, Unavailable
from services.common.files import new_folder
from services.generator.engine import Engine
from services.generator.published import Published
from services.generator.settings import GeneratorSettings

log = logging.getLogger(__name__)

GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # the second: Windows' Linux
# Handing a share of a small product to another thread costs more than it saves.
SMALL_PARAMETERS = 20_000_000
CONVERSION_NICE = 10  # running streams go first


def choose(settings: GeneratorSettings) -> str:
    """Return `litert` or `tensorflow`: as asked, else the one with that precision, else TensorFlow for a GPU."""
    if settings.engine != "auto":
        return settings.engine
    if settings.precision in ("int8", "bfloat16"):
        return "litert" if settings.precision == "int8" else "tensorflow"
    return "tensorflow" if any(path.exists() for path in GPU_DEVICES) and _has_cuda() else "litert"


def make(published: Published, settings: GeneratorSettings, cache: Path) -> Engine:
    """Return the engine of a version.

    Args:
        cache: NONESUCH_CACHE; files that are converted here stay in `engines/` below it.

    Raises:
        Corrupt: weights or engine file are damaged; names the file.
        Unavailable: the conversion was killed, as for want of memory.
    """
    if choose(settings) == "tensorflow":
        from services.generator.tensorflow_engine import TensorflowEngine

        precision = "float32" if settings.precision == "auto" else settings.precision
        return TensorflowEngine(published.folder, settings.slots, precision, threads=settings.threads)

    from services.generator.litert_engine import LiteRTEngine

    path = _engine_file(published, settings.precision, cache / "engines")
    threads = settings.threads or (1 if published.num_parameters < SMALL_PARAMETERS else 0)
    return LiteRTEngine(path, settings.slots, cache_bytes=settings.cache_mb * 1_000_000, threads=threads)


def _engine_file(published: Published, precision: str, cache: Path) -> Path:
    from services.litert.verified import find_engine, weights_digest

    digest = weights_digest(published.digests)
    wanted = "" if precision == "auto" else precision
    folder = cache / f"{digest}-{precision}"
    found = find_engine(published.folder, digest, wanted) or find_engine(folder, digest, wanted)
    return found or _convert(published, "int8" if precision == "auto" else precision, folder)


def _convert(published: Published, precision: str, folder: Path) -> Path:
    """Convert in a process of its own; takes seconds to a minute, while other versions are served."""
    from services.litert.verified import ENGINE

    log.info("model %s came without an engine file: converting it", published.key)
    shutil.rmtree(folder, ignore_errors=True)  # made by another version of the program
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as partial:
        command = [sys.executable, "-m", "services.litert", str(published.folder), str(partial)]
        command += ["--precision", precision, "--nice", str(CONVERSION_NICE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 1 and done.stdout.startswith('{"error"'):
            said = json.loads(done.stdout)
            raise Corrupt(said["error"], metadata={"file": said["file"]})
        if done.returncode:
            why = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
            raise Unavailable(f"model {published.key} could not be converted: {why}", retry_after_s=30.0)
    return folder / ENGINE


def _has_cuda() -> bool:
    """Whether this TensorFlow was installed with NVIDIA's libraries."""
    try:
        version("nvidia-cudnn-cu12")
    except PackageNotFoundError:
        return False
    return True

"""Which engine runs a model, and making it: from the file that was published with it, or from one converted here.

In: a published version, verified, and the settings. Out: an engine, warmed. Imports each engine late: TensorFlow takes
seconds and a gigabyte, and the process that serves `litert` never loads it.
"""

from __future__ import annotations

import logging
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.common.errors import Corrupt
from services.common.files import new_folder
from services.generator.engine import Engine
from services.generator.published import Published
from services.generator.settings import GeneratorSettings
from services.litert.apart import convert_apart
from services.litert.stored import ENGINE, find_engine, weights_digest

log = logging.getLogger(__name__)

GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # the second: Windows' Linux
KEPT_FILES = 8  # engine files that were made here


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
        FailedPrecondition: reason ENGINE_INEXACT: the engine would be too far from the weights.
        Unavailable: the conversion was killed, as for want of memory.
    """
    if choose(settings) == "tensorflow":
        from services.generator.tensorflow_engine import TensorflowEngine

        precision = "float32" if settings.precision == "auto" else settings.precision
        return TensorflowEngine(published.folder, settings.slots, precision, threads=settings.threads)

    from services.generator.litert_engine import LiteRTEngine

    def run(path: Path) -> Engine:
        cache_bytes = settings.cache_mb * 1_000_000
        return LiteRTEngine(path, settings.slots, cache_bytes=cache_bytes, threads=settings.threads)

    path = _engine_file(published, settings.precision, cache / "engines")
    try:
        return run(path)
    except Corrupt as error:
        if path.is_relative_to(published.folder):
            raise
        log.warning("%s; it is made anew", error)
        shutil.rmtree(path.parent)
        return run(_convert(published, settings.precision, path.parent))


def _engine_file(published: Published, precision: str, cache: Path) -> Path:
    digest = weights_digest(published.digests)
    folder = cache / f"{digest}-{precision}"
    found = find_engine(published.folder, digest, "" if precision == "auto" else precision)
    return found or find_engine(folder, digest) or _convert(published, precision, folder)


def _convert(published: Published, precision: str, folder: Path) -> Path:
    """Convert in a process of its own, while other versions are served."""

    log.info("model %s came without an engine file: converting it", published.key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in {folder, *made[: -KEPT_FILES + 1]}:  # of another version of the program, and the oldest
        shutil.rmtree(path, ignore_errors=True)
    try:
        with new_folder(folder) as partial:
            wanted = "int8" if precision == "auto" else precision
            report = convert_apart(published.folder, partial, precision=wanted)
    except FileExistsError:  # another generator with the same cache was quicker
        return folder / ENGINE
    if report["precision"] != wanted:
        log.warning("model %s is served in %s: %s is too far from it", published.key, report["precision"], wanted)
    return folder / ENGINE


def _has_cuda() -> bool:
    """Whether this TensorFlow was installed with NVIDIA's libraries."""
    try:
        version("nvidia-cudnn-cu12")
    except PackageNotFoundError:
        return False
    return True

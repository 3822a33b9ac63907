"""The whole of a fetch: sources in turn, files, conversion, checks. In: what is wanted. Out: a folder for base/.

    <folder>/hub/ or <folder>/openai/    the files as they come
    <folder>/model/                      the result, with its manifest; made anew each time

Everything can be killed at any moment: what has come is found again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, FailedPrecondition, NonesuchError
from services.common.files import sync_contents, sync_folder, write_json
from services.gpt2.config import GPT2Config
from services.gpt2.hugging_face_config import read_config
from services.trainer.fetching import bucket, hub, space
from services.trainer.fetching.download import Downloader
from services.trainer.fetching.names import Wanted
from services.trainer.fetching.record import RESULT
from services.trainer.fetching.remote import RemoteFile
from services.trainer.fetching.sources import HUB, OPENAI, Sources
from services.trainer.fetching.web import Interrupted, Web, WrongAnswer

ASK_RETRIES = 3  # of a question that no answer came to
TELL_S = 0.2  # between two reports of progress within a file
WORDS = {HUB: "the Hugging Face hub", OPENAI: "OpenAI's bucket"}

# Told phase, source, file, bytes done and bytes in all (0: not known).
Tell = Callable[[str, str, str, int, int], None]
Remark = Callable[[str], None]


class Fetch:
    """One fetch, in the process that does it.

    Args:
        folder: there already; what an earlier process left in it is used.
        tell: told how far it is.
        remark: told a sentence whenever something is tried again or elsewhere.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        wanted: Wanted,
        folder: Path,
        sources: Sources,
        *,
        tell: Tell,
        remark: Remark,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wanted, self._folder, self._sources = wanted, folder, sources
        self._tell, self._remark, self._pause = tell, remark, pause

    def run(self) -> Path:
        """Fetch, convert and check; return the folder of the result, which has everything but its manifest's name.

        Raises:
            FailedPrecondition: no source has it; says of each what was wrong. Or the disk is too small.
            OSError: the disk.
        """
        order = [source for source in self._sources.order if source == HUB or self._wanted.in_bucket]
        if not order:
            raise FailedPrecondition(
                f"{self._wanted.repository} is on the hub alone, and NONESUCH_TRAINER_FETCH_SOURCES leaves it out"
            )
        problems = []
        for number, source in enumerate(order):
            try:
                return self._from(source)
            except (Interrupted, WrongAnswer) as problem:
                problems.append(str(problem))
            except Corrupt as problem:
                problems.append(f"what {WORDS[source]} has is not a model to start from: {problem.message}")
            if number + 1 < len(order):
                self._remark(f"{problems[-1]}. Trying {WORDS[order[number + 1]]}")
        raise FailedPrecondition("; and ".join(problems), reason="NOT_FETCHED")

    def _from(self, source: str) -> Path:
        web = Web(self._sources.timeout_s, self._sources.hub_token, self._sources.hub_url)
        try:
            return self._from_hub(web) if source == HUB else self._from_bucket(web)
        finally:
            web.close()

    def _from_hub(self, web: Web) -> Path:
        repository = self._wanted.repository
        where = f"{self._sources.hub_url.rstrip('/')}/{repository}"
        self._tell("asking", where, "", 0, 0)
        found = self._patiently(
            lambda: hub.look_up(
                repository,
                hub_url=self._sources.hub_url,
                token=self._sources.hub_token,
                timeout_s=self._sources.timeout_s,
            )
        )
        folder = self._files_folder("hub", found.files)
        coming = _Coming(self, where, found.files, folder)
        digests = coming.bring(web, lambda file: file.name == "config.json")
        config = read_config(folder / "config.json")
        self._check_config(config, folder / "config.json")
        space.check(folder, coming.remaining() + 4 * config.num_parameters, f"fetching and converting {repository}")
        digests |= coming.bring(web, lambda file: file.name != "config.json")

        from services.gpt2.hugging_face import convert  # TensorFlow, which takes seconds and memory

        target = self._empty_result()
        told_of = hub.WEIGHTS if any(file.name == hub.WEIGHTS for file in found.files) else hub.INDEX
        convert(folder, target, lambda done, total: self._tell("converting", where, told_of, done, total))
        return self._check(target, where, {"repository": repository, "commit": found.commit, "files": digests})

    def _from_bucket(self, web: Web) -> Path:
        where = f"{self._sources.openai_url.rstrip('/')}/models/{self._wanted.in_bucket}"
        self._tell("asking", where, "", 0, 0)
        files = self._patiently(
            lambda: bucket.look_up(
                self._wanted.in_bucket, self._wanted.config, bucket_url=self._sources.openai_url, web=web
            )
        )
        folder = self._files_folder("openai", files)
        coming = _Coming(self, where, files, folder)
        space.check(folder, coming.remaining(), f"fetching {self._wanted.name}")
        digests = coming.bring(web, lambda file: True)
        target = self._empty_result()
        for file in files:
            os.link(folder / file.name, target / file.name)
        return self._check(target, where, {"files": digests})

    def _check(self, target: Path, where: str, origin: dict[str, Any]) -> Path:
        """Read the result whole, and make it durable with its manifest beside it."""
        self._tell("checking", where, "", 0, 0)
        from services.trainer.bases import manifest_of
        from services.trainer.training.inspect import inspect  # TensorFlow

        manifest = manifest_of(target, self._wanted.name, inspect(target))
        self._check_config(GPT2Config.from_hparams(manifest["config"]), target / "hparams.json")
        write_json(target / "manifest.json", manifest | {"source": {"url": where, **origin}})
        sync_contents([path for path in target.rglob("*") if path.is_file()])
        sync_folder(target)
        return target

    def _check_config(self, config: GPT2Config, path: Path) -> None:
        if self._wanted.config is not None and config != self._wanted.config:
            raise Corrupt(
                f"{path} says {config.to_hparams()}; {self._wanted.name} is {self._wanted.config.to_hparams()}",
                metadata={"file": str(path)},
            )

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        for failures in range(1, ASK_RETRIES + 2):
            try:
                return ask()
            except Interrupted as problem:
                if failures > ASK_RETRIES:
                    raise Interrupted(f"{problem}; given up after {failures} attempts") from None
                pause_s = problem.retry_after_s if problem.retry_after_s is not None else 0.5 * 2**failures
                self._remark(f"{problem}; trying again in {pause_s:.3g} s")
                self._pause(pause_s)
        raise AssertionError("the loop returns or raises")

    def _files_folder(self, name: str, files: tuple[RemoteFile, ...]) -> Path:
        """The folder for the files as they come, without those that the source no longer has."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        expected = {file.name for file in files}
        for path in folder.iterdir():
            names = (path.name.removesuffix(ending) for ending in (".json", ".part", ".part.json"))
            if path.name not in expected and expected.isdisjoint(names):
                path.unlink()
        return folder

    def _empty_result(self) -> Path:
        target = self._folder / RESULT
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return target


class _Coming:
    """The files of one source on their way, and how much of all of them is there."""

    def __init__(self, fetch: Fetch, where: str, files: tuple[RemoteFile, ...], folder: Path) -> None:
        self._fetch, self._where, self._files, self._folder = fetch, where, files, folder
        self._there = {file.name: self._size_now(file) for file in files}
        self._told_at = 0.0

    def _size_now(self, file: RemoteFile) -> int:
        for path in (self._folder / file.name, self._folder / f"{file.name}.part"):
            if path.is_file():
                return path.stat().st_size
        return 0

    def remaining(self) -> int:
        """Bytes that are still to come, as far as sizes are known."""
        return sum(max(0, (file.size or 0) - self._there[file.name]) for file in self._files)

    def bring(self, web: Web, wanted: Callable[[RemoteFile], bool]) -> dict[str, str]:
        """Download the files that are wanted, in order; return their SHA-256 by name."""
        total = sum(file.size or 0 for file in self._files)
        downloader = Downloader(
            web, self._fetch._sources.timeout_s, pause=self._fetch._pause, remark=self._fetch._remark
        )
        digests = {}
        for file in filter(wanted, self._files):

            def told(there: int, name: str = file.name) -> None:
                self._there[name] = there
                if time.monotonic() - self._told_at >= TELL_S:
                    self._told_at = time.monotonic()
                    self._fetch._tell("downloading", self._where, name, sum(self._there.values()), total)

            def checking(name: str = file.name) -> None:
                self._fetch._tell("checking", self._where, name, sum(self._there.values()), total)

            digests[file.name] = downloader.fetch(file, self._folder / file.name, told, checking)
        return digests


def explain(error: Exception) -> str:
    """A sentence about what ended a fetch."""
    if isinstance(error, NonesuchError):
        return error.message
    if isinstance(error, OSError):
        return f"files could not be written or read ({error}): make room or mend the disk, then fetch again"
    return f"{type(error).__name__}: {error}"

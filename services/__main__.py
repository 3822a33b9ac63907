"""`python -m services`: all services as local processes, and on request the whole way from posts to a post.

The way is the `nonesuch` command, step by step as a person would type it; there is no second code path.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from services.supervisor import ServiceError, Supervisor

MIN_WORDS = 150


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM came: unlike Ctrl-C it came to this process alone."""


def _end(number: int, frame: FrameType | None) -> None:
    raise _TerminatedError


def main() -> int:
    """Parse the command line, start the services, walk the way, stay up until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m services", description=__doc__)
    parser.add_argument("--posts", type=Path, help="folder of posts to learn from; none: only start the services")
    parser.add_argument("--base", default="nano", help="what to start from: nano, micro, mini or a folder of base/")
    parser.add_argument("--train", default="", help="more options for `nonesuch train`, in one argument")
    parser.add_argument("--once", action="store_true", help="end after the post is printed")
    parser.add_argument("--free-ports", action="store_true", help="take any free ports")
    options = parser.parse_args()
    if options.posts:
        options.posts = options.posts.expanduser()  # not every shell does it in `make run POSTS=~/blog`
        if not options.posts.is_dir():
            parser.error(f"--posts {options.posts}: no such folder")
    elif options.train or options.once:
        parser.error("--train and --once need --posts: without posts there is nothing to learn from")
    signal.signal(signal.SIGTERM, _end)

    supervisor = Supervisor(os.environ, free_ports=options.free_ports)
    try:
        started = time.monotonic()
        supervisor.start(progress=lambda name: _say(f"{name:<10} {supervisor.address(name)}"))
        took = time.monotonic() - started
        _say(f"five services are up after {took:.1f} s; logs in {supervisor.log_folder}")
        if options.posts:
            status = walk(supervisor, options.posts.resolve(), options.base, shlex.split(options.train))
            if status or options.once:
                return status
        print(f"\nThe page: {supervisor.page_url()}\nCtrl-C stops everything.", flush=True)
        while True:
            time.sleep(0.5)
            _check(supervisor)
    except KeyboardInterrupt:
        return 0 if not options.once else 130
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # once is enough
            signal.signal(number, signal.SIG_IGN)
        _say("stopping")
        supervisor.stop()


def walk(supervisor: Supervisor, posts: Path, base: str, train_options: list[str]) -> int:
    """Posts in, a model trained and published, a post out. What is there already is not done again.

    Returns:
        The exit status of the first step that failed, or 0.
    """
    corpus = corpus_name(posts)
    name = model_name(corpus, base)
    if status := _nonesuch(supervisor, "posts", "add", str(posts), "--corpus", corpus):
        return status
    if not _is_published(supervisor, name):
        train = ["train", "--corpus", corpus, "--run", name, "--base", base, "--publish", "at-end", "--follow"]
        if status := _nonesuch(supervisor, *train, *train_options):
            return status
        # A run that was finished before does not publish once more.
        if not _is_published(supervisor, name) and (status := _nonesuch(supervisor, "models", "publish", name)):
            return status
    else:
        _say(f"model {name} is there; `nonesuch train --corpus {corpus} --run NAME` trains another")
    # A post of some length: what the model itself ends early is drawn again, and the context slides on.
    # A small model at temperature 1 wanders.
    post = ["generate", "--model", name, "--wait", "--temperature", "0.8", "--slide", "--length", "500"]
    if _nonesuch(supervisor, *post, "--min-words", str(MIN_WORDS)) == 0:
        return 0
    return _nonesuch(supervisor, *post)  # who writes short posts gets a short one


def corpus_name(posts: Path) -> str:
    """A corpus's name from its folder's: `~/blog/_posts` is `blog`.

    >>> corpus_name(Path("/home/me/My Blog/_posts"))
    'My-Blog'
    """
    generic = {"posts", "_posts", "post", "content", "src", "source", "docs"}
    named = next((part for part in reversed(posts.parts) if part.lower() not in generic and part != "/"), "default")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", named).strip("-.") or "default"


def model_name(corpus: str, base: str) -> str:
    """The run's and the model's name: the corpus's, and the base's where it is not the usual one.

    >>> model_name("blog", "nano"), model_name("blog", "micro")
    ('blog', 'blog-micro')
    """
    return corpus if base == "nano" else f"{corpus}-{base}"


def _is_published(supervisor: Supervisor, model: str) -> bool:
    command = [sys.executable, "-m", "services.client", "models", "list", "--json"]
    answer = subprocess.run(command, env=dict(supervisor.environ), stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        raise ServiceError("the published models could not be listed")
    return any(entry["name"] == model for entry in json.loads(answer.stdout))


def _nonesuch(supervisor: Supervisor, *arguments: str) -> int:
    """Run the `nonesuch` command in the foreground, keeping the services up meanwhile."""
    _say(f"$ nonesuch {shlex.join(arguments)}")
    command = subprocess.Popen([sys.executable, "-m", "services.client", *arguments], env=dict(supervisor.environ))
    while True:
        try:
            return command.wait(0.2)
        except subprocess.TimeoutExpired:
            _check(supervisor)
        except KeyboardInterrupt as wish:
            if isinstance(wish, _TerminatedError):
                command.send_signal(signal.SIGINT)
            command.wait()  # else the terminal told it too: it saves and stops
            raise


def _check(supervisor: Supervisor) -> None:
    for name in supervisor.check():
        _say(f"{name} ended and was started again; its log is {supervisor.log_path(name)}")


def _say(line: str) -> None:
    print(f"\033[2m{line}\033[0m" if sys.stdout.isatty() else line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

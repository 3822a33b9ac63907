"""Gathering what the game needs of a version: held-out excerpts, generated ones, and the classifier's verdict.

What has come is kept at once, so a gathering that was broken off goes on where it was. Seeds count up from 0: the same
version gives the same excerpts wherever the engine promises that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protos import generator_pb2
from services.admin.game import classifier
from services.admin.game.excerpts import Excerpt, cut, openings_first
from services.admin.game.held_out import held_out
from services.admin.game.store import Store
from services.admin.game.version import Version
from services.client import writing
from services.client.connection import Connection
from services.common.errors import FailedPrecondition

EXCERPTS = 40  # of each side, where there are so many
MOST_POSTS = 120  # asked for; a model whose posts are too short must not keep the generator for ever
POSTS_AT_ONCE = 4  # leaves places to others
MOST_TOKENS = 600  # of a post: a few excerpts
LATER_PER_POST = 2  # excerpts that are not openings: many posts say more than much of one
PATIENCE_S = 120.0  # for a full queue, or a model that is loading

Progress = Callable[[str, int, int], None]


def gather(services: Connection, store: Store, version: Version, progress: Progress) -> None:
    """Bring what is missing of a version, then let the classifier play.

    Args:
        progress: told what is done, and how far it is.

    Raises:
        FailedPrecondition: the version's dataset holds no post back.
        NotFound: the dataset is gone, or the version.
        Unavailable: the tokenizer or the generator is down.
    """
    if store.stock(version).is_complete:
        return
    real = store.excerpts(version, real=True)
    if not real:
        progress("Reading the posts that were held back", 0, 0)
        posts = held_out(services, version.dataset)
        if not posts:
            raise FailedPrecondition(
                f"the dataset {version.dataset} holds no post back, so there is nothing that this version has not "
                "read; add posts, then train and publish again"
            )
        store.put(version, openings_first(posts, EXCERPTS), real=True)
        real = store.excerpts(version, real=True)
    if real:
        _write(services, store, version, real, progress)
    progress("Letting the classifier play", 0, 0)
    store.close(version, classifier.accuracy(real, store.excerpts(version, real=False)))


def _write(services: Connection, store: Store, version: Version, real: Sequence[Excerpt], progress: Progress) -> None:
    """Ask for posts until there are as many excerpts as wanted, openings and others as among the real ones.

    Nothing is said of sampling: they are drawn as the model draws when nobody says otherwise.
    """
    openings = round(EXCERPTS * sum(each.is_opening for each in real) / len(real))
    wanted = {True: openings, False: EXCERPTS - openings}
    asked = store.stock(version).num_asked
    limits = services.generator.GetServerInfo(generator_pb2.GetServerInfoRequest())
    count = min(POSTS_AT_ONCE, limits.max_samples or POSTS_AT_ONCE)
    length = min(MOST_TOKENS, limits.max_new_tokens or MOST_TOKENS)
    while True:
        here = store.excerpts(version, real=False)
        missing = {kind: wanted[kind] - sum(each.is_opening == kind for each in here) for kind in wanted}
        progress(f"{version.model} writes", len(here), EXCERPTS)
        if asked >= MOST_POSTS or max(missing.values()) <= 0:
            return
        found: list[Excerpt] = []
        request = writing.make_request(model=version.name, n=count, seed=asked, slide=True, max_new_tokens=length)
        for index, text in enumerate(_posts(services, request)):
            pieces = cut(text, post=f"{asked}-{index}")
            found += pieces[:1] + pieces[1:][:LATER_PER_POST]
        kept = []
        for excerpt in found:
            if missing[excerpt.is_opening] > 0:
                missing[excerpt.is_opening] -= 1
                kept.append(excerpt)
        asked += count
        store.put(version, kept, real=False, num_asked=asked)


def _posts(services: Connection, request: generator_pb2.GenerateRequest) -> list[str]:
    answer: generator_pb2.GenerateResponse = writing.patiently(lambda: writing.generate(services, request), PATIENCE_S)
    return [sample.text for sample in answer.samples]

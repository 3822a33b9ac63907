"""Gathering: from the tokenizer's held-out posts and the generator's to excerpts and a verdict."""

import pytest

from protos import generator_pb2, tokenizer_pb2
from services.admin.game.database import Database
from services.admin.game.gathering import EXCERPTS, MOST_POSTS, gather
from services.admin.game.store import Store
from services.admin.game.version import from_message
from services.common.errors import FailedPrecondition, NotFound, Unavailable


def silent(message, done, total):
    pass


def asked(blog):
    return blog.services.generator.asked(generator_pb2.GenerateRequest)


def test_real_excerpts_are_of_the_held_out_posts_and_generated_ones_of_whole_posts(blog, store, version):
    told = []
    gather(blog.services, store, version, lambda *progress: told.append(progress))
    stock = store.stock(version)
    assert (stock.num_real, stock.num_real_posts, stock.num_generated) == (24, 12, EXCERPTS)
    assert stock.told_right.total == 48 and stock.told_right.value == 1.0
    real, made = (store.excerpts(version, real=side) for side in (True, False))
    assert not any("has read" in each.text for each in real)
    assert {each.title for each in made} == {"Made up"}
    assert not any("tags:" in each.text for each in made)
    assert sum(each.is_opening for each in made) == EXCERPTS // 2
    assert told[0][0] == "Reading the posts that were held back"
    assert ("run1 writes", EXCERPTS, EXCERPTS) in told
    (export,) = blog.services.tokenizer.asked(tokenizer_pb2.ExportDatasetRequest)
    assert export.dataset == "blog-1"
    first = asked(blog)[0]
    assert (first.model, first.version, first.prompt, first.seed) == ("run1", 3, "", 0)
    assert not first.HasField("sampling")


def test_a_gathering_that_broke_off_goes_on_where_it_was(blog, store, version):
    calls = []

    def breaking(request):
        calls.append(request)
        if len(calls) == 3:
            raise Unavailable("the generator does not answer")
        return blog.generate(request)

    blog.services.generator.answer("Generate", breaking)
    with pytest.raises(Unavailable):
        gather(blog.services, store, version, silent)
    before = store.stock(version)
    assert before.num_real and before.num_generated and not before.is_complete
    gather(blog.services, store, version, silent)
    assert store.stock(version).is_complete
    seeds = [request.seed for request in calls]
    assert seeds == sorted(seeds) and seeds.count(seeds[2]) == 2 and len(set(seeds)) == len(seeds) - 1
    assert len(blog.services.tokenizer.asked(tokenizer_pb2.ExportDatasetRequest)) == 1
    gather(blog.services, store, version, silent)
    assert len(calls) == len(seeds)


def test_the_same_version_gives_the_same_excerpts(blog, store, version, tmp_path):
    other = Store(Database(tmp_path / "other.db"))
    for each in (store, other):
        gather(blog.services, each, version, silent)
    for side in (True, False):
        assert store.excerpts(version, real=side) == other.excerpts(version, real=side)
    assert store.stock(version) == other.stock(version)


def test_a_server_with_narrow_limits_is_asked_for_what_it_gives(blog, store, version):
    info = generator_pb2.GetServerInfoResponse(max_samples=1, max_new_tokens=200)
    blog.services.generator.answer("GetServerInfo", info)
    gather(blog.services, store, version, silent)
    assert {(request.n, request.max_new_tokens) for request in asked(blog)} == {(1, 200)}
    assert store.stock(version).num_generated == EXCERPTS


def test_a_model_whose_posts_are_too_short_is_given_up(blog, store, version):
    def short(request):
        samples = [generator_pb2.GeneratedSample(text="Too short.") for _ in range(request.n)]
        return generator_pb2.GenerateResponse(samples=samples)

    blog.services.generator.answer("Generate", short)
    gather(blog.services, store, version, silent)
    assert sum(request.n for request in asked(blog)) == MOST_POSTS
    stock = store.stock(version)
    assert stock.is_complete and stock.num_generated == 0 and stock.told_right is None


def test_held_out_posts_that_are_too_short_ask_for_no_text(blog, store, version):
    blog.held_out = [("a.md", "A", "Short.")]
    gather(blog.services, store, version, silent)
    assert not asked(blog)
    assert store.stock(version).num_real == 0 and store.stock(version).told_right is None


def test_a_dataset_that_holds_nothing_back_is_named_with_what_to_do(blog, store, version):
    blog.held_out = []
    with pytest.raises(FailedPrecondition, match=r"blog-1 holds no post back.*add posts"):
        gather(blog.services, store, version, silent)
    assert not asked(blog)


def test_a_dataset_that_is_gone_is_named(blog, store, version):
    blog.services.tokenizer.answer("ExportDataset", NotFound("no dataset 'blog-1'"))
    with pytest.raises(NotFound, match="blog-1, which this version learned from, was deleted"):
        gather(blog.services, store, version, silent)


def test_half_an_export_is_not_taken(blog, store, version):
    blog.services.tokenizer.answer("ExportDataset", lambda request: list(blog.export(request))[:-1])
    with pytest.raises(Unavailable, match="broke off"):
        gather(blog.services, store, version, silent)
    assert store.excerpts(version, real=True) == []


def test_a_version_is_told_by_where_it_comes_from(blog, version):
    first = from_message(blog.message)
    assert (first.model, first.number, first.dataset, first.name) == ("run1", 3, "blog-1", "run1@3")
    blog.message.created_at.seconds += 1
    assert from_message(blog.message) != first

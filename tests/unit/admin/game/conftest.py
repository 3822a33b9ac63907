"""Versions, excerpts and services of the game that answer from memory."""

import json

import pytest

from protos import generator_pb2, tokenizer_pb2, trainer_pb2
from services.admin.game.database import Database
from services.admin.game.excerpts import Excerpt
from services.admin.game.rounds import Rounds
from services.admin.game.store import Store
from services.admin.game.version import Version

REAL_SENTENCE = "On Friday {} <b>the river</b> came in & stood, like a drawer that somebody leans on. "
MADE_SENTENCE = "Nobody kept the kettle on the second clock of {}, and the heron was a wind there. "


def prose(sentence, post):
    """The body of a post: two excerpts, like no other's."""
    return "".join(sentence.format(f"{post}-{place}") for place in range(12))


def excerpts(count, *, side, per_post=2):
    """Excerpts that differ, two of each post."""
    return [
        Excerpt(f"{side} excerpt {each}. " * 20, f"{side}{each // per_post}", f"Title {each}", each % per_post == 0)
        for each in range(count)
    ]


@pytest.fixture
def database(tmp_path):
    return Database(tmp_path / "game.db")


@pytest.fixture
def store(database):
    return Store(database)


@pytest.fixture
def rounds(database):
    return Rounds(database)


@pytest.fixture
def version():
    return Version("run1", 3, "blog-1", "run1/40/blog-1/7")


@pytest.fixture
def stocked(store, version):
    """A version with 8 excerpts of each side."""
    store.put(version, excerpts(8, side="real"), real=True)
    store.put(version, excerpts(8, side="made"), real=False)
    return version


class Blog:
    """The trainer's version, the tokenizer's dataset and the generator's posts."""

    def __init__(self, services):
        self.services = services
        bodies = [prose(REAL_SENTENCE, number) for number in range(12)]
        self.held_out = [(f"p{number}.md", f"Post {number}", body) for number, body in enumerate(bodies)]
        self.message = trainer_pb2.ModelVersion(model="run1", version=3, run="run1", step=40, dataset="blog-1")
        self.message.created_at.seconds = 7
        self.publish(self.message)
        services.tokenizer.answer("ExportDataset", self.export)
        services.generator.answer("Generate", self.generate)

    def publish(self, *versions):
        model = trainer_pb2.Model(name="run1", versions=versions)
        self.services.trainer.answer("ListModels", trainer_pb2.ListModelsResponse(models=[model] if versions else []))

    def export(self, request):
        documents = [(path, title, text, "validation") for path, title, text in self.held_out]
        documents.insert(1, ("read.md", "Read", "The model has read this. " * 40, "train"))
        lines = b"".join(
            json.dumps({"id": path, "path": path, "title": title, "text": text, "split": split}).encode() + b"\n"
            for path, title, text, split in documents
        )
        yield tokenizer_pb2.ExportDatasetResponse(file=tokenizer_pb2.ExportedFile(name="dataset.jsonl"))
        for start in range(0, len(lines), 700):
            yield tokenizer_pb2.ExportDatasetResponse(chunk=lines[start : start + 700])
        yield tokenizer_pb2.ExportDatasetResponse(done=tokenizer_pb2.ExportDone())

    def generate(self, request):
        answer = generator_pb2.GenerateResponse()
        for index in range(request.n):
            body = prose(MADE_SENTENCE, request.seed + index)
            answer.samples.add(index=index, text=f"title: Made up\ntags: river\n\n{body}")
        return answer


@pytest.fixture
def blog(services):
    return Blog(services)

"""The page with services that answer from memory."""

import re
from types import SimpleNamespace

import pytest

from protos import corpus_pb2, generator_pb2, shelf_pb2, tokenizer_pb2, trainer_pb2
from services.admin.app import create_app
from services.admin.settings import AdminSettings

TOKEN = "a-token"


class FakeService:
    """A service: its rpcs are set as attributes or default to an empty response; requests are kept."""

    def __init__(self, name, wire):
        self.name = name
        self.address = "127.0.0.1:1"
        self.requests = []
        self._wire = wire
        self._answers = {}

    def answer(self, rpc, answer):
        """Let an rpc return `answer`, raise it, or call it with the request."""
        self._answers[rpc] = answer

    def asked(self, kind):
        """The requests of one kind, in order."""
        return [request for request in self.requests if isinstance(request, kind)]

    def __getattr__(self, rpc):
        if rpc.startswith("_"):
            raise AttributeError(rpc)

        def call(request, *, timeout_s=30.0, wait_for_ready=False):
            self.requests.append(request)
            answer = self._answers.get(rpc)
            if answer is None:
                return getattr(self._wire, f"{rpc}Response")()
            if isinstance(answer, Exception):
                raise answer
            return answer(request) if callable(answer) else answer

        return call


@pytest.fixture
def services():
    corpus = FakeService("corpus", corpus_pb2)
    trainer = FakeService("trainer", trainer_pb2)
    generator = FakeService("generator", generator_pb2)
    tokenizer = FakeService("tokenizer", tokenizer_pb2)
    return SimpleNamespace(
        corpus=corpus,
        shelf=FakeService("corpus", shelf_pb2),
        tokenizer=tokenizer,
        trainer=trainer,
        generator=generator,
        services=(corpus, tokenizer, trainer, generator),
    )


@pytest.fixture
def app(services, tmp_path, monkeypatch):
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setattr(
        "services.admin.pages.overview.health_of",
        lambda asked: {service.name: service.name != "generator" for service in asked.services},
    )
    app = create_app(AdminSettings(state=tmp_path, upload_limit_mib=1, upload_limit_posts=5), services)
    app.testing = True
    return app


@pytest.fixture
def visitor(app):
    """A browser that has not signed in."""
    return app.test_client()


@pytest.fixture
def client(app):
    """A browser that has signed in."""
    client = app.test_client()
    client.get(f"/?token={TOKEN}")
    return client


@pytest.fixture
def csrf(client):
    """The token that forms carry."""
    page = client.get("/try").get_data(as_text=True)
    return re.search(r'name="csrf-token" content="([^"]+)"', page)[1]

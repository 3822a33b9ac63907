"""One corpus service for all tests of this folder: each has corpora of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protos import corpus_pb2_grpc
from services.common import rpc
from services.corpus.catalogue import Catalogue
from services.corpus.cleaners import Cleaners
from services.corpus.database import Database
from services.corpus.servicer import SERVICE_NAME, CorpusServicer
from services.corpus.settings import CorpusSettings
from services.corpus.sources import Sources


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpora")


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    database = Database(folder)
    cleaners = Cleaners(2, processor_seconds=20.0)
    settings = CorpusSettings(
        max_upload_posts=300, max_upload_bytes=20 << 20, max_post_bytes=3 << 20, max_archive_bytes=8 << 20
    )
    servicer = CorpusServicer(Catalogue(database, Sources(folder / "posts")), cleaners, settings)
    server = rpc.start(
        "127.0.0.1:0",
        lambda started: corpus_pb2_grpc.add_CorpusServiceServicer_to_server(servicer, started),
        services=[SERVICE_NAME],
    )
    yield f"127.0.0.1:{server.port}"
    server.stop(0)
    cleaners.close()
    database.close()


@pytest.fixture
def stub(address: str) -> Iterator[corpus_pb2_grpc.CorpusServiceStub]:
    with rpc.channel(address) as channel:
        yield corpus_pb2_grpc.CorpusServiceStub(channel)

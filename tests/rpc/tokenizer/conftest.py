"""A tokenizer beside a corpus service that is as small as can be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from protos import corpus_pb2_grpc
from services.common import rpc
from tests.gpt2_files import gpt2_folder
from tests.rpc.tokenizer.serving import FakeCorpus, House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    base = tmp_path / "base" / "124M"
    base.mkdir(parents=True)
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copyfile(gpt2_folder() / name, base / name)
    corpus = FakeCorpus()
    corpus_server = rpc.start(
        "127.0.0.1:0",
        lambda server: corpus_pb2_grpc.add_CorpusServiceServicer_to_server(corpus, server),
        services=[],
    )
    house = House(tmp_path, corpus, f"127.0.0.1:{corpus_server.port}")
    house.start()
    yield house
    corpus.gate.set()
    house.stop()
    corpus_server.stop(2)

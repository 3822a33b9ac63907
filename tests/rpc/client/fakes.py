"""The four services that answer from memory, on one port, and the shelf as it is."""

from __future__ import annotations

import tempfile
from pathlib import Path

from protos import (
    corpus_pb2_grpc,
    generator_pb2_grpc,
    shelf_pb2_grpc,
    tokenizer_pb2_grpc,
    trainer_pb2_grpc,
)
from services.common import rpc
from services.common.settings import CommonSettings
from services.corpus.shelf import Shelf
from services.corpus.shelf_rpcs import ShelfServicer
from tests.rpc.client.fake_corpus import FakeCorpus
from tests.rpc.client.fake_generator import FakeGenerator
from tests.rpc.client.fake_tokenizer import FakeTokenizer
from tests.rpc.client.fake_trainer import FakeTrainer


class Fakes:
    """The four on one port, and the environment that points to it."""

    def __init__(self):
        self.corpus = FakeCorpus()
        self.tokenizer = FakeTokenizer()
        self.trainer = FakeTrainer()
        self.generator = FakeGenerator()
        self._folder = tempfile.TemporaryDirectory()
        self.shelf = Shelf(Path(self._folder.name), most_posts=10)
        self.server = rpc.start("127.0.0.1:0", self._register, services=())
        address = f"127.0.0.1:{self.server.port}"
        names = ("CORPUS", "TOKENIZER", "TRAINER", "GENERATOR")
        self.environment = {f"NONESUCH_{name}_ADDRESS": address for name in names}

    @property
    def settings(self) -> CommonSettings:
        """Of a library that is to find them."""
        return CommonSettings(
            **{name.removeprefix("NONESUCH_").lower(): value for name, value in self.environment.items()}
        )

    def _register(self, server):
        corpus_pb2_grpc.add_CorpusServiceServicer_to_server(self.corpus, server)
        tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(self.tokenizer, server)
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(self.trainer, server)
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(self.generator, server)
        shelf_pb2_grpc.add_ShelfServiceServicer_to_server(ShelfServicer(self.shelf), server)

    def stop(self):
        self.trainer.stopped.set()
        self.server.stop(0)
        self.shelf.close()
        self._folder.cleanup()

"""`python -m services.tokenizer`: text to ids and back, vocabularies, datasets."""

from __future__ import annotations

import os
import sys

from protos.tokenizer_pb2_grpc import add_TokenizerServiceServicer_to_server
from services.common import process
from services.common.errors import NonesuchError
from services.common.settings import CommonSettings, read_or_exit
from services.tokenizer import writer_lock
from services.tokenizer.datasets import Datasets
from services.tokenizer.peers import CorpusPeer
from services.tokenizer.servicer import SERVICE_NAME, TokenizerServicer
from services.tokenizer.settings import PREFIX, TokenizerSettings
from services.tokenizer.vocabularies import Vocabularies


def main() -> int:
    """Settings, the volume, the servicer, then serve until told to stop."""
    common = read_or_exit(CommonSettings, "NONESUCH_", os.environ)
    settings = read_or_exit(TokenizerSettings, PREFIX, os.environ)
    try:
        lock = writer_lock.hold(common.data)
        corpus = CorpusPeer(common.corpus_address)
        servicer = TokenizerServicer(Vocabularies(common.data), Datasets(common.data), corpus, settings)
    except (NonesuchError, OSError, ValueError) as error:
        print(f"tokenizer: {error}", file=sys.stderr)
        return 1
    with lock:
        return process.run(
            "tokenizer",
            common,
            listen=settings.listen,
            metrics_listen=settings.metrics_listen,
            services=[SERVICE_NAME],
            register=lambda server: add_TokenizerServiceServicer_to_server(servicer, server),
            started=lambda server: servicer.start(),
            draining=servicer.drain,
            stopped=servicer.stop,
        )


if __name__ == "__main__":
    sys.exit(main())

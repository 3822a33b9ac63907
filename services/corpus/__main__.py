"""`python -m services.corpus`: posts in, documents out; and the shelf for posts that models wrote."""

from __future__ import annotations

import os
import sys

import grpc

from protos.corpus_pb2_grpc import add_CorpusServiceServicer_to_server
from protos.shelf_pb2_grpc import add_ShelfServiceServicer_to_server
from services.common import process
from services.common.errors import NonesuchError
from services.common.settings import CommonSettings, read_or_exit
from services.corpus.catalogue import Catalogue
from services.corpus.cleaners import Cleaners
from services.corpus.database import Database
from services.corpus.servicer import SERVICE_NAME, CorpusServicer
from services.corpus.settings import PREFIX, CorpusSettings
from services.corpus.shelf import Shelf
from services.corpus.shelf_rpcs import SHELF_NAME, ShelfServicer
from services.corpus.sources import Sources


def main() -> int:
    """Settings, the catalogue and the shelf, their servicers, then serve until told to stop."""
    common = read_or_exit(CommonSettings, "NONESUCH_", os.environ)
    settings = read_or_exit(CorpusSettings, PREFIX, os.environ)
    folder = common.data / "corpora"
    try:
        database = Database(folder)
        catalogue = Catalogue(database, Sources(folder / "posts"))
        catalogue.sweep()
    except (NonesuchError, OSError) as error:
        print(f"corpus: {error}", file=sys.stderr)
        return 1
    cleaners = Cleaners(settings.cleaning_processes, settings.cleaning_seconds)
    shelf = Shelf(common.data / "shelf", settings.max_shelf_posts)

    def register(server: grpc.Server) -> None:
        add_CorpusServiceServicer_to_server(CorpusServicer(catalogue, cleaners, settings), server)
        add_ShelfServiceServicer_to_server(ShelfServicer(shelf), server)

    try:
        return process.run(
            "corpus",
            common,
            listen=settings.listen,
            metrics_listen=settings.metrics_listen,
            services=[SERVICE_NAME, SHELF_NAME],
            register=register,
        )
    finally:
        shelf.close()
        cleaners.close()
        database.close()


if __name__ == "__main__":
    sys.exit(main())

"""The posts that a dataset holds back: read from the tokenizer as the lines of an export, cut into excerpts.

An export holds the whole dataset, and the tokenizer has no other way to its documents; the lines pass by, and only the
excerpts of the validation side are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from protos import tokenizer_pb2
from services.admin.game.excerpts import Excerpt, cut
from services.client.connection import Connection
from services.common.errors import NotFound, Unavailable

EXPORT_S = 600.0
MOST_PER_POST = 10


def held_out(services: Connection, dataset: str) -> list[list[Excerpt]]:
    """The excerpts of each post that the dataset holds back, in an order that has nothing to do with dates.

    Raises:
        NotFound: the dataset is gone.
        Unavailable: the tokenizer is down, or the export broke off.
    """
    try:
        lines = list(_validation_lines(services, dataset))
    except NotFound:
        raise NotFound(
            f"the dataset {dataset}, which this version learned from, was deleted, and with it went the posts that it "
            "held back; train and publish again to play with a new version",
            metadata={"dataset": dataset},
        ) from None
    lines.sort(key=lambda line: hashlib.sha256(line["id"].encode()).hexdigest())
    return [cut(line["text"], post=line["id"], title=line["title"])[:MOST_PER_POST] for line in lines]


def _validation_lines(services: Connection, dataset: str) -> Iterator[dict[str, str]]:
    for line in _lines(services, dataset):
        document = json.loads(line)
        if document["split"] == "validation":
            yield document


def _lines(services: Connection, dataset: str) -> Iterator[bytes]:
    wanted = tokenizer_pb2.ExportDatasetRequest(dataset=dataset, format=tokenizer_pb2.DATASET_FORMAT_JSONL)
    pending = b""
    for message in services.tokenizer.ExportDataset(wanted, timeout_s=EXPORT_S):
        match message.WhichOneof("message"):
            case "chunk":
                *whole, pending = (pending + message.chunk).split(b"\n")
                yield from whole
            case "done":
                return
    raise Unavailable(f"the export of the dataset {dataset} broke off; try again")

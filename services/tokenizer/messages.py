"""The tokenizer's values as protobuf messages, and pages of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from protos import tokenizer_pb2 as pb
from services.common.errors import InvalidRequest
from services.tokenizer.builds import Build, State
from services.tokenizer.vocabularies import VocabularyFacts

T = TypeVar("T")

LARGEST_PAGE = 1000
DEFAULT_PAGE = 100

_STATES = {
    State.PENDING: pb.DATASET_STATE_PENDING,
    State.RUNNING: pb.DATASET_STATE_RUNNING,
    State.FAILED: pb.DATASET_STATE_FAILED,
    State.CANCELLED: pb.DATASET_STATE_CANCELLED,
}
FINISHED = (pb.DATASET_STATE_SUCCEEDED, pb.DATASET_STATE_FAILED, pb.DATASET_STATE_CANCELLED)


def vocabulary_message(facts: VocabularyFacts) -> pb.Vocabulary:
    """A vocabulary's facts on the wire."""
    return pb.Vocabulary(
        id=facts.id,
        size=facts.size,
        end_of_text_id=facts.end_of_text_id,
        digest=facts.digest,
        bytes_per_token=facts.bytes_per_token,
        created_at=_timestamp(facts.created_at.isoformat()),
        from_base=facts.from_base,
    )


def build_message(build: Build) -> pb.Dataset:
    """A dataset that is not complete, on the wire."""
    order = build.order
    return pb.Dataset(
        id=order.dataset_id,
        state=_STATES[build.state],
        error=build.error,
        num_documents_done=build.num_documents_done,
        num_documents=order.snapshot.num_documents,
        corpus=order.snapshot.corpus,
        snapshot=order.snapshot.digest,
        vocabulary=order.vocabulary,
        vocabulary_digest=order.vocabulary_digest,
        header_format=order.header_format,
        created_at=_timestamp(build.created_at),
    )


def dataset_message(manifest: dict[str, Any]) -> pb.Dataset:
    """A complete dataset, on the wire."""
    return pb.Dataset(
        id=manifest["id"],
        state=pb.DATASET_STATE_SUCCEEDED,
        num_documents_done=manifest["num_documents"],
        num_documents=manifest["num_documents"],
        corpus=manifest["corpus"],
        snapshot=manifest["snapshot"],
        vocabulary=manifest["vocabulary"],
        vocabulary_digest=manifest["vocabulary_digest"],
        vocabulary_size=manifest["vocabulary_size"],
        header_format=manifest["header_format"],
        num_tokens=manifest["num_tokens"],
        num_train_tokens=manifest["num_train_tokens"],
        num_validation_tokens=manifest["num_validation_tokens"],
        created_at=_timestamp(manifest["created_at"]),
    )


def page(
    items: Sequence[T],
    key: Callable[[T], str],
    *,
    page_size: int,
    page_token: str,
    newest_first: bool = False,
) -> tuple[list[T], str]:
    """A page of `items` in order of `key`, and the token of the next page (empty after the last).

    A token is the key of the page's last item, so that items that come or go move no others.

    Raises:
        InvalidRequest: the page size is out of range.
    """
    if not 0 <= page_size <= LARGEST_PAGE:
        raise InvalidRequest(
            f"page_size is {page_size}: give 1 to {LARGEST_PAGE}, or 0 for {DEFAULT_PAGE}", field="page_size"
        )
    size = page_size or DEFAULT_PAGE
    ordered = sorted(items, key=key, reverse=newest_first)
    if page_token:
        ordered = [item for item in ordered if (key(item) < page_token if newest_first else key(item) > page_token)]
    return ordered[:size], key(ordered[size - 1]) if len(ordered) > size else ""


def _timestamp(iso: str) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(datetime.fromisoformat(iso))
    return timestamp

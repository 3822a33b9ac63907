"""Encodes a stream of documents on all processors, in order, in the same memory whatever the stream's length.

In: documents one at a time. Out: their ids in the same order. Documents travel in batches to processes that each hold
the codec (encoding_process.py); a stream that ends within one batch is encoded here, which is sooner than a process
starts. A process that dies is replaced once for its batch; a batch that ends two is given up.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.common.errors import Busy, InvalidRequest
from services.tokenizer.child import Child, ChildEnded
from services.tokenizer.documents import Document, text_for_model
from services.tokenizer.encoding_process import Refused, answer, pack_texts, unpack_ids
from services.tokens.codec import Codec
from services.tokens.dataset import token_type
from services.tokens.dataset_writer import EncodedDocument

log = logging.getLogger(__name__)

BATCH_BYTES = 256 << 10  # text in a batch, the last document of which may go beyond it
BATCH_DOCUMENTS = 1000
_BATCHES_AHEAD = 2  # per process, so that none waits for the reader
_WAIT_S = 0.1  # how often the caller is asked whether to go on
_MODULE = "services.tokenizer.encoding_process"

# Told how many documents are done; raises to end the work.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is kept of a document while its text is away."""

    id: str
    path: str
    title: str
    num_bytes: int
    split: int | None

    def with_ids(self, ids: np.ndarray) -> EncodedDocument:
        return EncodedDocument(self.id, self.path, self.title, self.num_bytes, ids, self.split)


@dataclass(frozen=True, slots=True)
class _Batch:
    entries: list[_Entry]
    texts: list[bytes]


def encode_documents(
    documents: Iterable[Document],
    *,
    codec: Codec,
    vocabulary_folder: Path,
    header_format: str,
    num_processes: int,
    progress: Progress,
) -> Iterator[EncodedDocument]:
    """Yield the documents with their ids, in order.

    Args:
        codec, vocabulary_folder: the vocabulary, opened for here and as files for the processes.
        num_processes: how many encode at a time, at least 1.
        progress: told how many documents were yielded; what it raises ends the work and the processes at once.

    Raises:
        Busy: a batch ended two processes in a row, as happens when memory runs out.
        InvalidRequest: a document cannot be encoded; names it.
    """
    done = 0
    batches = _batches(documents, header_format)
    first = list(itertools.islice(batches, 2))
    if len(first) < 2:
        for batch in first:
            message = answer(codec, pack_texts(batch.texts))
            for document in _documents(batch, message, codec):
                progress(done)
                yield document
                done += 1
        return
    with _Pool(num_processes, vocabulary_folder) as pool:
        waiting: deque[tuple[_Batch, Future[bytes]]] = deque()
        batches = itertools.chain(first, batches)
        while True:
            for batch in itertools.islice(batches, max(0, num_processes * _BATCHES_AHEAD - len(waiting))):
                waiting.append((batch, pool.submit(batch)))
            if not waiting:
                return
            batch, future = waiting.popleft()
            while not wait([future], _WAIT_S).done:
                progress(done)
            for document in _documents(batch, future.result(), codec):
                progress(done)
                yield document
                done += 1


def _batches(documents: Iterable[Document], header_format: str) -> Iterator[_Batch]:
    entries: list[_Entry] = []
    texts: list[bytes] = []
    size = 0
    for document in documents:
        text = text_for_model(document, header_format).encode()
        entries.append(_Entry(document.id, document.path, document.title, len(text), document.split))
        texts.append(text)
        size += len(text)
        if size >= BATCH_BYTES or len(texts) >= BATCH_DOCUMENTS:
            yield _Batch(entries, texts)
            entries, texts, size = [], [], 0
    if texts:
        yield _Batch(entries, texts)


def _documents(batch: _Batch, message: bytes, codec: Codec) -> Iterator[EncodedDocument]:
    try:
        found = unpack_ids(message, token_type(codec.vocabulary.size))
    except Refused as refusal:
        raise InvalidRequest(f"{batch.entries[refusal.number].path}: {refusal}") from None
    return map(_Entry.with_ids, batch.entries, found)


class _Pool:
    """Processes, each with a thread that hands it one batch after another. A context manager."""

    def __init__(self, num_processes: int, vocabulary_folder: Path) -> None:
        self._folder = vocabulary_folder
        self._children: list[Child] = []
        self._has_ended = False
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(num_processes, thread_name_prefix="encode")
        self._of_this_thread = threading.local()

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill the processes, whatever they do; their threads end with them."""
        with self._lock:
            self._has_ended = True
            for child in self._children:
                child.kill()
        self._threads.shutdown(cancel_futures=True)
        for child in self._children:
            child.close()

    def submit(self, batch: _Batch) -> Future[bytes]:
        """The answer to a batch, soon."""
        return self._threads.submit(self._encode, batch)

    def _encode(self, batch: _Batch) -> bytes:
        message = pack_texts(batch.texts)
        try:
            return self._ask(message)
        except ChildEnded as ended:
            if self._has_ended:  # it was killed because the work is over
                raise
            log.warning("a process that encodes ended (%s) and is started again", ended)
        try:
            return self._ask(message)
        except ChildEnded as ended:
            first, last = batch.entries[0].path, batch.entries[-1].path
            raise Busy(
                f"two processes in a row ended ({ended}) while they encoded {first} to {last}; "
                "give the service more memory, and build again"
            ) from None

    def _ask(self, message: bytes) -> bytes:
        child: Child | None = getattr(self._of_this_thread, "child", None)
        if child is None:
            child = self._of_this_thread.child = self._start()
        try:
            child.send(message)
            return child.receive()
        except ChildEnded:
            self._of_this_thread.child = None
            raise

    def _start(self) -> Child:
        with self._lock:
            if self._has_ended:
                raise ChildEnded(0)
            child = Child(_MODULE, str(self._folder))
            self._children.append(child)
            return child

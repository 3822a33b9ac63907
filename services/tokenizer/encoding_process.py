"""A process that encodes: texts in, token ids out, with the vocabulary of one folder.

`python -m services.tokenizer.encoding_process FD FOLDER`, started by encoding.py alone.
A request is `pack_texts`, an answer `pack_ids`, or `pack_refusal` where a text cannot be encoded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.common.errors import InvalidRequest
from services.tokenizer import child
from services.tokens.codec import Codec
from services.tokens.dataset import token_type
from services.tokens.vocabulary import Vocabulary

_REFUSED = 0xFFFFFFFF  # in place of the number of texts


def pack_texts(texts: Sequence[bytes]) -> bytes:
    """Texts in UTF-8 as a message: their number, their lengths in bytes, the texts."""
    return np.array([len(texts), *map(len, texts)], dtype="<u4").tobytes() + b"".join(texts)


def unpack_texts(message: bytes) -> list[str]:
    """The texts of a message."""
    count = int(np.frombuffer(message, "<u4", 1)[0])
    ends = 4 * (count + 1) + np.cumsum(np.frombuffer(message, "<u4", count + 1)[1:], dtype=np.int64)
    starts = [4 * (count + 1), *ends[:-1].tolist()]
    return [message[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=True)]


def pack_ids(ids: Sequence[np.ndarray], kind: np.dtype) -> bytes:
    """Token ids of texts as a message: their number, how many ids each has, the ids as `kind`."""
    counts = np.array([len(ids), *map(len, ids)], dtype="<u4")
    return counts.tobytes() + b"".join(one.astype(kind).tobytes() for one in ids)


def pack_refusal(number: int, reason: str) -> bytes:
    """That text `number` of a message cannot be encoded, and why."""
    return np.array([_REFUSED, number], dtype="<u4").tobytes() + reason.encode()


class Refused(Exception):
    """Text `number` of a message cannot be encoded."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def unpack_ids(message: bytes, kind: np.dtype) -> list[np.ndarray]:
    """The ids of each text, as views of the message; Refused if the answer is a refusal."""
    count = int(np.frombuffer(message, "<u4", 1)[0])
    if count == _REFUSED:
        raise Refused(int(np.frombuffer(message, "<u4", 2)[1]), message[8:].decode())
    counts = np.frombuffer(message, "<u4", count + 1)[1:]
    ids = np.frombuffer(message, kind, offset=4 * (count + 1))
    return np.split(ids, np.cumsum(counts[:-1], dtype=np.int64)) if count else []


def answer(codec: Codec, message: bytes) -> bytes:
    """Encode the texts of a message."""
    texts = unpack_texts(message)
    try:
        found = codec.encode_all(texts)
    except InvalidRequest:
        found = []  # one of them, or all together: one by one it is seen which
        try:
            for text in texts:
                found.append(codec.encode_array(text))
        except InvalidRequest as error:
            return pack_refusal(len(found), error.message)
    return pack_ids(found, token_type(codec.vocabulary.size))


def main() -> None:
    """Answer until the service hangs up."""
    connection = child.connection(int(sys.argv[1]))
    codec = Codec(Vocabulary.load(Path(sys.argv[2])))
    while True:
        try:
            connection.send_bytes(answer(codec, connection.recv_bytes()))
        except (EOFError, OSError):
            return


if __name__ == "__main__":
    main()

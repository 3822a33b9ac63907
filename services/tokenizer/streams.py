"""The rpcs that turn text into ids and back: one message, or a stream of them answered one by one.

Limits stand here, so that no request and no answer is larger than a message may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protos import tokenizer_pb2 as pb
from services.common.errors import InvalidRequest
from services.tokenizer.vocabularies import Vocabularies
from services.tokens.codec import Codec, IncrementalDecoder

MOST_TEXT_BYTES = 4 << 20
MOST_IDS = 4 << 20
# Of text; a message holds 16 MiB.
MOST_DECODED_BYTES = 15 << 20
_IDS_AT_ONCE = 1 << 16


def encode(codec: Codec, request: pb.EncodeRequest | pb.EncodeStreamRequest) -> list[int]:
    """The ids that a request asks for; InvalidRequest if its text is too long."""
    _check_text(request.text)
    ids = codec.encode(request.text, allow_special=request.allow_special)
    if request.append_end_of_text:
        ids.append(codec.vocabulary.end_of_text_id)
    return ids


def count(codec: Codec, text: str) -> tuple[int, int]:
    """Tokens and UTF-8 bytes of a text; InvalidRequest if it is too long."""
    num_bytes = _check_text(text)
    return len(codec.encode_array(text)), num_bytes


def decode(codec: Codec, request: pb.DecodeRequest) -> str:
    """The text of a request's ids; InvalidRequest if one is not in the vocabulary, or they are too many."""
    return "".join(_decoded(IncrementalDecoder(codec, skip_special=request.skip_special), request.ids, last=True))


def encode_stream(
    vocabularies: Vocabularies, requests: Iterator[pb.EncodeStreamRequest]
) -> Iterator[pb.EncodeStreamResponse]:
    """For each text its ids."""
    for codec, request in _with_codec(vocabularies, requests):
        yield pb.EncodeStreamResponse(ids=encode(codec, request))


def count_stream(
    vocabularies: Vocabularies, requests: Iterator[pb.CountTokensStreamRequest]
) -> Iterator[pb.CountTokensStreamResponse]:
    """For each text its counts."""
    for codec, request in _with_codec(vocabularies, requests):
        num_tokens, num_bytes = count(codec, request.text)
        yield pb.CountTokensStreamResponse(num_tokens=num_tokens, num_bytes=num_bytes)


def decode_stream(
    vocabularies: Vocabularies, requests: Iterator[pb.DecodeStreamRequest]
) -> Iterator[pb.DecodeStreamResponse]:
    """For each message the characters that its ids complete, and at the end what is left over."""
    decoder: IncrementalDecoder | None = None
    for codec, request in _with_codec(vocabularies, requests):
        if decoder is None:
            decoder = IncrementalDecoder(codec, skip_special=request.skip_special)
        yield pb.DecodeStreamResponse(text="".join(_decoded(decoder, request.ids)))
    rest = decoder.flush() if decoder is not None else ""
    if rest:
        yield pb.DecodeStreamResponse(text=rest)


def _with_codec(vocabularies: Vocabularies, requests: Iterator[Any]) -> Iterator[tuple[Codec, Any]]:
    """Each request beside the codec that the first one names."""
    codec: Codec | None = None
    name = ""
    for request in requests:
        if codec is None:
            name = request.vocabulary
            codec = vocabularies.codec(name)
        elif request.vocabulary not in ("", name):
            raise InvalidRequest(
                f"the stream began with vocabulary {name!r} and cannot go on with {request.vocabulary!r}; "
                "open another stream",
                field="vocabulary",
            )
        yield codec, request


def _decoded(decoder: IncrementalDecoder, ids: Any, *, last: bool = False) -> Iterator[str]:
    if len(ids) > MOST_IDS:
        raise InvalidRequest(f"{len(ids)} ids are more than {MOST_IDS}; send them in parts", field="ids")
    num_bytes = 0
    for start in range(0, len(ids), _IDS_AT_ONCE):
        text = decoder.push_all(ids[start : start + _IDS_AT_ONCE])
        num_bytes += len(text.encode())
        if num_bytes > MOST_DECODED_BYTES:
            raise InvalidRequest(
                f"the text of these ids has more than {MOST_DECODED_BYTES} bytes; send them in parts", field="ids"
            )
        yield text
    if last:
        yield decoder.flush()


def _check_text(text: str) -> int:
    num_bytes = len(text.encode())
    if num_bytes > MOST_TEXT_BYTES:
        raise InvalidRequest(
            f"the text has {num_bytes} bytes, more than {MOST_TEXT_BYTES}; send it in parts", field="text"
        )
    return num_bytes

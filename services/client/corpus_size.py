"""How many tokens a corpus has: counted where a vocabulary is at hand, else estimated, and which of the two."""

from __future__ import annotations

from dataclasses import dataclass

from protos import corpus_pb2, tokenizer_pb2
from services.client.connection import Connection, pages
from services.client.expectations import estimate_tokens
from services.common.errors import NonesuchError

GPT2_VOCABULARY_SIZE = 50257
COUNT_S = 300.0  # a large corpus is read and encoded whole
LIST_S = 5.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much text there is.

    Args:
        num_tokens: with `vocabulary`, headers and end-of-text markers included; estimated if there is none.
        vocabulary: name of the vocabulary that counted; "" if `num_tokens` is estimated.
        gpt2_tokens: with GPT-2's vocabulary; what services/client/expectations.py asks for. Mostly estimated.
    """

    num_tokens: int
    vocabulary: str
    gpt2_tokens: int


def measure(connection: Connection, report: corpus_pb2.CorpusReport, *, timeout_s: float = COUNT_S) -> Size:
    """Count a corpus's tokens with GPT-2's vocabulary, or one that was trained on the corpus, or estimate them.

    Never fails: without a vocabulary, in time or at all, it estimates.

    Args:
        report: of the corpus.
        timeout_s: how long counting may take; finding a vocabulary before it takes LIST_S at most.
    """
    estimate = estimate_tokens(report.num_words, report.num_bytes)
    if not report.num_documents:
        return Size(0, "", 0)
    try:
        vocabulary = _vocabulary(connection, report.corpus, min(timeout_s, LIST_S))
        if vocabulary is None:
            return Size(estimate, "", estimate)
        request = tokenizer_pb2.CountCorpusTokensRequest(corpus=report.corpus, vocabulary=vocabulary.id)
        num_tokens = int(connection.tokenizer.CountCorpusTokens(request, timeout_s=timeout_s).num_tokens)
    except NonesuchError:  # the tokenizer is down or slow: the rest of a report is worth reading
        return Size(estimate, "", estimate)
    is_gpt2 = vocabulary.size == GPT2_VOCABULARY_SIZE
    return Size(num_tokens, vocabulary.id, num_tokens if is_gpt2 else estimate)


def _vocabulary(connection: Connection, corpus: str, timeout_s: float) -> tokenizer_pb2.Vocabulary | None:
    """GPT-2's vocabulary if there is one, else the newest of the corpus; another's would count too many."""
    request = tokenizer_pb2.ListVocabulariesRequest()
    found = [
        entry
        for entry in pages(connection.tokenizer.ListVocabularies, request, "vocabularies", timeout_s=timeout_s)
        if entry.size == GPT2_VOCABULARY_SIZE or entry.id.startswith(f"{corpus}-")
    ]
    return max(
        found,
        key=lambda entry: (entry.size == GPT2_VOCABULARY_SIZE, entry.created_at.ToNanoseconds(), entry.id),
        default=None,
    )

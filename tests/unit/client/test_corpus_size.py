"""Counting a corpus's tokens: what waits for the tokenizer waits no longer than it was given."""

from types import SimpleNamespace

import pytest

from protos import corpus_pb2, tokenizer_pb2
from services.client.corpus_size import LIST_S, measure

REPORT = corpus_pb2.CorpusReport(corpus="letters", num_documents=3, num_words=100, num_bytes=600)


@pytest.mark.parametrize(("given_s", "listing_s"), [(1.0, 1.0), (300.0, LIST_S)])
def test_no_call_waits_longer_than_was_given(given_s, listing_s):
    waited = []

    def list_vocabularies(request, *, timeout_s):
        waited.append(timeout_s)
        found = tokenizer_pb2.Vocabulary(id="letters-1024-aa", size=1024)
        return tokenizer_pb2.ListVocabulariesResponse(vocabularies=[found])

    def count(request, *, timeout_s):
        waited.append(timeout_s)
        return tokenizer_pb2.CountCorpusTokensResponse(num_tokens=77)

    tokenizer = SimpleNamespace(ListVocabularies=list_vocabularies, CountCorpusTokens=count)
    size = measure(SimpleNamespace(tokenizer=tokenizer), REPORT, timeout_s=given_s)

    assert waited == [listing_s, given_s]
    assert (size.num_tokens, size.vocabulary) == (77, "letters-1024-aa")

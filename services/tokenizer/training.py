"""Trains a byte-level BPE vocabulary, GPT-2's kind, of any size.

In: texts. Out: the content of `encoder.json` and `vocab.bpe` in OpenAI's format: first the 256 bytes, then
one token per merge in the order of learning, `<|endoftext|>` last. The same texts give the same files.
The counting and merging is done by the `tokenizers` library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from services.common.errors import InvalidRequest
from services.tokens.vocabulary import END_OF_TEXT, Vocabulary

SMALLEST_SIZE = 257  # the 256 bytes and end-of-text
LARGEST_SIZE = 1_000_000
# A pair seen once teaches nothing that its two halves do not.
_LEAST_COUNT = 2
# A longer token is a ruler or a blob, and would spend an id on one post's habit.
_LONGEST_TOKEN = 64


@dataclass(frozen=True, slots=True)
class TrainedVocabulary:
    """The two files' content. `size` may be less than was asked for, when the texts are few."""

    encoder: bytes
    merges: bytes
    size: int

    def parse(self) -> Vocabulary:
        """The same as a vocabulary that can encode."""
        return Vocabulary.parse(self.encoder, self.merges, where=Path("trained"))


def check_size(size: int, *, field: str) -> int:
    """Return `size` if a vocabulary can have it; raise InvalidRequest naming the field if not."""
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise InvalidRequest(
            f"a vocabulary cannot have {size} entries: give {SMALLEST_SIZE} to {LARGEST_SIZE:,}",
            field=field,
        )
    return size


def train_vocabulary(texts: Iterable[str], size: int) -> TrainedVocabulary:
    """Learn merges from `texts` until the vocabulary has `size` entries or no pair occurs twice.

    Args:
        texts: read once, a few at a time.
        size: entries in all, the bytes and end-of-text included, 257 to 1,000,000.

    Raises:
        InvalidRequest: `size` is out of range.
    """
    check_size(size, field="size")
    tokenizer = Tokenizer(models.BPE())
    # GPT-2's pattern, applied by the library to the byte-mapped text.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1,
        min_frequency=_LEAST_COUNT,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=_LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    model = json.loads(tokenizer.to_str())["model"]
    encoder: dict[str, int] = dict(sorted(model["vocab"].items(), key=lambda entry: entry[1]))
    encoder[END_OF_TEXT] = len(encoder)
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    return TrainedVocabulary(json.dumps(encoder).encode(), b"#version: 0.2\n" + merges.encode(), size=len(encoder))

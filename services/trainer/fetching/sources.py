"""Where base models are fetched from: what the operator's settings say, as the process of a fetch gets it."""

from __future__ import annotations

from dataclasses import dataclass

HUB, OPENAI = "hub", "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Addresses and their order.

    Args:
        order: HUB, OPENAI or both; the second is tried when the first fails.
        offline: fetch nothing.
        hub_url: of the Hugging Face hub or a mirror.
        hub_token: for private repositories; empty sends none.
        openai_url: the folder above `models/`.
        timeout_s: seconds without an answer, or with next to nothing, that are too many.
    """

    order: tuple[str, ...] = (HUB, OPENAI)
    offline: bool = False
    hub_url: str = "https://huggingface.co"
    hub_token: str = ""
    openai_url: str = "https://openaipublic.blob.core.windows.net/gpt-2"
    timeout_s: float = 30.0

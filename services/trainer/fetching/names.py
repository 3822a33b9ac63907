"""What can be fetched by name, and where it lies: GPT-2's sizes, distilgpt2, any `<owner>/<name>` of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.common.errors import InvalidRequest, NotFound
from services.common.files import check_name
from services.gpt2.config import SIZES, GPT2Config

RESERVED = ("fresh", "runs", "models")  # what `--base` gives another meaning: no owner of a repository
_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")


@dataclass(frozen=True, slots=True)
class Known:
    """A base that is known by name.

    Args:
        name: of the folder in base/.
        config: what the model must turn out to be.
        repository: of the hub.
        in_bucket: its folder in OpenAI's bucket; empty when it is not there.
        aliases: other names for it.
    """

    name: str
    config: GPT2Config
    repository: str
    in_bucket: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def download_bytes(self) -> int:
        """About what the hub sends: float32 weights, and a mask of n_ctx x n_ctx that it keeps for each layer."""
        return 4 * (self.config.num_parameters + self.config.n_layer * self.config.n_ctx**2)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a name means.

    Args:
        name: of the folder in base/.
        repository: of the hub.
        in_bucket: its folder in OpenAI's bucket; empty when it is not there.
        config: what the model must turn out to be; None when that is not known beforehand.
    """

    name: str
    repository: str
    in_bucket: str = ""
    config: GPT2Config | None = None


_DISTILLED = GPT2Config(n_vocab=50257, n_ctx=1024, n_embd=768, n_head=12, n_layer=6)
KNOWN = (
    Known("124M", SIZES["124M"], "openai-community/gpt2", "124M", ("117M", "gpt2")),
    Known("355M", SIZES["355M"], "openai-community/gpt2-medium", "355M", ("345M", "gpt2-medium")),
    Known("774M", SIZES["774M"], "openai-community/gpt2-large", "774M", ("gpt2-large",)),
    Known("1558M", SIZES["1558M"], "openai-community/gpt2-xl", "1558M", ("gpt2-xl",)),
    Known("distilgpt2", _DISTILLED, "distilbert/distilgpt2"),
)
_BY_NAME = {
    name.lower(): known for known in KNOWN for name in (known.name, known.repository, *known.aliases)
}  # a repository that has a name is fetched under it


def folder_name(asked: str) -> str:
    """The name in base/ of what was asked for; what is not known keeps its own.

    >>> folder_name("345M"), folder_name("someone/poems"), folder_name("mine")
    ('355M', 'someone--poems', 'mine')
    """
    known = _BY_NAME.get(asked.lower())
    if known:
        return known.name
    return asked if asked.partition("/")[0] in RESERVED else asked.replace("/", "--")


def resolve(asked: str) -> Wanted:
    """What a name means; upper and lower case are one in the known names.

    >>> resolve("117m").name, resolve("someone/gpt2-poems").name
    ('124M', 'someone--gpt2-poems')

    Raises:
        NotFound: it is neither known nor of the form `<owner>/<name>`; names those known.
        InvalidRequest: the repository's name is too long for a folder.
    """
    known = _BY_NAME.get(asked.lower())
    if known:
        return Wanted(known.name, known.repository, known.in_bucket, known.config)
    if not _REPOSITORY.fullmatch(asked) or asked.partition("/")[0] in RESERVED:
        names = ", ".join(known.name for known in KNOWN)
        raise NotFound(
            f"there is no base {asked!r} to fetch: give {names}, or <owner>/<name> of the Hugging Face hub",
            reason="BASE_NOT_KNOWN",
            metadata={"base": asked},
        )
    try:
        return Wanted(check_name(asked.replace("/", "--"), field="base", kind="base"), asked)
    except InvalidRequest:
        raise InvalidRequest(f"{asked!r} makes no folder's name: say what to call it", field="base") from None

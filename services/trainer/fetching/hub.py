"""A repository of the Hugging Face hub: which of its files make a GPT-2, with their sizes and checksums.

The hub's own library knows its addresses and answers; what is downloaded is pinned to one commit. Its downloader
is not used: it begins anew in every process, compares no checksum, and never leaves a connection that drips.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx2
from huggingface_hub import HfApi, hf_hub_url, set_client_factory
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from services.trainer.fetching.remote import RemoteFile
from services.trainer.fetching.web import MOST_REDIRECTS, PASSING, Interrupted, WrongAnswer, try_later

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_PICKLES = re.compile(r"pytorch_model.*\.bin|.*\.(ckpt|pt|pth|h5|msgpack)")


@dataclass(frozen=True, slots=True)
class Repository:
    """What was found.

    Args:
        commit: the files are those of this one.
        files: the small ones first.
    """

    commit: str
    files: tuple[RemoteFile, ...]


def look_up(repository: str, *, hub_url: str, token: str, timeout_s: float) -> Repository:
    """Ask the hub what files a repository has.

    Raises:
        Interrupted: the hub does not answer, or with an error that passes.
        WrongAnswer: there is no such repository, it is not for everyone, or it holds no GPT-2 in safetensors.
    """
    endpoint = hub_url.rstrip("/")
    where = f"{endpoint}/{repository}"

    def stay_secure(request: httpx2.Request) -> None:
        if endpoint.startswith("https:") and request.url.scheme != "https":
            raise WrongAnswer(f"{where} redirects from https to {request.url}, where anyone could change the answer")

    set_client_factory(
        lambda: httpx2.Client(
            timeout=timeout_s,
            follow_redirects=True,
            max_redirects=MOST_REDIRECTS,
            event_hooks={"request": [stay_secure]},
        )
    )
    api = HfApi(endpoint=endpoint, token=token or False, library_name="nonesuch")
    try:
        info = api.model_info(repository, files_metadata=True, timeout=timeout_s)
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        commit = str(info.sha or "")
    except GatedRepoError:
        raise WrongAnswer(f"{where} is gated: accept its terms there, and set NONESUCH_TRAINER_HUB_TOKEN") from None
    except RepositoryNotFoundError:
        raise WrongAnswer(
            f"{where} does not exist, or is private: check the name; for a private one set NONESUCH_TRAINER_HUB_TOKEN"
        ) from None
    except HfHubHTTPError as error:
        raise _by_status(error, where) from None
    except OfflineModeIsEnabled:
        raise WrongAnswer("the hub is not asked: HF_HUB_OFFLINE is set") from None
    except httpx2.TooManyRedirects:
        raise WrongAnswer(f"{where} redirects more than {MOST_REDIRECTS} times") from None
    except httpx2.HTTPError as error:
        raise Interrupted(f"{endpoint} does not answer: {error or type(error).__name__}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WrongAnswer(
            f"{endpoint} does not answer as a hub does ({type(error).__name__}: {str(error)[:80]}): a login page of "
            "this network, or a wrong address in NONESUCH_TRAINER_HUB_URL"
        ) from None
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise WrongAnswer(f"{endpoint} does not say at which commit {repository} is")
    files = []
    for name in _choose(set(siblings), where):
        sibling = siblings[name]
        lfs = sibling.lfs
        files.append(
            RemoteFile(
                name=name,
                url=hf_hub_url(repository, name, revision=commit, endpoint=endpoint),
                size=lfs.size if lfs else sibling.size,
                sha256=lfs.sha256 if lfs else "",
                git_id="" if lfs else sibling.blob_id or "",
            )
        )
    return Repository(commit, tuple(files))


def _choose(names: set[str], where: str) -> list[str]:
    """The files that are needed, the small ones first."""
    if "config.json" not in names:
        raise WrongAnswer(f"{where} has no config.json: it holds no model of transformers")
    if WEIGHTS in names:
        weights = [WEIGHTS]
    elif INDEX in names:
        weights = [INDEX, *sorted(name for name in names if _SHARD.fullmatch(name))]
    elif any(_PICKLES.fullmatch(name) for name in names):
        raise WrongAnswer(
            f"{where} has its weights as a pickle alone, which can run code and is not loaded: "
            "choose a repository with model.safetensors, or convert it with save_pretrained and import the folder"
        )
    else:
        raise WrongAnswer(f"{where} has no model.safetensors: it holds no weights")
    vocabulary = ["vocab.json", "merges.txt"]
    if not names.issuperset(vocabulary):
        vocabulary = ["tokenizer.json"]
    if not names.issuperset(vocabulary):
        raise WrongAnswer(f"{where} has neither vocab.json with merges.txt nor tokenizer.json: it holds no vocabulary")
    added = [name for name in ("added_tokens.json",) if name in names]
    return ["config.json", *vocabulary, *added, *weights]


def _by_status(error: HfHubHTTPError, where: str) -> Interrupted | WrongAnswer:
    status = error.response.status_code
    if status in PASSING:
        return try_later(f"{where} answers {status}", error.response.headers.get("Retry-After", ""))
    if status == 404:
        return WrongAnswer(f"{where} does not exist (404): check the name")
    if status in (401, 403):
        return WrongAnswer(f"{where} is not for everyone ({status}): set NONESUCH_TRAINER_HUB_TOKEN")
    return WrongAnswer(f"{where} answers {status}")

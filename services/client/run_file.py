"""A run as a TOML file: what to learn from, what to start from, and its settings by the names of the wire's fields.

In: a file, or values by name. Out: the same. Choices are written in the command line's words. What is not in the file
stays unset, so that the preset decides.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protos import trainer_pb2
from services.client.run_settings import FIELDS, SETTINGS, Setting, nearest, run_settings, values_of, words_of
from services.common.errors import InvalidRequest

# What a file says besides settings.
NAMES = {
    "run": "Name of the run.",
    "base": "What to start from.",
    "corpus": "Which posts to learn from.",
    "dataset": "A dataset that is there, instead of a corpus.",
}
MAX_BYTES = 1 << 20
_NO_END = ("epochs", "tokens", "minutes", "lora_alpha")  # a run's 0 of these is what unset means


def read(path: Path) -> dict[str, Any]:
    """Return what a file says, by name.

    Raises:
        InvalidRequest: it cannot be read, is no TOML, or says something that no run can have; names it and the file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidRequest(f"{path} is larger than any run's settings; is it the right file?", field="config")
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}", field="config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is no TOML: {error}", field="config") from None
    for name, value in values.items():
        if name in NAMES:
            if not isinstance(value, str):
                raise InvalidRequest(f"{path}: {name} is {value!r}; write it in quotes", field=name)
        elif name not in FIELDS:
            raise InvalidRequest(f"{path}: there is no setting {name!r}{nearest(name, [*NAMES, *FIELDS])}", field=name)
    try:
        run_settings({name: value for name, value in values.items() if name in FIELDS})
    except InvalidRequest as error:
        raise InvalidRequest(f"{path}: {error.message}", field=error.field) from None
    return values


def write(values: Mapping[str, Any], *, comments: bool = False) -> str:
    """Return the file that says `values`, in the order of the table of settings.

    Args:
        values: by name; None and empty texts are left out.
        comments: also name what is left out, each with what it means, commented out.
    """
    lines: list[str] = []
    for name, meaning in NAMES.items():
        if values.get(name):
            lines.append(f"{name} = {_toml(values[name])}")
        elif comments:
            lines.append(f'# {name} = ""  # {meaning}')
    for title, group in SETTINGS.items():
        said = []
        for name, setting in group.items():
            value = values.get(name)
            if value is not None and value not in ((), []):
                said.append(f"{name} = {_toml(value)}")
            elif comments:
                said.append(_commented(name, setting))
        if said:
            lines += ["", f"# {title}", *said]
    return "\n".join(lines).strip() + "\n"


def of_run(run: trainer_pb2.Run) -> str:
    """The file that starts a run like this one: all its settings, its base and its dataset."""
    values = {name: value for name, value in values_of(run.settings).items() if value or name not in _NO_END}
    return write({"run": run.name, "base": run.base, "dataset": run.dataset, **values})


def _commented(name: str, setting: Setting) -> str:
    choice = f" One of {', '.join(words_of(FIELDS[name]))}." if FIELDS[name].enum_type is not None else ""
    default = f" Unset: {setting.default}." if setting.default else ""
    return f"# {name} =  # {setting.meaning}{choice}{default}"


def _toml(value: Any) -> str:
    """A value as TOML writes it. JSON's strings are TOML's, but for DEL, which TOML wants escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return repr(value)

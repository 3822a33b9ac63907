"""Settings: one frozen dataclass per service, read strictly from the environment.

Each field states type, default and help in one declaration. A variable's name is the prefix and the
field's name in upper case: `listen` of the corpus service is `NONESUCH_CORPUS_LISTEN`.
All bad values are reported at once; a name under a service's own prefix that no field declares is an error.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class SettingsError(Exception):
    """The environment holds values that cannot be used; the message lists every one."""


def setting(default: Any, help: str, *, minimum: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """Declare a field: its default, a sentence for the documentation, and its bounds."""
    return dataclasses.field(default=default, metadata={"help": help, "minimum": minimum, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings:
    """What all services agree on. Prefix `NONESUCH_`."""

    data: Path = setting(Path("data"), "Folder of the shared volume.")
    cache: Path = setting(Path("cache"), "Folder for what can be made again: converted engines, compiled code.")
    log_format: str = setting("text", "Log lines as `text` or `json`.", choices=("text", "json"))
    log_level: str = setting(
        "info", "Least important level that is logged.", choices=("debug", "info", "warning", "error")
    )
    corpus_address: str = setting("127.0.0.1:50051", "Where the corpus service answers.")
    tokenizer_address: str = setting("127.0.0.1:50052", "Where the tokenizer service answers.")
    trainer_address: str = setting("127.0.0.1:50053", "Where the trainer service answers.")
    generator_address: str = setting("127.0.0.1:50054", "Where the generator service answers.")


def _parse(text: str, kind: Any, metadata: Mapping[str, Any]) -> Any:
    """Turn a variable's text into a field's type; raise ValueError saying what was expected."""
    if kind is bool:
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if text.lower() not in words:
            raise ValueError("expected true or false")
        return words[text.lower()]
    if kind is Path:
        return Path(text)
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"expected {'a whole number' if kind is int else 'a number'}") from None
        minimum = metadata["minimum"]
        if minimum is not None and not value >= minimum:
            raise ValueError(f"expected at least {minimum}")
        return value
    if metadata["choices"] and text not in metadata["choices"]:
        raise ValueError(f"expected one of {', '.join(metadata['choices'])}")
    return text


def variable_names(cls: type, prefix: str) -> dict[str, dataclasses.Field[Any]]:
    """The environment variables that a settings class reads, by name."""
    return {prefix + field.name.upper(): field for field in dataclasses.fields(cls)}


def read(cls: type[T], prefix: str, environ: Mapping[str, str]) -> T:
    """Build a settings object from the environment.

    Raises:
        SettingsError: listing every variable whose value does not fit, and, for a service's own
            prefix, every variable that nothing reads.
    """
    kinds = typing.get_type_hints(cls)
    known = variable_names(cls, prefix)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable, field in known.items():
        if variable in environ:
            try:
                values[field.name] = _parse(environ[variable], kinds[field.name], field.metadata)
            except ValueError as error:
                problems.append(f"{variable}={environ[variable]!r}: {error}")
    if cls is not CommonSettings:
        common = variable_names(CommonSettings, "NONESUCH_")
        problems += [
            f"{variable}: no such setting; known are {', '.join(sorted(known))}"
            for variable in sorted(environ)
            if variable.startswith(prefix) and variable not in known and variable not in common
        ]
    if problems:
        raise SettingsError("bad settings in the environment:\n  " + "\n  ".join(problems))
    try:
        return cls(**values)
    except ValueError as error:  # values that do not go together, said by the class's __post_init__
        raise SettingsError(f"bad settings in the environment:\n  {error}") from None


def read_or_exit(cls: type[T], prefix: str, environ: Mapping[str, str]) -> T:
    """As `read`, for an entry point: print the problems and exit with status 2."""
    try:
        return read(cls, prefix, environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None

"""The form that starts a run, made from the table of settings. Its words are for people who never trained a model."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from wtforms import Field, SelectField, StringField, TextAreaField, ValidationError
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Regexp

from protos import trainer_pb2
from services.admin.fields import LARGEST, PlainForm, real_number, whole_number
from services.client.run_settings import FIELDS, SETTINGS, Setting, run_settings, words_of

UP_FRONT = ("preset", "steps", "publish")  # what most people want to choose; the rest is folded
AUTOMATIC = "automatic"
_LARGEST_64 = 2**63 - 1
_SHAPE = re.compile(r"[0-9]+M|[0-9]+x[0-9]+x[0-9]+")
_YES = {"yes": True, "no": False}


class _Numbers(StringField):
    """Numbers with commas between, as `0.7, 1`."""

    def numbers(self) -> list[float]:
        """What was filled in."""
        return [float(word) for word in (self.data or "").replace(";", ",").split(",") if word.strip()]

    def pre_validate(self, form: Any) -> None:
        """Complain about what is no number."""
        try:
            self.numbers()
        except ValueError:
            raise ValidationError("Give numbers with commas between, such as 0.7, 1.") from None


def _field(name: str, setting: Setting) -> Field:
    kind, placeholder = FIELDS[name], setting.default or AUTOMATIC
    if kind.enum_type is not None:
        choices = [SelectChoice("", f"{AUTOMATIC} ({setting.default})" if setting.default else AUTOMATIC)]
        choices += [SelectChoice(word, setting.words.get(word, word)) for word in words_of(kind)]
        return SelectField(setting.label, choices=choices, default="", description=setting.meaning)
    if kind.type == FieldDescriptor.TYPE_BOOL:
        choices = [SelectChoice("", f"{AUTOMATIC} ({setting.default})"), *map(SelectChoice, _YES)]
        return SelectField(setting.label, choices=choices, default="", description=setting.meaning)
    if kind.is_repeated and kind.type == FieldDescriptor.TYPE_STRING:
        hint = f"{setting.meaning} One on a line; an empty line is one, too."
        return TextAreaField(setting.label, description=hint, render_kw={"placeholder": placeholder, "rows": 2})
    if kind.is_repeated:
        return _Numbers(setting.label, description=setting.meaning, render_kw={"placeholder": placeholder})
    least = setting.least or 0
    if kind.type == FieldDescriptor.TYPE_DOUBLE:
        return real_number(setting.label, setting.meaning, placeholder, least, setting.most)
    largest = _LARGEST_64 if kind.type == FieldDescriptor.TYPE_INT64 else LARGEST
    return whole_number(setting.label, setting.meaning, placeholder, int(least), int(setting.most or largest))


def _lines(text: str) -> list[str]:
    """The lines of a text, each once, an empty one too; none where there is nothing but space."""
    return list(dict.fromkeys(line.strip() for line in text.splitlines())) if text.strip() else []


class _Asked(PlainForm):
    """What a run is asked for besides its settings."""

    run = StringField(
        "Name of the run",
        [
            InputRequired("Give the run a name."),
            Length(max=100),
            Regexp(r"[A-Za-z0-9_][A-Za-z0-9._-]*$", message="Use letters, digits, dots, dashes; no spaces."),
        ],
        description="Whatever helps you recognise it. The model will have this name too.",
    )
    corpus = SelectField("Posts to learn from", validate_choice=False, description="The corpus: a named set of posts.")
    base = StringField("Start from", [InputRequired("Choose what to start from.")])
    shape = StringField(
        "Shape of your own",
        description="Layers x width x heads, such as 8x256x8, or one of GPT-2's: 124M, 355M, 774M, 1558M.",
        render_kw={"placeholder": "8x256x8"},
    )

    FRESH = "fresh/"  # chosen as `base`: of the shape that is written out

    ADVANCED = tuple(
        (title, tuple(name for name in group if name not in UP_FRONT))
        for title, group in SETTINGS.items()
    )  # fmt: skip

    def start(self) -> str:
        """What to start from, as the trainer takes it."""
        return f"{self.FRESH}{self._shape()}" if self.base.data == self.FRESH else str(self.base.data)

    def validate_base(self, field: Field) -> None:
        """Complain where a shape is given and something else chosen."""
        if self._shape() and field.data != self.FRESH:
            raise ValidationError(f"You gave a shape and chose {field.data}: choose the shape, or empty its field.")

    def validate_shape(self, field: Field) -> None:
        """Complain where the shape is chosen and is none."""
        if self.base.data == self.FRESH and not _SHAPE.fullmatch(self._shape()):
            raise ValidationError("Give layers x width x heads, such as 8x256x8, or a size of GPT-2's, such as 124M.")

    def _shape(self) -> str:
        return re.sub(r"\s*[xX×*]\s*", "x", (self.shape.data or "").strip())

    def settings(self) -> trainer_pb2.RunSettings:
        """The settings as the trainer takes them; what was left empty stays unset."""
        return run_settings({name: self._value(name) for group in SETTINGS.values() for name in group})

    def _value(self, name: str) -> Any:
        field, kind = self[name], FIELDS[name]
        if isinstance(field, _Numbers):
            return field.numbers()
        if kind.is_repeated:
            return _lines(field.data or "")
        if kind.type == FieldDescriptor.TYPE_BOOL:
            return _YES.get(field.data or "")
        return None if field.data in (None, "") else field.data


_fields = {name: _field(name, setting) for group in SETTINGS.values() for name, setting in group.items()}
# On the page a model is wanted in the end.
_fields["publish"] = SelectField(
    SETTINGS["What it writes down on the way"]["publish"].label,
    choices=[
        SelectChoice(word, words) for word, words in SETTINGS["What it writes down on the way"]["publish"].words.items()
    ],
    default="at-end",
    description="Its model has the run's name.",
)
TrainForm: Any = type(
    "TrainForm", (_Asked,), {"__doc__": "Asks for a run; a field for each of RunSettings.", **_fields}
)

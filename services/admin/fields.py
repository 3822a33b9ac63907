"""What the forms are made of: number fields that may stay empty, and complaints in plain words.

A field left empty is not sent, so that the service's own default holds; the
placeholder shows or describes it.
"""

from __future__ import annotations

from types import MappingProxyType

from flask_wtf import FlaskForm
from wtforms import FloatField, IntegerField
from wtforms.validators import NumberRange, Optional

from services.common.errors import InvalidRequest

LARGEST = 2**31 - 1  # what most number fields of the protos hold


def whole_number(label: str, hint: str, placeholder: str, minimum: int, maximum: int = LARGEST) -> IntegerField:
    """A field for a whole number from `minimum` to `maximum`, or nothing."""
    limits = [Optional(), NumberRange(min=minimum, max=maximum)]
    render = {"placeholder": placeholder, "min": minimum, "max": maximum, "inputmode": "numeric", "step": 1}
    return IntegerField(label, limits, description=hint, render_kw=render)


def real_number(label: str, hint: str, placeholder: str, minimum: float, maximum: float | None = None) -> FloatField:
    """A field for a number from `minimum` to `maximum`, or nothing."""
    limits = [Optional(), NumberRange(min=minimum, max=maximum)]
    return FloatField(label, limits, description=hint, render_kw={"placeholder": placeholder, "inputmode": "decimal"})


class _Words:
    """WTForms' complaints in plainer words."""

    _PLAIN = MappingProxyType(
        {"Not a valid integer value.": "Give a whole number.", "Not a valid float value.": "Give a number."}
    )

    def gettext(self, text: str) -> str:
        return self._PLAIN.get(text, text)

    def ngettext(self, singular: str, plural: str, count: int) -> str:
        return singular if count == 1 else plural


class PlainForm(FlaskForm):
    """A form with CSRF protection that complains in plain words."""

    class Meta(FlaskForm.Meta):
        """What WTForms asks a form about itself."""

        def get_translations(self, form: FlaskForm) -> _Words:
            """The words for complaints."""
            return _Words()


def chosen_number(text: str, field: str) -> int:
    """The number in a hidden field or a choice, 0 to LARGEST; InvalidRequest when it is something else."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LARGEST):
        raise InvalidRequest(f"{text[:40]!r} is no number that {field} can have; reload the page", field=field)
    return int(text)


def complaints(form: FlaskForm) -> dict[str, str]:
    """The first complaint about each field by its name."""
    return {name: str(errors[0]) for name, errors in form.errors.items() if name is not None}

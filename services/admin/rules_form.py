"""The form of a corpus's rules: every switch with what it means and what it is unless someone changes it.

In: the wire's CleaningRules. Out: the same. The words are in services/client/rules.py; what a value must be in detail
is the corpus service's business.
"""

from __future__ import annotations

from typing import Any, Self

from wtforms import BooleanField, DateField, FloatField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import NumberRange, Optional

from protos import corpus_pb2
from services.admin.fields import PlainForm
from services.client.rules import RULES

CHOICES: dict[str, tuple[Any, str, tuple[tuple[str, str], ...]]] = {
    "form": (
        corpus_pb2.TextForm,
        "TEXT_FORM_",
        (("TEXT", "Plain text"), ("MARKDOWN", "Markdown")),
    ),
    "secrets": (
        corpus_pb2.SecretHandling,
        "SECRET_HANDLING_",
        (("MASK", "Mask them"), ("LEAVE_OUT", "Leave the post out"), ("KEEP", "Keep them")),
    ),
    "near_duplicates": (
        corpus_pb2.NearDuplicateHandling,
        "NEAR_DUPLICATE_HANDLING_",
        (("REPORT", "Take them, and note it"), ("DROP", "Take the first alone"), ("IGNORE", "Do not look")),
    ),
}  # the first is the default
ON = ("keep_headings", "keep_code", "keep_tables", "keep_quotations", "keep_footnotes", "keep_maths",
      "keep_image_alt", "mend_text")  # fmt: skip
OFF = ("mask_addresses", "include_drafts", "include_unlisted", "include_future")
LISTS = ("include_paths", "exclude_paths", "include_tags", "exclude_tags", "include_languages", "exclude_languages")
DATES = ("cutoff_date", "first_date", "last_date")
SECTIONS = (
    ("The text", "What becomes of a post on its way to the model.",
     ("form", "keep_headings", "keep_code", "keep_tables", "keep_quotations", "keep_footnotes", "keep_maths",
      "keep_image_alt", "keep_link_targets", "mend_text")),
    ("What a model should not know", "It may repeat what it has read to anyone who asks.",
     ("secrets", "mask_addresses")),
    ("Which posts", "These leave posts out, or take them in. A post's own page goes before them.",
     ("include_drafts", "include_unlisted", "include_future", "cutoff_date", "near_duplicates",
      "near_duplicate_similarity")),
    ("By date, path, tag or language", "What is left empty leaves nothing out.",
     ("first_date", "last_date", "include_paths", "exclude_paths", "include_tags", "exclude_tags",
      "include_languages", "exclude_languages")),
)  # fmt: skip
AUTOMATIC = ""
_DEFAULT_SIMILARITY = 0.8


def _switch(name: str) -> BooleanField:
    words = RULES[name]
    return BooleanField(words.label, description=f"{words.meaning} {'On' if name in ON else 'Off'} by default.")


def _choice(name: str) -> SelectField:
    words, options = RULES[name], CHOICES[name][2]
    choices = [SelectChoice(value, label + (" (default)" if not place else "")) for place, (value, label) in
               enumerate(options)]  # fmt: skip
    return SelectField(words.label, choices=choices, description=words.meaning)


def _lines(name: str) -> TextAreaField:
    words = RULES[name]
    return TextAreaField(
        words.label, description=f"One a line. {words.meaning}", render_kw={"rows": 2, "spellcheck": "false"}
    )


def _day(name: str, placeholder: str) -> DateField:
    words = RULES[name]
    return DateField(words.label, [Optional()], description=f"{words.meaning} {placeholder}")


class RulesForm(PlainForm):
    """Asks for the rules of a corpus. The names of the fields are those of CleaningRules."""

    form = _choice("form")
    keep_headings = _switch("keep_headings")
    keep_code = _switch("keep_code")
    keep_tables = _switch("keep_tables")
    keep_quotations = _switch("keep_quotations")
    keep_footnotes = _switch("keep_footnotes")
    keep_maths = _switch("keep_maths")
    keep_image_alt = _switch("keep_image_alt")
    keep_link_targets = SelectField(
        RULES["keep_link_targets"].label,
        choices=[
            SelectChoice(AUTOMATIC, "In Markdown alone (default)"),
            SelectChoice("true", "Always"),
            SelectChoice("false", "Never"),
        ],
        description=RULES["keep_link_targets"].meaning,
    )
    mend_text = _switch("mend_text")
    secrets = _choice("secrets")
    mask_addresses = _switch("mask_addresses")
    include_drafts = _switch("include_drafts")
    include_unlisted = _switch("include_unlisted")
    include_future = _switch("include_future")
    cutoff_date = _day("cutoff_date", "Empty: the day of your newest post that was not in the future.")
    near_duplicates = _choice("near_duplicates")
    near_duplicate_similarity = FloatField(
        RULES["near_duplicate_similarity"].label,
        [Optional(), NumberRange(min=0.5, max=1, message="Give a number from 0.5 to 1.")],
        description=RULES["near_duplicate_similarity"].meaning,
        render_kw={"placeholder": str(_DEFAULT_SIMILARITY), "inputmode": "decimal"},
    )
    first_date = _day("first_date", "")
    last_date = _day("last_date", "")
    include_paths = _lines("include_paths")
    exclude_paths = _lines("exclude_paths")
    include_tags = _lines("include_tags")
    exclude_tags = _lines("exclude_tags")
    include_languages = _lines("include_languages")
    exclude_languages = _lines("exclude_languages")

    @classmethod
    def of(cls, rules: corpus_pb2.CleaningRules) -> Self:
        """The form filled in with rules; what is unset shows its default."""
        data: dict[str, Any] = {name: getattr(rules, name) if rules.HasField(name) else True for name in ON}
        data |= {name: getattr(rules, name) for name in OFF}
        for name, (kind, prefix, options) in CHOICES.items():
            value = getattr(rules, name)
            data[name] = kind.Name(value).removeprefix(prefix) if value else options[0][0]
        data["keep_link_targets"] = AUTOMATIC
        if rules.HasField("keep_link_targets"):
            data["keep_link_targets"] = "true" if rules.keep_link_targets else "false"
        if rules.HasField("near_duplicate_similarity"):
            data["near_duplicate_similarity"] = rules.near_duplicate_similarity
        data |= {name: "\n".join(getattr(rules, name)) for name in LISTS}
        form = cls(formdata=None, data=data)
        for name in DATES:
            form[name].process_formdata([getattr(rules, name)] if getattr(rules, name) else [])
        return form

    def rules(self) -> corpus_pb2.CleaningRules:
        """The rules as the service takes them."""
        rules = corpus_pb2.CleaningRules()
        for name in (*ON, *OFF):
            setattr(rules, name, self[name].data)
        for name, (kind, prefix, _) in CHOICES.items():
            setattr(rules, name, kind.Value(f"{prefix}{self[name].data}"))
        if self.keep_link_targets.data != AUTOMATIC:
            rules.keep_link_targets = self.keep_link_targets.data == "true"
        if self.near_duplicate_similarity.data is not None:
            rules.near_duplicate_similarity = self.near_duplicate_similarity.data
        for name in LISTS:
            getattr(rules, name).extend(line.strip() for line in (self[name].data or "").splitlines() if line.strip())
        for name in DATES:
            if self[name].data:
                setattr(rules, name, self[name].data.isoformat())
        return rules

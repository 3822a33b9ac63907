"""A corpus's rules as words: what each means, what it is unless someone changes it, and values to and from text.

In: the wire's CleaningRules and words such as `keep_code=false`. Out: the same. What a value must be in detail is the
corpus service's business.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from protos import corpus_pb2
from services.common.errors import InvalidRequest

# Name: default and meaning, in the order of the wire.
RULES: dict[str, tuple[str, str]] = {
    "form": ("text", "what the model learns to write: text or markdown"),
    "keep_code": ("true", "blocks of code stay"),
    "keep_image_alt": ("true", "a picture's alternative text stands where it was"),
    "keep_headings": ("true", "the lines above sections stay"),
    "keep_tables": ("true", "each row becomes a line"),
    "keep_quotations": ("true", "what is quoted of others stays"),
    "keep_footnotes": ("true", "in parentheses, where they are referred to"),
    "keep_maths": ("true", "formulas stay as they were typed"),
    "keep_link_targets": ("in markdown", "addresses of links stay"),
    "mend_text": ("true", "letters that a wrong encoding broke are put right"),
    "secrets": ("mask", "keys, tokens and passwords: mask, leave_out (the post) or keep"),
    "mask_addresses": ("false", "e-mail and IP addresses are masked"),
    "include_drafts": ("false", "take posts that say they are drafts"),
    "include_unlisted": ("false", "take posts that are published but on no list"),
    "include_future": ("false", "take posts dated after the cutoff"),
    "cutoff_date": ("newest post", "last day of the posts that are not future ones"),
    "near_duplicates": ("report", "posts nearly the same as another: report, drop or ignore"),
    "near_duplicate_similarity": ("0.8", "what is nearly: share of five-word sequences in common, 0.5 to 1"),
    "include_paths": ("all", "only these paths: * within a folder, ** across folders"),
    "exclude_paths": ("none", "not these paths"),
    "include_tags": ("all", "only posts with one of these tags"),
    "exclude_tags": ("none", "no post with one of these tags"),
    "first_date": ("none", "no earlier post, and none without a date"),
    "last_date": ("none", "no later post, and none without a date"),
    "include_languages": ("all", "only these languages, as two-letter codes"),
    "exclude_languages": ("none", "not these languages"),
}
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def change_rule(rules: corpus_pb2.CleaningRules, words: str) -> None:
    """Change one rule as `NAME=VALUE` says; an empty value gives the rule its default. Lists are parted by commas.

    Raises:
        InvalidRequest: no such rule, or no such value.
    """
    name, separator, value = words.partition("=")
    name, value = name.strip().replace("-", "_"), value.strip()
    if name not in RULES or not separator:
        raise InvalidRequest(f"{words!r} sets no rule; write NAME=VALUE with one of {', '.join(RULES)}")
    rules.ClearField(name)
    if not value:
        return
    field = corpus_pb2.CleaningRules.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(rules, name).extend(part.strip() for part in value.split(",") if part.strip())
    else:
        setattr(rules, name, _value(field, value))


def rule_words(rules: corpus_pb2.CleaningRules, name: str) -> str:
    """A rule's value in words."""
    field = corpus_pb2.CleaningRules.DESCRIPTOR.fields_by_name[name]
    value = getattr(rules, name)
    if (field.has_presence and not rules.HasField(name)) or value in ("", []) or (field.enum_type and not value):
        return RULES[name][0]
    if field.is_repeated:
        return ", ".join(value)
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name).removeprefix(_prefix(field)).lower()
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _value(field: Any, value: str) -> Any:
    if field.enum_type is not None:
        names = [entry.name.removeprefix(_prefix(field)).lower() for entry in field.enum_type.values[1:]]
        word = value.lower().replace("-", "_")
        if word not in names:
            raise InvalidRequest(f"{value!r} is no value of {field.name}; write {', '.join(names)}")
        return field.enum_type.values_by_name[_prefix(field) + word.upper()].number
    if field.type == FieldDescriptor.TYPE_BOOL:
        if value.lower() not in _WORDS:
            raise InvalidRequest(f"{value!r} is no value of {field.name}; write true or false")
        return _WORDS[value.lower()]
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        try:
            return float(value)
        except ValueError:
            raise InvalidRequest(f"{value!r} is no value of {field.name}; write a number") from None
    return value


def _prefix(field: Any) -> str:
    """What the names of an enum's values begin with."""
    return str(field.enum_type.values[0].name).removesuffix("UNSPECIFIED")

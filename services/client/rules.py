"""A corpus's rules as words: what each means, what it is unless someone changes it, and values to and from text.

In: the wire's CleaningRules and words such as `keep_code=false`. Out: the same. What a value must be in detail is the
corpus service's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from protos import corpus_pb2
from services.common.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in words: what it is called, what it does in a sentence, and what it is unless someone changes it."""

    label: str
    meaning: str
    default: str


# In the order of the wire.
RULES: dict[str, Rule] = {
    "form": Rule(
        "What the model learns to write", "Plain prose as a reader sees it, or Markdown with its marks.", "text"
    ),
    "keep_code": Rule("Keep code", "Blocks of code stay; code within a sentence always does.", "true"),
    "keep_image_alt": Rule(
        "Keep descriptions of pictures", "The alternative text stands where the picture was.", "true"
    ),
    "keep_headings": Rule("Keep headings", "The lines above sections stay.", "true"),
    "keep_tables": Rule("Keep tables", "Each row becomes a line.", "true"),
    "keep_quotations": Rule("Keep quotations", "What you quote of others stays, and the model learns it too.", "true"),
    "keep_footnotes": Rule("Keep footnotes", "Each stands in parentheses where it is referred to.", "true"),
    "keep_maths": Rule("Keep formulas", "They stay as you typed them.", "true"),
    "keep_link_targets": Rule(
        "Keep the addresses of links", "The model then writes addresses too, and invents them.", "in markdown"
    ),
    "mend_text": Rule("Mend garbled letters", "Letters that a wrong encoding broke are put right.", "true"),
    "secrets": Rule(
        "Keys, tokens and passwords", "Masked, a placeholder such as [private key] stands in their place.", "mask"
    ),
    "mask_addresses": Rule("Mask e-mail and IP addresses", "A placeholder takes the place of each.", "false"),
    "include_drafts": Rule("Take drafts", "Posts that say they are not finished.", "false"),
    "include_unlisted": Rule("Take unlisted posts", "Posts that are published but on no list.", "false"),
    "include_future": Rule("Take posts from the future", "Posts dated after the cutoff.", "false"),
    "cutoff_date": Rule("Cutoff", "Last day of the posts that are not future ones.", "newest post"),
    "near_duplicates": Rule(
        "Posts that are nearly the same", "An announcement sent twice teaches twice as much.", "report"
    ),
    "near_duplicate_similarity": Rule(
        "How near is nearly", "Share of five-word sequences in common, from 0.5 to 1.", "0.8"
    ),
    "include_paths": Rule("Only these paths", "Patterns: * within a folder, ** across folders.", "all"),
    "exclude_paths": Rule("Not these paths", "Patterns such as drafts/** or **/*.txt.", "none"),
    "include_tags": Rule("Only these tags", "Whatever their case.", "all"),
    "exclude_tags": Rule("Not these tags", "Whatever their case.", "none"),
    "first_date": Rule("From", "Earlier posts, and those without a date, stay out.", "none"),
    "last_date": Rule("Until", "Later posts, and those without a date, stay out.", "none"),
    "include_languages": Rule("Only these languages", "Two-letter codes such as en or de.", "all"),
    "exclude_languages": Rule("Not these languages", "Two-letter codes.", "none"),
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


def rule_choices(name: str) -> list[str]:
    """The values that a rule can have, where they are few."""
    field = corpus_pb2.CleaningRules.DESCRIPTOR.fields_by_name[name]
    return _names(field) if field.enum_type is not None else []


def rule_words(rules: corpus_pb2.CleaningRules, name: str) -> str:
    """A rule's value in words."""
    field = corpus_pb2.CleaningRules.DESCRIPTOR.fields_by_name[name]
    value = getattr(rules, name)
    if (field.has_presence and not rules.HasField(name)) or value in ("", []) or (field.enum_type and not value):
        return RULES[name].default
    if field.is_repeated:
        return ", ".join(value)
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name).removeprefix(_prefix(field)).lower()
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _value(field: Any, value: str) -> Any:
    if field.enum_type is not None:
        names = _names(field)
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


def _names(field: Any) -> list[str]:
    """The values of an enum in words, without the unset one."""
    return [str(entry.name).removeprefix(_prefix(field)).lower() for entry in field.enum_type.values[1:]]


def _prefix(field: Any) -> str:
    """What the names of an enum's values begin with."""
    return str(field.enum_type.values[0].name).removesuffix("UNSPECIFIED")

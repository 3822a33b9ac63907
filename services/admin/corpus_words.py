"""Corpora in plain words: reasons, languages, and what each rule of cleaning and choosing means.

In: the wire's names and codes. Out: words for a person. Nothing here knows Flask.
"""

from __future__ import annotations

from protos import corpus_pb2
from services.client.rules import RULES, Rule

_REASONS: dict[int, str] = {
    corpus_pb2.REASON_CODE_EMPTY: "empty",
    corpus_pb2.REASON_CODE_NOT_TEXT: "not text",
    corpus_pb2.REASON_CODE_UNKNOWN_KIND: "not a post",
    corpus_pb2.REASON_CODE_TOO_LARGE: "too large",
    corpus_pb2.REASON_CODE_LINK_OUTSIDE: "link to elsewhere",
    corpus_pb2.REASON_CODE_DRAFT: "draft",
    corpus_pb2.REASON_CODE_DUPLICATE: "duplicate",
    corpus_pb2.REASON_CODE_CLEANING_FAILED: "could not be cleaned",
    corpus_pb2.REASON_CODE_UNREADABLE: "unreadable",
    corpus_pb2.REASON_CODE_BROKEN_FRONT_MATTER: "broken front matter",
    corpus_pb2.REASON_CODE_LEGACY_ENCODING: "old encoding",
    corpus_pb2.REASON_CODE_MENDED_TEXT: "mended",
    corpus_pb2.REASON_CODE_UNLISTED: "unlisted",
    corpus_pb2.REASON_CODE_FUTURE: "dated in the future",
    corpus_pb2.REASON_CODE_NEAR_DUPLICATE: "nearly a duplicate",
    corpus_pb2.REASON_CODE_SECRET: "holds a secret",
    corpus_pb2.REASON_CODE_EXCLUDED: "excluded by a rule",
    corpus_pb2.REASON_CODE_OVERRIDDEN: "by hand",
    corpus_pb2.REASON_CODE_BAD_ARCHIVE: "archive cannot be read",
    corpus_pb2.REASON_CODE_BAD_MEMBER: "unfit part of an archive",
}
_LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nb": "Norwegian", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovene", "sr": "Serbian", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def reason(code: int) -> str:
    """One or a few words for why a post was left out or what was mended."""
    return _REASONS.get(code, "other")


def language(code: str) -> str:
    """The English name of a language by its ISO 639-1 code; what it is not named after has none."""
    return _LANGUAGES.get(code, code) if code else "too short to tell"


def rule(name: str) -> Rule:
    """A rule in words; one that is unknown here keeps its name."""
    return RULES.get(name) or Rule(name.replace("_", " "), "", "")


def rule_value(value: str) -> str:
    """A value of a rule as a person says it: `on`, `leave out`."""
    return {"true": "on", "false": "off", "": "unset"}.get(value, value.replace("_", " "))

"""Corpora in plain words: reasons, languages, and what each rule of cleaning and choosing means.

In: the wire's names and codes. Out: words for a person. Nothing here knows Flask.
"""

from __future__ import annotations

from dataclasses import dataclass

from protos import corpus_pb2

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


@dataclass(frozen=True, slots=True)
class RuleWords:
    """A rule's label and what it does, in a sentence."""

    label: str
    meaning: str


RULES: dict[str, RuleWords] = {
    "form": RuleWords("What the model learns to write", "Plain prose as a reader sees it, or Markdown with its marks."),
    "keep_headings": RuleWords("Keep headings", "The lines above sections stay."),
    "keep_code": RuleWords("Keep code", "Blocks of code stay; code within a sentence always does."),
    "keep_tables": RuleWords("Keep tables", "Each row becomes a line."),
    "keep_quotations": RuleWords("Keep quotations", "What you quote of others stays, and the model learns it too."),
    "keep_footnotes": RuleWords("Keep footnotes", "Each stands in parentheses where it is referred to."),
    "keep_maths": RuleWords("Keep formulas", "They stay as you typed them."),
    "keep_image_alt": RuleWords("Keep descriptions of pictures", "The alternative text stands where the picture was."),
    "keep_link_targets": RuleWords(
        "Keep the addresses of links", "The model then writes addresses too, and invents them."
    ),
    "mend_text": RuleWords("Mend garbled letters", "Letters that a wrong encoding broke are put right."),
    "secrets": RuleWords(
        "Keys, tokens and passwords", "Masked, a placeholder such as [private key] stands in their place."
    ),
    "mask_addresses": RuleWords("Mask e-mail and IP addresses", "A placeholder takes the place of each."),
    "include_drafts": RuleWords("Take drafts", "Posts that say they are not finished."),
    "include_unlisted": RuleWords("Take unlisted posts", "Posts that are published but on no list."),
    "include_future": RuleWords("Take posts from the future", "Posts dated after the cutoff."),
    "cutoff_date": RuleWords("Cutoff", "Last day of the posts that are not future ones."),
    "near_duplicates": RuleWords("Posts that are nearly the same", "An announcement sent twice teaches twice as much."),
    "near_duplicate_similarity": RuleWords(
        "How near is nearly", "Share of five-word sequences in common, from 0.5 to 1."
    ),
    "include_paths": RuleWords("Only these paths", "One pattern a line: * within a folder, ** across folders."),
    "exclude_paths": RuleWords("Not these paths", "One pattern a line, such as drafts/** or **/*.txt."),
    "include_tags": RuleWords("Only these tags", "One a line, whatever their case."),
    "exclude_tags": RuleWords("Not these tags", "One a line, whatever their case."),
    "first_date": RuleWords("From", "Earlier posts, and those without a date, stay out."),
    "last_date": RuleWords("Until", "Later posts, and those without a date, stay out."),
    "include_languages": RuleWords("Only these languages", "Two-letter codes, one a line, such as en or de."),
    "exclude_languages": RuleWords("Not these languages", "Two-letter codes, one a line."),
}


def reason(code: int) -> str:
    """One or a few words for why a post was left out or what was mended."""
    return _REASONS.get(code, "other")


def language(code: str) -> str:
    """The English name of a language by its ISO 639-1 code; what it is not named after has none."""
    return _LANGUAGES.get(code, code) if code else "too short to tell"


def rule(name: str) -> RuleWords:
    """A rule in words; one that is unknown here keeps its name."""
    return RULES.get(name) or RuleWords(name.replace("_", " "), "")


def rule_value(value: str) -> str:
    """A value of a rule as a person says it: `on`, `leave out`."""
    return {"true": "on", "false": "off", "": "unset"}.get(value, value.replace("_", " "))

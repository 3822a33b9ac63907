"""Messages: the corpus service's values to and from the wire. Nothing else in the service knows protos."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import PurePosixPath
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protos import corpus_pb2 as pb
from services.common.errors import InvalidRequest
from services.corpus.catalogue import Corpus, Post, Which
from services.corpus.cleaning.documents import Document
from services.corpus.cleaning.effects import Effect
from services.corpus.corpus_report import CorpusReport, ReasonCount
from services.corpus.reasons import Code, Reason
from services.corpus.reports import Report
from services.corpus.rules import Rules
from services.corpus.selection import EXCLUDE, INCLUDE
from services.corpus.snapshots import Snapshot
from services.corpus.upload import End, FileBegins, FileSkipped, Header, Part, Unchanged

# Fields of CleaningRules, by how they are written on the wire; the names are those of Rules.
_OPTIONAL = (
    *("keep_code", "keep_image_alt", "keep_headings", "keep_tables", "keep_quotations", "keep_footnotes"),
    *("keep_maths", "keep_link_targets", "mend_text", "mask_addresses", "include_drafts", "include_unlisted"),
    *("include_future", "near_duplicate_similarity"),
)
_TEXTS = ("cutoff_date", "first_date", "last_date")
_LISTS = (
    *("include_paths", "exclude_paths", "include_tags", "exclude_tags", "include_languages", "exclude_languages"),
)
_CHOICES: tuple[tuple[str, Any, str], ...] = (
    ("form", pb.TextForm, "TEXT_FORM_"),
    ("secrets", pb.SecretHandling, "SECRET_HANDLING_"),
    ("near_duplicates", pb.NearDuplicateHandling, "NEAR_DUPLICATE_HANDLING_"),
)

_OVERRIDES = {"OVERRIDE_UNSPECIFIED": None, "OVERRIDE_INCLUDE": INCLUDE, "OVERRIDE_EXCLUDE": EXCLUDE}


def read_rules(message: pb.CleaningRules) -> Rules:
    """Rules as asked for; what is unset has its default. Raise InvalidRequest for a value that is none."""
    given: dict[str, Any] = {name: getattr(message, name) for name in _OPTIONAL if message.HasField(name)}
    given |= {name: getattr(message, name) for name in _TEXTS}
    given |= {name: tuple(getattr(message, name)) for name in _LISTS}
    for name, kind, prefix in _CHOICES:
        value = getattr(message, name)
        if value not in kind.values():
            raise InvalidRequest(f"{value} is no value of {name}", field=f"rules.{name}")
        if value:
            given[name] = kind.Name(value).removeprefix(prefix).lower()
    return Rules(**given)


def read_override(value: Any) -> str | None:
    """A person's word on a post, as selection.py has it; raise InvalidRequest for a value that is none."""
    if value not in pb.Override.values():
        raise InvalidRequest(f"{value} is no value of override", field="override")
    return _OVERRIDES[pb.Override.Name(value)]


def read_upload_part(message: pb.UploadPostsRequest) -> Part:
    """One message of an upload; None if it says nothing."""
    part = message.WhichOneof("part")
    if part == "header":
        header = message.header
        rules = read_rules(header.rules) if header.HasField("rules") else None
        return Header(header.corpus, rules, header.prune, tuple(header.unchanged_paths))
    if part == "file":
        modified_at = message.file.modified_at.ToMicroseconds() / 1e6 if message.file.HasField("modified_at") else None
        return FileBegins(message.file.path, modified_at)
    if part == "skipped":
        return FileSkipped(message.skipped.path, read_reason(message.skipped.reason))
    if part == "unchanged":
        return Unchanged(tuple(message.unchanged.paths))
    if part == "end":
        return End()
    return message.chunk if part == "chunk" else None


def rules_message(rules: Rules) -> pb.CleaningRules:
    """Rules with every field set."""
    values: dict[str, Any] = {name: getattr(rules, name) for name in (*_OPTIONAL, *_TEXTS, *_LISTS)}
    values |= {name: f"{prefix}{getattr(rules, name).upper()}" for name, _, prefix in _CHOICES}
    return pb.CleaningRules(**values)


def read_reason(message: pb.Reason) -> Reason:
    """A reason that a client gives for a file it leaves out; raise InvalidRequest if its code is none."""
    name = pb.ReasonCode.Name(message.code) if message.code in pb.ReasonCode.values() else ""
    word = name.removeprefix("REASON_CODE_")
    if word not in Code.__members__:
        raise InvalidRequest(f"reason code {message.code} is none that a file is left out for", field="skipped.reason")
    return Reason(Code[word], " ".join(message.message.split())[:1000])


def read_which(message: pb.ListPostsRequest) -> Which:
    """Which posts a request asks for; raise InvalidRequest for a value that is none."""
    if message.selection not in pb.PostSelection.values():
        raise InvalidRequest(f"{message.selection} is no selection of posts", field="selection")
    word = pb.ReasonCode.Name(message.reason) if message.reason in pb.ReasonCode.values() else ""
    code = word.removeprefix("REASON_CODE_")
    if message.reason and code not in Code.__members__:
        raise InvalidRequest(f"reason code {message.reason} is none that a post has", field="reason")
    left_out = message.selection == pb.POST_SELECTION_LEFT_OUT
    return Which(
        included=not left_out if message.selection else None,
        noted=message.selection == pb.POST_SELECTION_NOTED,
        reason=Code[code] if message.reason else None,
        language=message.language if message.HasField("language") else None,
    )


def reason_message(reason: Reason) -> pb.Reason:
    """A reason on the wire."""
    return pb.Reason(code=f"REASON_CODE_{reason.code.name}", message=reason.message)


def effect_message(effect: Effect) -> pb.RuleEffect:
    """What one rule does, on the wire."""
    return pb.RuleEffect(**dataclasses.asdict(effect))


def document_message(corpus: str, path: str, document: Document) -> pb.Document:
    """A document on the wire."""
    return pb.Document(
        id=f"{corpus}/{path}",
        path=path,
        title=document.title,
        tags=document.tags,
        date=document.date,
        text=document.text,
        content_hash=document.content_hash,
    )


def post_message(corpus: str, post: Post) -> pb.Post:
    """A post in a list; without a title it goes by its file's name."""
    document = post.document
    included = document is not None and post.left_out is None
    return pb.Post(
        id=f"{corpus}/{post.path}",
        path=post.path,
        title=document.title if document and document.title else PurePosixPath(post.path).stem,
        tags=document.tags if document else (),
        date=document.date if document else "",
        num_words=document.num_words if document and included else 0,
        size_bytes=post.size_bytes,
        included=included,
        reasons=[reason_message(reason) for reason in post.reasons],
        language=document.language if document else "",
        quality=document.quality if document else {},
        override=next(name for name, word in _OVERRIDES.items() if word == post.override),
    )


def corpus_message(corpus: Corpus) -> pb.Corpus:
    """A corpus on the wire."""
    return pb.Corpus(
        name=corpus.name,
        num_posts=corpus.num_posts,
        num_documents=corpus.num_documents,
        num_words=corpus.num_words,
        updated_at=timestamp(corpus.updated_at),
        rules=rules_message(corpus.rules),
        cutoff_date=corpus.cutoff,
    )


def snapshot_message(snapshot: Snapshot) -> pb.Snapshot:
    """A snapshot on the wire."""
    return pb.Snapshot(
        corpus=snapshot.corpus,
        digest=snapshot.digest,
        num_documents=snapshot.num_documents,
        num_words=snapshot.num_words,
        created_at=timestamp(snapshot.created_at),
    )


def report_message(report: Report) -> pb.ImportReport:
    """An import's report on the wire."""
    return pb.ImportReport(
        import_id=report.import_id,
        corpus=report.corpus,
        created_at=timestamp(report.created_at),
        num_added=report.num_added,
        num_changed=report.num_changed,
        num_unchanged=report.num_unchanged,
        num_removed=report.num_removed,
        num_documents=report.num_documents,
        num_words=report.num_words,
        skipped=[pb.PostReason(path=path, reason=reason_message(reason)) for path, reason in report.skipped],
        notes=[pb.PostReason(path=path, reason=reason_message(reason)) for path, reason in report.notes],
    )


def corpus_report_message(report: CorpusReport) -> pb.CorpusReport:
    """A corpus's description on the wire."""
    return pb.CorpusReport(
        corpus=report.corpus,
        num_posts=report.num_posts,
        num_documents=report.num_documents,
        num_words=report.num_words,
        num_bytes=report.num_bytes,
        first_date=report.first_date,
        last_date=report.last_date,
        languages=[
            pb.LanguageCount(language=found.name, num_documents=found.num_documents, num_words=found.num_words)
            for found in report.languages
        ],
        left_out=map(_reason_count, report.left_out),
        noted=map(_reason_count, report.noted),
        longest=[post_message(report.corpus, post) for post in report.longest],
        leftovers=[
            pb.LeftoverMarkup(
                kind=found.kind, num_documents=found.num_documents, example=found.example, path=found.path
            )
            for found in report.leftovers
        ],
        months=[
            pb.MonthCount(month=found.name, num_documents=found.num_documents, num_words=found.num_words)
            for found in report.months
        ],
        num_undated=report.num_undated,
    )


def _reason_count(found: ReasonCount) -> pb.ReasonCount:
    return pb.ReasonCount(code=f"REASON_CODE_{found.code.name}", num_posts=found.num_posts, examples=found.examples)


def timestamp(seconds: float) -> Timestamp:
    """Seconds since 1970 on the wire, to the microsecond."""
    result = Timestamp()
    result.FromMicroseconds(round(seconds * 1_000_000))
    return result


def page_size(asked: int, *, default: int, most: int) -> int:
    """How many to return: the default for 0, and never more than `most`; raise InvalidRequest below 0."""
    if asked < 0:
        raise InvalidRequest(f"a page of {asked} is not possible; ask for 1 to {most}", field="page_size")
    return min(asked or default, most)


def page_token(key: str | int) -> str:
    """The token of the page after the entry with this key."""
    return base64.urlsafe_b64encode(str(key).encode()).decode()


def read_page_token(token: str) -> str:
    """The key in a token of ours, "" for the first page; raise InvalidRequest for anything else."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise _bad_token(token) from None


def read_number_token(token: str) -> int:
    """The number in a token, past all for the first page; raise InvalidRequest for anything else."""
    key = read_page_token(token)
    if not key:
        return 1 << 62
    if not (key.isascii() and key.isdigit() and len(key) < 19):
        raise _bad_token(token)
    return int(key)


def _bad_token(token: str) -> InvalidRequest:
    return InvalidRequest(
        f"{token[:100]!r} is no page token of this service; pass on the one from the page before",
        field="page_token",
    )

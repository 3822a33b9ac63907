"""Archives, and what a report and a corpus say of them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from protos import corpus_pb2 as pb

ROOT = Path(__file__).parents[3]


def zipped(posts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in posts.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def needed(stub, corpus: str, files: dict[str, bytes]) -> list[str]:
    hashes = [pb.PostHash(path=path, sha256=hashlib.sha256(content).digest()) for path, content in files.items()]
    return list(stub.CheckPosts(pb.CheckPostsRequest(corpus=corpus, posts=hashes)).needed_paths)


def paths(stub, corpus: str) -> list[str]:
    return [post.path for post in stub.ListPosts(pb.ListPostsRequest(corpus=corpus, page_size=1000)).posts]


def reasons(report: pb.ImportReport) -> dict[str, str]:
    return {entry.path: pb.ReasonCode.Name(entry.reason.code).removeprefix("REASON_CODE_") for entry in report.skipped}


def counts(report: pb.ImportReport) -> tuple[int, int, int, int]:
    return report.num_added, report.num_changed, report.num_unchanged, report.num_removed

"""A corpus service that answers from memory."""

from __future__ import annotations

import hashlib

from protos import (
    corpus_pb2,
    corpus_pb2_grpc,
)
from services.common.errors import (
    FailedPrecondition,
    NotFound,
)
from tests.rpc.client.answers import page


class FakeCorpus(corpus_pb2_grpc.CorpusServiceServicer):
    def __init__(self):
        self.posts: dict[str, dict[str, bytes]] = {}
        self.skipped: list[corpus_pb2.SkippedFile] = []
        self.received: list[str] = []
        self.reports: dict[str, corpus_pb2.CorpusReport] = {}
        self.rules: dict[str, corpus_pb2.CleaningRules] = {}
        self.overrides: dict[str, int] = {}

    def GetCorpusReport(self, request, context):
        if request.corpus not in self.reports:
            raise NotFound(f"no corpus {request.corpus!r}; add posts to it first")
        return corpus_pb2.GetCorpusReportResponse(report=self.reports[request.corpus])

    def _corpus(self, name):
        if name not in self.posts:
            raise NotFound(f"no corpus {name!r}; add posts to it first")
        return self.posts[name]

    def CheckPosts(self, request, context):
        held = self.posts.get(request.corpus, {})
        return corpus_pb2.CheckPostsResponse(
            needed_paths=[
                post.path
                for post in request.posts
                if post.path not in held or hashlib.sha256(held[post.path]).digest() != post.sha256
            ]
        )

    def UploadPosts(self, requests, context):
        header = next(requests).header
        held = self.posts.setdefault(header.corpus, {})
        if header.HasField("rules"):
            self.rules[header.corpus] = header.rules
        report = corpus_pb2.ImportReport(corpus=header.corpus)
        sent: dict[str, bytes] = {}
        path = part = ""
        unchanged = list(header.unchanged_paths)
        for request in requests:
            part = request.WhichOneof("part")
            if part == "file":
                path = request.file.path
                sent[path] = b""
            elif part == "chunk":
                assert len(request.chunk) <= 1 << 20
                sent[path] += request.chunk
            elif part == "unchanged":
                unchanged += request.unchanged.paths
            elif part == "skipped":
                report.skipped.add(path=request.skipped.path, reason=request.skipped.reason)
        assert part == "end"
        self.received = list(sent)
        for path, content in sent.items():
            if path in held:
                report.num_changed += 1
            else:
                report.num_added += 1
            held[path] = content
        report.num_unchanged = len(unchanged)
        if header.prune:
            for path in set(held) - set(sent) - set(unchanged):
                del held[path]
                report.num_removed += 1
        report.num_documents = len(held)
        report.num_words = sum(len(content.split()) for content in held.values())
        return corpus_pb2.UploadPostsResponse(report=report)

    def _post(self, corpus, path):
        return corpus_pb2.Post(
            id=f"{corpus}/{path}",
            path=path,
            title=f"Title of {path}",
            num_words=3,
            included=self._is_included(corpus, path),
            date="2019-09-01",
            override=self.overrides.get(path, 0),
        )

    def _is_included(self, corpus, path):
        if self.overrides.get(path):
            return self.overrides[path] == corpus_pb2.OVERRIDE_INCLUDE
        return path not in self.rules.get(corpus, corpus_pb2.CleaningRules()).exclude_paths

    def GetCorpus(self, request, context):
        held = self._corpus(request.corpus)
        found = corpus_pb2.Corpus(name=request.corpus, num_posts=len(held), cutoff_date="2019-09-01")
        found.num_documents = sum(self._is_included(request.corpus, path) for path in held)
        found.rules.CopyFrom(self.rules.get(request.corpus, corpus_pb2.CleaningRules()))
        return corpus_pb2.GetCorpusResponse(corpus=found)

    def ListCorpora(self, request, context):
        corpora = [corpus_pb2.Corpus(name=name, num_posts=len(held)) for name, held in sorted(self.posts.items())]
        return page(corpora, request, corpus_pb2.ListCorporaResponse, "corpora")

    def ListSnapshots(self, request, context):
        self._corpus(request.corpus)
        found = [corpus_pb2.Snapshot(corpus=request.corpus, digest=digest * 64) for digest in "abc"]
        return page(found, request, corpus_pb2.ListSnapshotsResponse, "snapshots")

    def DeleteCorpus(self, request, context):
        del self.posts[self._corpus(request.corpus) and request.corpus]
        return corpus_pb2.DeleteCorpusResponse()

    def OverridePosts(self, request, context):
        held = self._corpus(request.corpus)
        for path in request.paths:
            if path not in held:
                raise NotFound(f"no post {path!r}")
            self.overrides[path] = request.override
        return corpus_pb2.OverridePostsResponse(posts=[self._post(request.corpus, path) for path in request.paths])

    def ListPosts(self, request, context):
        posts = [self._post(request.corpus, path) for path in sorted(self._corpus(request.corpus))]
        return page(posts, request, corpus_pb2.ListPostsResponse, "posts")

    def GetPost(self, request, context):
        held = self._corpus(request.corpus)
        if request.path not in held:
            raise NotFound(f"no post {request.path!r} in corpus {request.corpus!r}")
        response = corpus_pb2.GetPostResponse(post=self._post(request.corpus, request.path))
        response.document.text = held[request.path].decode(errors="replace")
        if request.include_source:
            response.source = held[request.path]
        if request.include_effects:
            response.effects.add(rule="keep_code", value="true", other_value="false", diff="@@ -1 +1,2 @@\n a\n+code")
            response.effects.add(rule="keep_maths", value="true", other_value="false")
            response.effects.add(rule="secrets", value="mask", other_value="keep", problem="it took more than 5 s")
        return response

    def DeletePosts(self, request, context):
        held = self._corpus(request.corpus)
        for path in request.paths:
            if path not in held:
                raise NotFound(f"no post {path!r}")
        for path in request.paths:
            del held[path]
        return corpus_pb2.DeletePostsResponse(num_removed=len(request.paths))

    def CreateSnapshot(self, request, context):
        held = self._corpus(request.corpus)
        if not held:
            raise FailedPrecondition(f"corpus {request.corpus!r} holds no document; add posts first")
        digest = hashlib.sha256(repr(sorted(held.items())).encode()).hexdigest()
        return corpus_pb2.CreateSnapshotResponse(snapshot=corpus_pb2.Snapshot(corpus=request.corpus, digest=digest))

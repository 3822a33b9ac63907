"""The corpus service's rpcs: from the wire, one call into the pure modules, back to the wire."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import json_format

from protos import corpus_pb2 as pb
from protos import corpus_pb2_grpc
from services.common.errors import Busy, InvalidRequest
from services.corpus import bundles, habits, messages, reports, snapshots, upload
from services.corpus.catalogue import Catalogue
from services.corpus.choosing import Choosing, Facts, check_rules
from services.corpus.cleaners import Cleaners
from services.corpus.corpus_report import Reports
from services.corpus.imports import check_path, today
from services.corpus.patience import unless_stalled
from services.corpus.reasons import Reason
from services.corpus.rules import Rules
from services.corpus.settings import CorpusSettings
from services.corpus.upload import DEFAULT_CORPUS

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["CorpusService"].full_name


class CorpusServicer(corpus_pb2_grpc.CorpusServiceServicer):
    """Answers from a catalogue; its errors become statuses in services.common.rpc."""

    def __init__(self, catalogue: Catalogue, cleaners: Cleaners, settings: CorpusSettings) -> None:
        self._catalogue = catalogue
        self._cleaners = cleaners
        self._settings = settings
        self._reports = Reports(catalogue)
        # Each upload holds one of the server's threads for as long as its client likes: some are for other calls.
        self._uploads = threading.BoundedSemaphore(settings.max_uploads)

    def UploadPosts(
        self, request_iterator: Iterator[pb.UploadPostsRequest], context: grpc.ServicerContext
    ) -> pb.UploadPostsResponse:
        """Import what a client sends, all or nothing."""
        if not self._uploads.acquire(blocking=False):
            raise Busy(
                f"{self._settings.max_uploads} uploads are under way; try again when one of them has ended",
                retry_after_s=10,
            )
        try:
            with unless_stalled(request_iterator, self._settings.upload_patience_seconds, context.cancel) as requests:
                parts = map(messages.read_upload_part, requests)
                report = upload.receive(parts, self._catalogue, self._cleaners, self._settings)
        finally:
            self._uploads.release()
        return pb.UploadPostsResponse(report=messages.report_message(report))

    def CheckPosts(self, request: pb.CheckPostsRequest, context: grpc.ServicerContext) -> pb.CheckPostsResponse:
        """Say which posts a client need send."""
        known = self._catalogue.source_digests(_corpus(request), (post.path for post in request.posts))
        opened = bundles.digests(self._catalogue, _corpus(request))
        return pb.CheckPostsResponse(
            needed_paths=[
                post.path
                for post in request.posts
                # A source that got lost on the volume is needed again.
                if not (
                    bundles.is_whole(self._catalogue, _corpus(request), post.path)
                    if opened.get(post.path) == post.sha256.hex()
                    else known.get(post.path) == post.sha256.hex() and self._catalogue.sources.has(post.sha256.hex())
                )
            ]
        )

    def ListPosts(self, request: pb.ListPostsRequest, context: grpc.ServicerContext) -> pb.ListPostsResponse:
        """A page of posts."""
        corpus = _corpus(request)
        size = messages.page_size(request.page_size, default=100, most=1000)
        which = messages.read_which(request)
        posts = self._catalogue.posts(corpus, messages.read_page_token(request.page_token), size + 1, which)
        return pb.ListPostsResponse(
            posts=[messages.post_message(corpus, post) for post in posts[:size]],
            next_page_token=messages.page_token(posts[size - 1].path) if len(posts) > size else "",
            total_size=self._catalogue.count_posts(corpus, which),
        )

    def GetPost(self, request: pb.GetPostRequest, context: grpc.ServicerContext) -> pb.GetPostResponse:
        """One post with its document."""
        corpus = _corpus(request)
        post = self._catalogue.post(corpus, request.path)
        response = pb.GetPostResponse(post=messages.post_message(corpus, post))
        if post.document is not None and post.left_out is None:
            response.document.CopyFrom(messages.document_message(corpus, post.path, post.document))
        if request.include_source:
            response.source = self._catalogue.sources.get(post.source)
        if request.include_effects:
            rules = self._catalogue.corpus(corpus).rules
            response.effects.extend(self._effects(post.path, self._catalogue.sources.get(post.source), rules))
        return response

    def OverridePosts(
        self, request: pb.OverridePostsRequest, context: grpc.ServicerContext
    ) -> pb.OverridePostsResponse:
        """Take posts in, or leave them out, by hand."""
        corpus, word = _corpus(request), messages.read_override(request.override)
        posts = self._catalogue.override_posts(corpus, list(request.paths), word)
        return pb.OverridePostsResponse(posts=[messages.post_message(corpus, post) for post in posts])

    def DeletePosts(self, request: pb.DeletePostsRequest, context: grpc.ServicerContext) -> pb.DeletePostsResponse:
        """Remove posts."""
        return pb.DeletePostsResponse(num_removed=self._catalogue.delete_posts(_corpus(request), list(request.paths)))

    def PreviewPost(self, request: pb.PreviewPostRequest, context: grpc.ServicerContext) -> pb.PreviewPostResponse:
        """Clean a post without storing it."""
        most = self._settings.max_post_bytes
        if len(request.content) > most:
            raise InvalidRequest(
                f"the post has {len(request.content)} bytes, more than the {most} that a post may have",
                field="content",
            )
        rules = check_rules(messages.read_rules(request.rules) if request.HasField("rules") else Rules())
        outcome = self._cleaners.submit(check_path(request.path), request.content, rules).result()
        effects = self._effects(request.path, request.content, rules) if request.include_effects else ()
        if isinstance(outcome, Reason):
            return pb.PreviewPostResponse(reasons=[messages.reason_message(outcome)], effects=effects)
        left_out = Choosing(rules, today()).reason(Facts.of(request.path, outcome))
        if left_out is not None:
            return pb.PreviewPostResponse(
                reasons=map(messages.reason_message, (left_out, *outcome.notes)), effects=effects
            )
        return pb.PreviewPostResponse(
            document=messages.document_message("", request.path, outcome),
            reasons=[messages.reason_message(note) for note in outcome.notes],
            effects=effects,
        )

    def _effects(self, path: str, content: bytes, rules: Rules) -> list[pb.RuleEffect]:
        return [messages.effect_message(effect) for effect in self._cleaners.effects(path, content, rules)]

    def ListCorpora(self, request: pb.ListCorporaRequest, context: grpc.ServicerContext) -> pb.ListCorporaResponse:
        """A page of corpora."""
        size = messages.page_size(request.page_size, default=100, most=1000)
        corpora = self._catalogue.corpora(messages.read_page_token(request.page_token), size + 1)
        return pb.ListCorporaResponse(
            corpora=[messages.corpus_message(corpus) for corpus in corpora[:size]],
            next_page_token=messages.page_token(corpora[size - 1].name) if len(corpora) > size else "",
        )

    def GetCorpus(self, request: pb.GetCorpusRequest, context: grpc.ServicerContext) -> pb.GetCorpusResponse:
        """One corpus."""
        return pb.GetCorpusResponse(corpus=messages.corpus_message(self._catalogue.corpus(_corpus(request))))

    def DeleteCorpus(self, request: pb.DeleteCorpusRequest, context: grpc.ServicerContext) -> pb.DeleteCorpusResponse:
        """Delete a corpus."""
        if not request.corpus:
            raise InvalidRequest("say which corpus to delete; there is no default here", field="corpus")
        self._catalogue.delete_corpus(request.corpus)
        return pb.DeleteCorpusResponse()

    def RollbackCorpus(
        self, request: pb.RollbackCorpusRequest, context: grpc.ServicerContext
    ) -> pb.RollbackCorpusResponse:
        """Bring a corpus back to a snapshot."""
        snapshots.roll_back(self._catalogue, _corpus(request), request.snapshot)
        return pb.RollbackCorpusResponse(corpus=messages.corpus_message(self._catalogue.corpus(_corpus(request))))

    def CreateSnapshot(
        self, request: pb.CreateSnapshotRequest, context: grpc.ServicerContext
    ) -> pb.CreateSnapshotResponse:
        """Freeze a corpus."""
        snapshot = snapshots.create(self._catalogue, _corpus(request))
        return pb.CreateSnapshotResponse(snapshot=messages.snapshot_message(snapshot))

    def ListSnapshots(
        self, request: pb.ListSnapshotsRequest, context: grpc.ServicerContext
    ) -> pb.ListSnapshotsResponse:
        """A page of snapshots."""
        size = messages.page_size(request.page_size, default=100, most=1000)
        before = messages.read_number_token(request.page_token)
        found = snapshots.snapshots(self._catalogue, _corpus(request), before, size + 1)
        return pb.ListSnapshotsResponse(
            snapshots=[messages.snapshot_message(snapshot) for snapshot in found[:size]],
            next_page_token=messages.page_token(found[size - 1].number) if len(found) > size else "",
        )

    def DeleteSnapshot(
        self, request: pb.DeleteSnapshotRequest, context: grpc.ServicerContext
    ) -> pb.DeleteSnapshotResponse:
        """Delete a snapshot."""
        snapshots.delete(self._catalogue, _corpus(request), request.snapshot)
        return pb.DeleteSnapshotResponse()

    def ListDocuments(self, request: pb.ListDocumentsRequest, context: grpc.ServicerContext) -> Iterator[pb.Document]:
        """Stream the documents of a snapshot."""
        corpus = _corpus(request)
        digest = request.snapshot or snapshots.create(self._catalogue, corpus).digest
        for path, document in snapshots.documents(self._catalogue, corpus, digest):
            yield messages.document_message(corpus, path, document)

    def GetBlogStyle(self, request: pb.GetBlogStyleRequest, context: grpc.ServicerContext) -> pb.GetBlogStyleResponse:
        """Say how the blog writes its posts."""
        style = habits.learn(habits.newest(self._catalogue, _corpus(request), request.snapshot))
        return pb.GetBlogStyleResponse(style=json_format.ParseDict(style.as_json(), pb.BlogStyle()))

    def GetCorpusReport(
        self, request: pb.GetCorpusReportRequest, context: grpc.ServicerContext
    ) -> pb.GetCorpusReportResponse:
        """Describe a corpus."""
        report = self._reports.describe(_corpus(request))
        return pb.GetCorpusReportResponse(report=messages.corpus_report_message(report))

    def ListImports(self, request: pb.ListImportsRequest, context: grpc.ServicerContext) -> pb.ListImportsResponse:
        """A page of reports."""
        size = messages.page_size(request.page_size, default=20, most=100)
        before = messages.read_number_token(request.page_token)
        found = reports.past(self._catalogue, _corpus(request), before, size + 1)
        return pb.ListImportsResponse(
            imports=[messages.report_message(report) for report in found[:size]],
            next_page_token=messages.page_token(found[size - 1].import_id) if len(found) > size else "",
        )


def _corpus(request: Any) -> str:
    """The corpus that a request names."""
    return str(request.corpus) or DEFAULT_CORPUS

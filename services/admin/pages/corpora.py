"""A corpus as a whole: its report, and the rules by which its posts are cleaned and chosen."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos import corpus_pb2
from services.admin.charts import bar_chart
from services.admin.context import current
from services.admin.fields import complaints
from services.admin.peers import QUICK_S
from services.admin.rules_form import SECTIONS, RulesForm
from services.client import expectations
from services.client.connection import pages
from services.client.corpus_size import measure
from services.client.preparing import DEFAULT_CORPUS
from services.client.timeline import bars
from services.client.uploading import set_rules
from services.common.errors import InvalidRequest

blueprint = Blueprint("corpora", __name__, url_prefix="/corpus")

REPORT_S = 120.0  # every document is read once after a change
COUNT_S = 5.0  # counting tokens; a page that waits longer is worse than an estimate
MOST_BARS = 120
_DUPLICATES = (corpus_pb2.REASON_CODE_DUPLICATE, corpus_pb2.REASON_CODE_NEAR_DUPLICATE)


def _corpus() -> str:
    return request.values.get("corpus", "") or DEFAULT_CORPUS


@blueprint.get("/report")
def report() -> str:
    """How much there is, from when, what was left out and why, and what to expect of it."""
    services, corpus = current().services, _corpus()
    wanted = corpus_pb2.GetCorpusReportRequest(corpus=corpus)
    found = services.corpus.GetCorpusReport(wanted, timeout_s=REPORT_S).report
    size = measure(services, found, timeout_s=COUNT_S)
    drawn = bars(found.months, MOST_BARS)
    return render_template(
        "corpus_report.html",
        corpus=corpus,
        report=found,
        size=size,
        bars=drawn,
        chart=bar_chart(drawn),
        num_duplicates=sum(entry.num_posts for entry in (*found.left_out, *found.noted) if entry.code in _DUPLICATES),
        expected=expectations.expect(size.gpt2_tokens),
        advice=expectations.advice(size.gpt2_tokens, found.num_documents),
    )


@blueprint.get("/rules")
def rules() -> str:
    """The rules of a corpus in a form."""
    found = _details(_corpus())
    return _show_rules(RulesForm.of(found.rules), found)


@blueprint.post("/rules")
def save() -> Response | tuple[str, int]:
    """Clean and choose the posts by other rules, and say how many came in and went out."""
    corpus = _corpus()
    found, form = _details(corpus), RulesForm()
    if not form.validate():
        return _show_rules(form, found), 400
    before = _included(corpus)
    try:
        set_rules(current().services, corpus, form.rules())
    except InvalidRequest as error:
        field = (error.field or "").removeprefix("rules.")
        if field not in form:
            raise
        form[field].errors = [error.message]
        return _show_rules(form, found), 400
    after = _included(corpus)
    flash(_change(len(after - before), len(before - after), len(after)), "done")
    return redirect(url_for("corpora.report", corpus=corpus))


def _change(came: int, went: int, now: int) -> str:
    """What other rules did, in a sentence."""
    if not came and not went:
        return f"The rules are saved. No post came in or went out: there are {now:,} to learn from."
    parts = [f"{number:,} {'post' if number == 1 else 'posts'} {what}"
             for number, what in ((came, "came in"), (went, "went out")) if number]  # fmt: skip
    return f"The rules are saved. {' and '.join(parts)}: there are now {now:,} to learn from."


def _show_rules(form: RulesForm, found: corpus_pb2.Corpus) -> str:
    wrong = complaints(form)
    return render_template("rules.html", corpus=found.name, details=found, form=form, wrong=wrong, sections=SECTIONS)


def _details(corpus: str) -> corpus_pb2.Corpus:
    wanted = corpus_pb2.GetCorpusRequest(corpus=corpus)
    found: corpus_pb2.Corpus = current().services.corpus.GetCorpus(wanted, timeout_s=QUICK_S).corpus
    return found


def _included(corpus: str) -> set[str]:
    """Paths of the posts among the documents."""
    wanted = corpus_pb2.ListPostsRequest(corpus=corpus, selection=corpus_pb2.POST_SELECTION_INCLUDED)
    return {post.path for post in pages(current().services.corpus.ListPosts, wanted, "posts")}

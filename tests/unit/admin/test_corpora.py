"""A corpus on the page: its report, its rules, and what can be done with a single post."""

import io
import re

import pytest

from protos import corpus_pb2, tokenizer_pb2
from services.admin import diffs
from services.admin.charts import HEIGHT, LEFT, WIDTH, bar_chart
from services.admin.rules_form import CHOICES, OFF, ON, SECTIONS, RulesForm
from services.client.rules import RULES
from services.client.timeline import Bar
from services.common.errors import InvalidRequest, NotFound, Unavailable

FIELDS = {field.name for field in corpus_pb2.CleaningRules.DESCRIPTOR.fields}
DIFF = "@@ -1,3 +1,3 @@\n same <b>\n-with it\n+without it\n@@ -9 +9 @@\n+more"


def a_report(**fields):
    report = corpus_pb2.CorpusReport(
        corpus="letters", num_posts=52, num_documents=40, num_words=30_000, num_bytes=160_000, **fields
    )
    report.left_out.add(code=corpus_pb2.REASON_CODE_DRAFT, num_posts=12, examples=["d & e.md", "f.md"])
    report.noted.add(code=corpus_pb2.REASON_CODE_LEGACY_ENCODING, num_posts=3, examples=["old.md"])
    report.leftovers.add(kind="HTML tag", num_documents=2, example="<div class='x'>", path="tags.md")
    report.languages.add(language="de", num_documents=39, num_words=29_900)
    report.languages.add(language="", num_documents=1, num_words=100)
    report.longest.add(path="long.md", title="Long", num_words=4_000)
    report.months.add(month="2019-01", num_documents=3, num_words=10)
    report.months.add(month="2019-02", num_documents=0, num_words=0)
    report.months.add(month="2019-03", num_documents=1, num_words=5)
    return report


def answer_report(services, report):
    services.corpus.answer("GetCorpusReport", corpus_pb2.GetCorpusReportResponse(report=report))


def answer_corpus(services, **rules):
    corpus = corpus_pb2.Corpus(name="default", num_posts=3, num_documents=2, rules=corpus_pb2.CleaningRules(**rules))
    services.corpus.answer("GetCorpus", corpus_pb2.GetCorpusResponse(corpus=corpus))


def test_the_report_shows_what_there_is_and_links_to_the_posts_behind_it(client, services):
    answer_report(services, a_report(first_date="2019-01-02", last_date="2019-03-04", num_undated=5))

    page = client.get("/corpus/report?corpus=letters").text

    assert services.corpus.asked(corpus_pb2.GetCorpusReportRequest)[-1].corpus == "letters"
    for words in ("40 posts to learn from", "2019-01-02 to 2019-03-04; 5 without a date", "30,000", "German",
                  "too short to tell", "and 9 more", "&lt;div class=&#39;x&#39;&gt;", "tags.md", "4,000"):  # fmt: skip
        assert words in page
    draft = corpus_pb2.REASON_CODE_DRAFT
    assert f"/posts?corpus=letters&amp;show=out&amp;reason={draft}" in page
    assert "path=d+%26+e.md" in page or "path=d+&amp;+e.md" in page or "d%20%26%20e.md" in page


def test_the_report_draws_posts_over_time_without_a_script(client, services):
    answer_report(services, a_report())

    page = client.get("/corpus/report").text

    assert "Posts per month, one bar each." in page
    assert page.count("<rect") == 6  # a bar and what one can point at, for each month
    assert "<title>2019-01: 3 posts, 10 words</title>" in page
    assert "<script" not in page[page.index("<svg class") :]


def test_the_report_says_what_to_expect_of_every_base(client, services):
    answer_report(services, a_report())

    page = client.get("/corpus/report").text

    assert all(f"<dt>{base} " in page for base in ("nano", "micro", "mini", "124M", "355M", "774M", "1558M"))
    assert "about" in page


def test_the_report_counts_tokens_where_a_vocabulary_is_at_hand(client, services):
    answer_report(services, a_report())
    known = tokenizer_pb2.Vocabulary(id="letters-2048-aa", size=2048)
    services.tokenizer.answer("ListVocabularies", tokenizer_pb2.ListVocabulariesResponse(vocabularies=[known]))
    services.tokenizer.answer("CountCorpusTokens", tokenizer_pb2.CountCorpusTokensResponse(num_tokens=98_765))

    page = client.get("/corpus/report?corpus=letters").text

    assert "98,765" in page
    assert "letters-2048-aa" in page


def test_the_report_stands_while_the_tokenizer_is_down(client, services):
    answer_report(services, a_report())
    services.tokenizer.answer("ListVocabularies", Unavailable("down"))

    page = client.get("/corpus/report")

    assert page.status_code == 200
    assert "40,000" in page.text  # 160,000 bytes


def test_the_report_of_an_unknown_corpus_says_so(client, services):
    services.corpus.answer("GetCorpusReport", NotFound("there is no corpus 'gone'"))

    assert client.get("/corpus/report?corpus=gone").status_code == 404


def test_a_report_of_nothing_shows(client, services):
    answer_report(services, corpus_pb2.CorpusReport(corpus="default", num_posts=1))

    assert "0 posts to learn from" in client.get("/corpus/report").text


def test_every_rule_has_words_and_a_place_in_the_form():
    assert set(RULES) == FIELDS
    assert sorted(name for _, _, names in SECTIONS for name in names) == sorted(FIELDS)


def test_the_form_shows_a_corpuss_rules_with_their_meaning_and_default(client, services):
    answer_corpus(services, keep_code=False, secrets="SECRET_HANDLING_LEAVE_OUT", exclude_tags=["a", "b"],
                  first_date="2019-03-04", near_duplicate_similarity=0.9)  # fmt: skip

    page = client.get("/corpus/rules").text

    assert not re.search(r'<input checked[^>]*name="keep_code"', page)
    assert re.search(r'<input checked[^>]*name="keep_headings"', page)
    assert '<option selected value="LEAVE_OUT">' in page
    assert re.search(r">\s*a\nb</textarea>", page)
    assert 'value="2019-03-04"' in page
    assert 'value="0.9"' in page
    assert all(words.label in page for words in RULES.values())
    assert page.count("by default.") == len(ON) + len(OFF)
    assert page.count("(default)") == len(CHOICES) + 1


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"form": "TEXT_FORM_MARKDOWN", "keep_link_targets": False, "include_drafts": True},
        {"keep_link_targets": True, "mend_text": False, "cutoff_date": "2020-02-29", "last_date": "2021-01-01"},
        {"include_paths": ["a/**", "b"], "include_languages": ["en"], "near_duplicates": 2, "mask_addresses": True},
    ],
)
def test_rules_that_are_shown_and_saved_unchanged_are_the_same(app, rules):
    given = corpus_pb2.CleaningRules(**rules)
    with app.test_request_context():
        kept = RulesForm.of(given).rules()

    for name in FIELDS:
        if not given.DESCRIPTOR.fields_by_name[name].has_presence or given.HasField(name):
            expected = getattr(given, name)
            default = name in CHOICES and not expected
            assert default or getattr(kept, name) == expected, name


def filled_in(csrf, **changes):
    data = {"csrf_token": csrf, "corpus": "default", "form": "TEXT", "secrets": "MASK", "near_duplicates": "REPORT",
            "keep_link_targets": "", **dict.fromkeys(ON, "y")}  # fmt: skip
    return {name: value for name, value in (data | changes).items() if value is not None}


def test_saving_rules_says_how_many_posts_came_in_and_went_out(client, services, csrf):
    answer_corpus(services)
    sent = []
    lists = iter([["a.md", "b.md"], ["b.md", "c.md", "d.md"]])
    services.corpus.answer("UploadPosts", lambda stream: sent.extend(stream) or corpus_pb2.UploadPostsResponse())
    services.corpus.answer(
        "ListPosts", lambda _: corpus_pb2.ListPostsResponse(posts=[corpus_pb2.Post(path=path) for path in next(lists)])
    )
    answer_report(services, a_report())

    page = client.post(
        "/corpus/rules",
        data=filled_in(
            csrf, keep_code=None, include_drafts="y", exclude_tags="Work\n\n  news ", last_date="2020-01-31"
        ),
        follow_redirects=True,
    )

    message, end = sent
    assert end.WhichOneof("part") == "end"
    rules = message.header.rules
    assert message.header.corpus == "default"
    assert (rules.keep_code, rules.keep_headings, rules.include_drafts) == (False, True, True)
    assert (list(rules.exclude_tags), rules.last_date) == (["Work", "news"], "2020-01-31")
    assert not rules.HasField("keep_link_targets")
    assert "2 posts came in and 1 post went out: there are now 3 to learn from." in page.text
    assert page.request.path == "/corpus/report"


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [("near_duplicate_similarity", "0.2", "from 0.5 to 1"), ("first_date", "soon", "Not a valid date"),
     ("secrets", "SHOUT", "Not a valid choice")],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_shown_beside_its_field(client, services, csrf, field, value, complaint):
    answer_corpus(services)

    page = client.post("/corpus/rules", data=filled_in(csrf, **{field: value}))

    assert page.status_code == 400
    assert complaint in page.text
    assert not services.corpus.asked(corpus_pb2.UploadPostsRequest)


def test_a_rule_that_the_corpus_refuses_is_shown_beside_its_field(client, services, csrf):
    answer_corpus(services)
    services.corpus.answer("UploadPosts", InvalidRequest("'[' is no pattern of paths", field="rules.include_paths"))

    page = client.post("/corpus/rules", data=filled_in(csrf, include_paths="["))

    assert page.status_code == 400
    assert re.search(r'id="include_paths-wrong">.*is no pattern of paths', page.text)


def test_saving_rules_needs_the_forms_token(client, services):
    assert client.post("/corpus/rules", data=filled_in(None)).status_code == 400
    assert not services.corpus.requests


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("/posts?show=out", {"selection": corpus_pb2.POST_SELECTION_LEFT_OUT}),
        ("/posts?show=noted&reason=12", {"selection": corpus_pb2.POST_SELECTION_NOTED, "reason": 12}),
        ("/posts?language=DE", {"language": "de"}),
        ("/posts?language=-", {"language": ""}),
        ("/posts?show=nonsense&reason=x&language=", {}),
        ("/posts?reason=999", {}),
    ],
)
def test_posts_are_filtered_by_what_the_address_says(client, services, address, asked):
    client.get(address)

    (request,) = services.corpus.asked(corpus_pb2.ListPostsRequest)
    expected = corpus_pb2.ListPostsRequest(corpus="default", page_size=50, **asked)
    assert request == expected


def test_a_filter_stays_on_the_next_page(client, services):
    listed = corpus_pb2.ListPostsResponse(posts=[corpus_pb2.Post(path="a.md")], total_size=99, next_page_token="t2")
    services.corpus.answer("ListPosts", listed)

    page = client.get("/posts?show=out").text

    assert re.search(r'href="/posts\?[^"]*page=t2[^"]*show=out|href="/posts\?[^"]*show=out[^"]*page=t2', page)


def a_post(services, **fields):
    post = corpus_pb2.Post(path="a.md", title="A", included=fields.pop("included", True), **fields)
    found = corpus_pb2.GetPostResponse(post=post, source=b"# A <i>\n\nwith it")
    if post.included:
        found.document.CopyFrom(corpus_pb2.Document(path="a.md", title="A", text="without it"))
    found.effects.add(rule="keep_code", value="true", other_value="false", diff=DIFF)
    found.effects.add(rule="keep_maths", value="true", other_value="false")
    found.effects.add(rule="keep_tables", value="true", other_value="false", problem="its cleaning takes too <b>long")
    services.corpus.answer("GetPost", found)


def test_a_post_stands_beside_its_document_with_what_each_rule_did(client, services):
    a_post(services)

    page = client.get("/posts/view?path=a.md").text

    assert services.corpus.asked(corpus_pb2.GetPostRequest)[-1].include_effects
    assert "# A &lt;i&gt;" in page
    assert "without it</div>" in page
    assert "Keep code</strong>: on" in page
    assert re.search(r'class="removed">.*with it</div><div class="added">.*without it</div>', page)
    assert "same &lt;b&gt;" in page
    assert "No difference to this post: Keep formulas." in page
    assert "Not compared: Keep tables. Its cleaning takes too &lt;b&gt;long." in page


def test_a_post_tells_its_language_and_its_scores(client, services):
    a_post(services, language="de", quality={"prose": 0.75, "word_length": 1.0})

    page = client.get("/posts/view?path=a.md").text

    assert "Written in German." in page
    assert "prose 0.75, word length 1.00." in page


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({"included": True}, {"include", "exclude"}),
        ({"included": False}, {"include", "exclude"}),
        ({"included": True, "override": corpus_pb2.OVERRIDE_INCLUDE}, {"exclude", "rules"}),
        ({"included": False, "override": corpus_pb2.OVERRIDE_EXCLUDE}, {"include", "rules"}),
    ],
)
def test_a_post_offers_what_can_be_done_with_it(client, services, fields, offered):
    a_post(services, **fields)

    page = client.get("/posts/view?path=a.md").text

    assert set(re.findall(r'name="word" value="(\w+)"', page)) == offered


@pytest.mark.parametrize(
    ("word", "override"),
    [("include", corpus_pb2.OVERRIDE_INCLUDE), ("exclude", corpus_pb2.OVERRIDE_EXCLUDE),
     ("rules", corpus_pb2.OVERRIDE_UNSPECIFIED)],
)  # fmt: skip
def test_a_post_is_taken_in_or_left_out_by_hand(client, services, csrf, word, override):
    a_post(services)
    now = corpus_pb2.OverridePostsResponse(posts=[corpus_pb2.Post(path="a.md", included=True)])
    services.corpus.answer("OverridePosts", now)

    data = {"csrf_token": csrf, "corpus": "letters", "path": "a.md", "word": word}
    page = client.post("/posts/override", data=data, follow_redirects=True)

    expected = corpus_pb2.OverridePostsRequest(corpus="letters", paths=["a.md"], override=override)
    assert services.corpus.asked(corpus_pb2.OverridePostsRequest) == [expected]
    assert page.request.path == "/posts/view"
    assert "flash done" in page.text


def test_a_post_without_text_that_is_taken_in_is_said_to_stay_out(client, services, csrf):
    a_post(services, included=False)
    now = corpus_pb2.OverridePostsResponse(posts=[corpus_pb2.Post(path="a.md", included=False)])
    services.corpus.answer("OverridePosts", now)

    data = {"csrf_token": csrf, "path": "a.md", "word": "include"}

    assert "stays out" in client.post("/posts/override", data=data, follow_redirects=True).text


def test_an_unknown_word_about_a_post_is_refused(client, services, csrf):
    data = {"csrf_token": csrf, "path": "a.md", "word": "shred"}

    assert "reload the page" in client.post("/posts/override", data=data, follow_redirects=True).text
    assert not services.corpus.asked(corpus_pb2.OverridePostsRequest)


def test_a_post_is_previewed_by_the_corpuss_rules_without_being_taken_in(client, services, csrf):
    answer_corpus(services, keep_code=False)
    answer = corpus_pb2.PreviewPostResponse(document=corpus_pb2.Document(title="A", text="the text"))
    answer.effects.add(rule="keep_code", value="false", other_value="true", diff="@@ -1 +1 @@\n-code")
    services.corpus.answer("PreviewPost", answer)

    data = {"csrf_token": csrf, "file": (io.BytesIO(b"# A\n\nthe *text*"), "a.md")}
    page = client.post("/posts/preview", data=data).text

    (request,) = services.corpus.asked(corpus_pb2.PreviewPostRequest)
    assert (request.path, request.content, request.include_effects) == ("a.md", b"# A\n\nthe *text*", True)
    assert request.rules.HasField("keep_code") and not request.rules.keep_code
    assert "Nothing was taken in." in page
    assert "the *text*" in page and "the text</div>" in page
    assert not services.corpus.asked(corpus_pb2.UploadPostsRequest)


def test_a_preview_says_why_a_post_would_be_left_out(client, services, csrf):
    answer = corpus_pb2.PreviewPostResponse()
    answer.reasons.add(code=corpus_pb2.REASON_CODE_EMPTY, message="nothing is left")
    services.corpus.answer("GetCorpus", NotFound("no corpus"))
    services.corpus.answer("PreviewPost", answer)

    data = {"csrf_token": csrf, "file": (io.BytesIO(b""), "a.md")}

    assert "It would be left out. Nothing is left." in client.post("/posts/preview", data=data).text


def test_a_preview_of_no_file_asks_for_one(client, csrf):
    page = client.post("/posts/preview", data={"csrf_token": csrf}, follow_redirects=True)

    assert "Choose a file" in page.text


def test_a_difference_is_read_line_by_line():
    assert [(line.kind, line.text) for line in diffs.lines(DIFF)] == [
        ("same", "same <b>"), ("removed", "with it"), ("added", "without it"), ("place", "⋯"), ("added", "more"),
    ]  # fmt: skip
    assert diffs.changes(DIFF) == (2, 1)
    assert diffs.lines("") == []
    assert len(diffs.lines("\n".join(["+x"] * 5000))) == diffs.MOST_LINES


@pytest.mark.parametrize("counts", [[1], [0, 3, 0], [7] * 120, [100_000, 1], list(range(60))])
def test_a_chart_keeps_every_bar_inside_the_picture_in_proportion(counts):
    chart = bar_chart([Bar(f"{2000 + place}", "year", count, 10) for place, count in enumerate(counts)])

    assert len(chart.boxes) == len(counts)
    for box in chart.boxes:
        assert box.x >= LEFT and box.x + box.width <= WIDTH
        assert box.y >= 0 and box.y + box.height <= HEIGHT
    heights = [box.height for box in chart.boxes]
    assert heights.index(max(heights)) == counts.index(max(counts))
    assert 2 <= len(chart.lines) <= 7
    assert sum(1 for box in chart.boxes if box.label) <= 13


def test_nothing_to_draw_is_no_chart():
    assert bar_chart([]) is None
    assert bar_chart([Bar("2019", "year", 0, 0)]) is None

"""`nonesuch posts` and `nonesuch corpus`: what is sent, shown, chosen and removed."""

from __future__ import annotations

import json

import pytest

from protos import corpus_pb2


def test_posts_add_sends_each_post_once_and_reports_what_was_left_out(run, fakes, blog):
    first = run("posts", "add", blog)
    second = run("posts", "add", blog)

    assert fakes.corpus.posts["default"]["old/b.markdown"] == (blog / "old" / "b.markdown").read_bytes()
    assert "2 added" in first.stdout
    assert "1 file of another kind (1 .png)" in first.stdout
    assert "2 unchanged" in second.stdout
    assert fakes.corpus.received == []


def test_posts_add_sends_only_what_changed(run, fakes, blog):
    run("posts", "add", blog)
    (blog / "a.md").write_text("rewritten")

    result = run("posts", "add", blog)

    assert fakes.corpus.received == ["a.md"]
    assert "1 changed, 1 unchanged" in result.stdout


def test_posts_add_prune_removes_what_is_gone(run, fakes, blog):
    run("posts", "add", blog, "--corpus", "blog")
    (blog / "a.md").unlink()

    result = run("posts", "add", blog, "--corpus", "blog", "--prune", "--json")

    assert json.loads(result.stdout)["num_removed"] == 1
    assert list(fakes.corpus.posts["blog"]) == ["old/b.markdown"]


def test_pruning_with_an_empty_folder_is_refused(run, fakes, blog, tmp_path):
    run("posts", "add", blog)
    (tmp_path / "empty").mkdir()

    result = run("posts", "add", tmp_path / "empty", "--prune", status=1)

    assert "would remove every post" in result.stderr
    assert len(fakes.corpus.posts["default"]) == 2


def test_posts_add_says_when_there_is_nothing_to_learn_from(run, tmp_path):
    (tmp_path / "code.py").write_text("print()")

    result = run("posts", "add", tmp_path, status=1)

    assert "no document" in result.stderr


def test_posts_list_turns_all_pages(run, fakes):
    fakes.corpus.posts["default"] = {f"{number}.md": b"x" for number in range(5)}

    listed = json.loads(run("posts", "list", "--json").stdout)
    table = run("posts", "list").stdout

    assert [post["path"] for post in listed] == [f"{number}.md" for number in range(5)]
    assert table.splitlines()[0].split() == ["PATH", "DATE", "WORDS", "TITLE", "STATE"]
    assert len(table.splitlines()) == 6


def test_posts_show_prints_document_or_source(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"text \xff"}

    assert "Title of a.md" in run("posts", "show", "a.md").stdout
    assert run("posts", "show", "a.md", "--source").stdout_bytes == b"text \xff"
    assert json.loads(run("posts", "show", "a.md", "--json").stdout)["post"]["included"] is True


def test_posts_show_before_after_prints_source_document_and_what_each_rule_did(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"*text*\x1b[2J"}

    shown = run("posts", "show", "a.md", "--before-after").stdout
    effects = json.loads(run("posts", "show", "a.md", "--before-after", "--json").stdout)["effects"]

    parts = ["before: the author's file", "*text*", "after: the document", "keep_code is true", "+code"]
    parts += ["rules that make no difference here: keep_maths (true)", "not compared: secrets: it took more than 5 s"]
    assert [shown.find(part) for part in parts] == sorted(shown.find(part) for part in parts)
    assert shown.find(parts[0]) >= 0
    assert "\x1b" not in shown
    assert [effect["rule"] for effect in effects] == ["keep_code", "keep_maths", "secrets"]
    assert "choose one" in run("posts", "show", "a.md", "--before-after", "--source", status=2).stderr


def test_posts_are_taken_and_left_out_by_hand(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x", "b.md": b"y"}

    assert "a.md: left out" in run("posts", "leave-out", "a.md").stdout
    assert json.loads(run("posts", "list", "--json").stdout)[0]["override"] == "EXCLUDE"
    assert "a.md: taken" in run("posts", "take", "a.md", "b.md").stdout
    assert json.loads(run("posts", "reset", "a.md", "--json").stdout)[0]["override"] == "UNSPECIFIED"
    assert "no post 'z.md'" in run("posts", "take", "z.md", status=1).stderr


def test_corpora_are_listed_shown_and_deleted(run, fakes):
    fakes.corpus.posts = {name: {"a.md": b"x"} for name in ("one", "three", "two")}

    assert [entry["name"] for entry in json.loads(run("corpus", "list", "--json").stdout)] == ["one", "three", "two"]
    assert "three" in run("corpus", "list").stdout
    assert "documents" in run("corpus", "show", "--corpus", "one").stdout
    assert run("corpus", "snapshots", "--corpus", "one").stdout.count("\n") == 4
    run("corpus", "delete", "--corpus", "two", "--yes")
    assert list(fakes.corpus.posts) == ["one", "three"]
    assert "no corpus 'two'" in run("corpus", "show", "--corpus", "two", status=1).stderr


def test_corpus_rules_are_shown_changed_and_reset(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x", "b.md": b"y"}

    shown = run("corpus", "rules").stdout
    names = [field.name for field in corpus_pb2.CleaningRules.DESCRIPTOR.fields]
    assert all(name in shown for name in names)
    assert "after 2019-09-01 are future ones" in shown

    said = run(
        *("corpus", "rules", "--set", "keep_code=false", "--set", "exclude-paths=a.md, c.md"),
        *("--set", "secrets=leave-out", "--set", "near_duplicate_similarity=0.9", "--set", "first_date=2019-01-01"),
    ).stdout
    rules = fakes.corpus.rules["default"]
    assert said.startswith("0 posts came in, 1 post went out; corpus default: 1 document")
    assert (rules.keep_code, list(rules.exclude_paths), rules.secrets, rules.near_duplicate_similarity) == (
        False,
        ["a.md", "c.md"],
        corpus_pb2.SECRET_HANDLING_LEAVE_OUT,
        0.9,
    )
    table = {line.split()[0]: line for line in run("corpus", "rules").stdout.splitlines() if line}
    assert table["keep_code"].split()[1:3] == ["false", "true"]
    assert "leave_out" in table["secrets"] and "a.md, c.md" in table["exclude_paths"]

    run("corpus", "rules", "--set", "exclude_paths=")
    assert not fakes.corpus.rules["default"].exclude_paths and not fakes.corpus.rules["default"].keep_code
    run("corpus", "rules", "--reset", "--set", "keep_maths=off")
    assert fakes.corpus.rules["default"] == corpus_pb2.CleaningRules(keep_maths=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("keep_coffee=true", "sets no rule"),
        ("keep_code", "sets no rule"),
        ("keep_code=perhaps", "write true or false"),
        ("secrets=shout", "write mask, leave_out, keep"),
        ("near_duplicate_similarity=much", "write a number"),
    ],
)
def test_a_rule_that_is_none_changes_nothing(run, fakes, words, said):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    assert said in run("corpus", "rules", "--set", words, status=1).stderr
    assert fakes.corpus.rules == {}


def test_posts_remove_names_an_unknown_post(run, fakes):
    fakes.corpus.posts["default"] = {"a.md": b"x"}

    assert "no post 'b.md'" in run("posts", "remove", "b.md", status=1).stderr
    assert "1 post removed" in run("posts", "remove", "a.md").stdout

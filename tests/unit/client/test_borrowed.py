from __future__ import annotations

from protos import generator_pb2 as pb
from services.client.commands import borrowed


def run(start, end, num_tokens, **fields):
    return pb.VerbatimRun(start=start, end=end, num_tokens=num_tokens, **({"num_places": 1, "title": "Owls"} | fields))


def told(*runs, share=0.31, longest=40):
    return pb.Originality(verbatim_share=share, longest_run_tokens=longest, min_run_tokens=12, runs=runs)


def test_an_original_text_is_said_to_be_one(capsys):
    borrowed.note("all my own", told(longest=4))
    assert "no run of 12 tokens or more stands in the posts it learned (longest: 4 tokens)" in capsys.readouterr().err


def test_what_is_borrowed_is_quoted_with_its_post_the_longest_first(capsys):
    text = "owls   wrote\nposts and mice read them"
    originality = told(run(0, 18, 12), run(22, 37, 40, num_places=3, title="", post="blog/mice.md"))
    borrowed.note(text, originality, "sample 2")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == (
        "sample 2: 31% stands word for word in the posts it learned, in runs of 12 tokens or more; "
        "longest run: 40 tokens"
    )
    assert rest == [
        "  40 tokens of 'blog/mice.md', 3 times in all: “mice read them”",
        "  12 tokens of 'Owls': “owls wrote posts”",
    ]


def test_of_many_runs_the_longest_are_told(capsys):
    borrowed.note("x" * 100, told(*(run(i, i + 90, 12 + i) for i in range(8))))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + borrowed.SHOWN_RUNS + 1
    assert lines[1].startswith("  19 tokens") and "x …”" in lines[1]
    assert lines[-1] == "  and 3 more runs; --json has all"

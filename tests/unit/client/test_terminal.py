from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from services.client.commands import terminal


def test_control_characters_do_not_reach_a_terminal():
    assert terminal.printable("a\x1b[2Jb\tc\nd\u202e\x9b") == "a\ufffd[2Jb\tc\nd\ufffd\ufffd"


def test_a_table_keeps_every_cell_whole_off_a_terminal(capsys):
    terminal.table(["NAME", "N"], [["x" * 200, "1"], ["日本", "22"], ["[bold]", ""]], right=["N"])

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "x" * 200 + "   1"
    assert lines[2].startswith("日本" + " " * 196)
    assert lines[3].split() == ["[bold]", "-"]


def test_a_post_is_printed_as_it_is_off_a_terminal(capsys):
    text = "title: A\n\n" + "word " * 100 + "\n[not markup] \x1b"

    terminal.print_post(text)
    terminal.print_post(text, title="sample 2")

    assert capsys.readouterr().out == f"{text}\n======== SAMPLE 2 ========\n{text}\n"


def test_stages_are_told_once_off_a_terminal(capsys):
    with terminal.progress() as on_progress:
        for done in range(3):
            on_progress("sending posts", done, 3)

    assert capsys.readouterr().err == "sending posts …\n"


def test_amounts_read_well():
    assert [terminal.size(each) for each in (0, 1023, 1 << 20, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.0 MiB",
        "3.0 GiB",
    ]
    assert [terminal.count(each, "post") for each in (0, 1, 1200)] == ["0 posts", "1 post", "1,200 posts"]
    assert terminal.when(Timestamp()) == ""

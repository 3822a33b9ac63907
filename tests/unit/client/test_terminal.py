from __future__ import annotations

import io
import sys
from contextlib import contextmanager

import pytest
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


class Screen(io.StringIO):
    def isatty(self):
        return True


@contextmanager
def screen():
    """Both streams on one terminal. Within the test: pytest sets its own streams after the fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        made = Screen()
        patch.setattr(sys, "stdout", made)
        patch.setattr(sys, "stderr", made)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "60")
        yield made


def test_a_post_on_a_terminal_has_its_header_set_apart_and_cannot_steer():
    text = "title: A [b]\ntags: x, y\ndate: 2019-09-01\n\n" + "word " * 20 + "\x1b[2J"

    with screen() as shown:
        terminal.print_post(text, title="sample 1")

    lines = shown.getvalue().splitlines()
    assert "sample 1" in lines[0]
    assert "A [b]" in lines[1]
    assert "2019-09-01 · x, y" in lines[2]
    assert max(map(len, lines[4:])) <= 60
    assert "\x1b[2J" not in shown.getvalue()


def test_marked_pieces_are_coloured_where_they_stand_in_the_body():
    text = "title: A\n\nowls wrote posts\n"
    start = text.index("wrote")

    with screen() as shown:
        terminal.print_post(text, marked=[(start, start + 5)])
        terminal.print_post("owls wrote posts", marked=[(5, 10)])

    coloured = "owls \x1b[30;43mwrote\x1b[0m posts"
    assert shown.getvalue().count(coloured) == 2


def test_what_is_printed_while_a_bar_is_shown_goes_above_it():
    with screen() as made, terminal.progress() as on_progress:
        on_progress("sending posts", 1, 2)
        terminal.note("a remark")
        terminal.say("a line")

    shown = made.getvalue()
    assert "\x1b[2K\x1b[2ma remark\x1b[0m\n" in shown  # the bar's line is erased first
    assert "a line\n" in shown

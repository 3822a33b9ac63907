"""Short cuts of `make soak`."""

from tests.e2e.load import trials


def test_new_versions_under_full_load_fail_no_request_and_mix_no_text(tmp_path):
    trials.new_versions(tmp_path, seconds=6, every_s=1)


def test_who_comes_when_all_is_full_is_told_so_and_the_others_are_written_to_their_end(tmp_path):
    trials.overload(tmp_path, times=4)


def test_streams_that_are_open_at_the_end_are_written_to_theirs(tmp_path):
    trials.drain(tmp_path)


def test_mixed_load_is_answered_and_leaves_open_files_as_they_are(tmp_path):
    trials.soak(tmp_path, seconds=20, seed=1, long=False)

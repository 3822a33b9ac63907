"""What a version carries of its corpus belongs to its vocabulary, and is asked with a sample's prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import Corrupt
from services.generator import messages
from services.generator.corpus import Corpus, open_corpus
from services.tokens.header import compose_header
from tests.rpc.generator.serving import write_corpus
from tests.unit.generator.fakes import END, codec

HEADER = compose_header("Owls", ["birds"], "2024-03-01")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    write_corpus(tmp_path / "index", [(HEADER + "The owl wrote of snow.").encode()])
    found = open_corpus(tmp_path, codec())
    assert found is not None
    return found


def test_a_prompt_that_began_a_header_takes_the_fields_names_with_it(corpus: Corpus) -> None:
    prompt, sample = HEADER[:9], HEADER[9:]
    assert messages.originality(sample, corpus, prompt).longest_run_tokens == len("ls" + "birds" + "2024-03-01")
    assert messages.originality(sample, corpus).longest_run_tokens > len("ls" + "birds" + "2024-03-01")


def test_a_run_is_told_with_its_post(corpus: Corpus) -> None:
    told = messages.originality("Q The owl wrote of Q", corpus)
    (run,) = told.runs
    assert (run.post, run.title, told.nearest_post) == ("blog/0.md", "Post 0", "blog/0.md")
    assert run.post_start == len(HEADER)
    assert run.excerpt[run.excerpt_start : run.excerpt_end] == "The owl wrote of "


def test_what_is_told_of_a_text_that_repeats_itself_is_no_longer_than_of_others(tmp_path: Path) -> None:
    write_corpus(tmp_path / "index", [b"0x00, " * 200])
    found = open_corpus(tmp_path, codec())
    assert found is not None
    told = messages.originality("0x00, " * 400, found)
    assert told.verbatim_share == 1.0 and told.longest_run_tokens == 1200
    assert told.ByteSize() < 3 * 2400


def test_ids_that_the_vocabulary_lacks_are_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "index", [[104, END + 1]])  # type: ignore[list-item]
    with pytest.raises(Corrupt, match=r"tokens\.npy is damaged: it holds id 257; the vocabulary has 257 ids"):
        open_corpus(tmp_path, codec())

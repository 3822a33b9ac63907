"""One tokenizer service per data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import FailedPrecondition
from services.tokenizer import writer_lock


def test_a_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with writer_lock.hold(tmp_path), pytest.raises(FailedPrecondition, match="another tokenizer service"):
        writer_lock.hold(tmp_path)

    writer_lock.hold(tmp_path).close()

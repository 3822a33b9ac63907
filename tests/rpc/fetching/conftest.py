"""A server that has the same tiny weights as the hub and as OpenAI's bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.gpt2 import checkpoint, model
from tests.hugging_face_files import write_hugging_face
from tests.rpc.fetching import fake_sources
from tests.rpc.fetching.fake_sources import (
    FakeSources,
)
from tests.rpc.fetching.trial import REPOSITORY
from tests.unit.trainer.tiny import CONFIG, write_vocabulary


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hugging_face(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="session")
def bucket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as OpenAI's seven files."""
    folder = write_vocabulary(tmp_path_factory.mktemp("bucket"))
    checkpoint.write_weights(folder, 1, model.init_params(CONFIG, 1), CONFIG)
    for path in folder.glob("model-1.*"):
        path.rename(folder / path.name.replace("model-1.", "model.ckpt."))
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (folder / "model.ckpt.meta").write_bytes(b"\x0a\x00graph")
    return folder


@pytest.fixture
def fake(hub_folder: Path, bucket_folder: Path) -> Iterator[FakeSources]:
    with fake_sources.running() as server:
        server.add_repository(REPOSITORY, hub_folder)
        server.add_bucket("tiny", bucket_folder)
        yield server

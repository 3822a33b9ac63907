"""A whole fetch in this process, with what it told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.errors import FailedPrecondition
from services.gpt2 import checkpoint, model
from services.trainer.fetching.names import Wanted
from services.trainer.fetching.sources import HUB, OPENAI, Sources
from services.trainer.fetching.work import Fetch
from tests.rpc.fetching.fake_sources import (
    FakeSources,
)
from tests.unit.trainer.tiny import CONFIG

REPOSITORY = "someone/tiny"
WANTED = Wanted("tiny", REPOSITORY, "tiny", CONFIG)
TIMEOUT_S = 120.0
SHORT_S = 1.0  # for what never comes


class Trial:
    """A fetch in this process, with what it told."""

    def __init__(self, fake: FakeSources, folder: Path, *order: str, wanted: Wanted = WANTED, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.remarks: list[str] = []
        self.pauses: list[float] = []
        self.told: list[tuple[str, str, str, int, int]] = []
        addresses = {"hub_url": fake.hub_url, "openai_url": fake.openai_url, "timeout_s": TIMEOUT_S}
        sources = Sources(order=order, **addresses | options)
        self.fetch = Fetch(
            wanted,
            folder,
            sources,
            tell=lambda *facts: self.told.append(facts),
            remark=self.remarks.append,
            pause=self.pauses.append,
        )

    def gives_the_model(self) -> Path:
        folder = self.fetch.run()
        config, params = checkpoint.read_weights(folder)
        assert config == CONFIG
        for name, value in model.init_params(CONFIG, 1).items():
            np.testing.assert_array_equal(params[name], value)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["num_parameters"] == CONFIG.num_parameters and manifest["source"]["files"]
        return folder

    def fails(self, *words: str) -> str:
        with pytest.raises(FailedPrecondition) as caught:
            self.fetch.run()
        for word in words:
            assert word in caught.value.message
        return caught.value.message


def weights_of(fake: FakeSources, source: str) -> str:
    return "/cdn/model.safetensors" if source == HUB else "model.ckpt.data-00000-of-00001"


BOTH = pytest.mark.parametrize("source", [HUB, OPENAI])

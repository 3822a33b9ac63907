"""Where the services answer, read from the environment (`NONESUCH_CORPUS_ADDRESS` and its three sisters)."""

from __future__ import annotations

import os

from services.common import settings
from services.common.settings import CommonSettings


def from_environment() -> CommonSettings:
    """Read the settings that all parts agree on; raise SettingsError listing every bad value."""
    return settings.read(CommonSettings, "NONESUCH_", os.environ)

"""What the views share: settings, keys, the services, the jobs, the game, and the wish to stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import cast

from flask import current_app

from services.admin.game.database import Database
from services.admin.game.gatherings import Gatherings
from services.admin.jobs import Jobs
from services.admin.keys import Keys
from services.admin.settings import AdminSettings
from services.client.connection import Connection

EXTENSION = "nonesuch"


@dataclass(frozen=True, slots=True)
class Context:
    """One per app.

    Args:
        stopping: set on SIGTERM; streams end when they see it.
    """

    settings: AdminSettings
    keys: Keys
    services: Connection
    jobs: Jobs
    game: Database
    gatherings: Gatherings = field(default_factory=Gatherings)
    stopping: threading.Event = field(default_factory=threading.Event)


def current() -> Context:
    """The context of the app that answers this request."""
    return cast(Context, current_app.extensions[EXTENSION])

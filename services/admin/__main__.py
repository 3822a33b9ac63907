"""`python -m services.admin`: serve the page until SIGTERM."""

from __future__ import annotations

import os
import sys

from services.admin import settings as admin_settings
from services.admin.keys import load_keys
from services.admin.server import Server, listen
from services.admin.settings import AdminSettings
from services.client.connection import Connection
from services.common import logs, rpc, settings
from services.common.settings import CommonSettings


def main() -> int:
    """Read the settings, make the keys, take the port, and hand over to gunicorn."""
    common = settings.read_or_exit(CommonSettings, "NONESUCH_", os.environ)
    own = settings.read_or_exit(AdminSettings, admin_settings.PREFIX, os.environ)
    logs.configure("admin", log_format=common.log_format, level=common.log_level)
    try:
        keys = load_keys(own.state)
    except OSError as error:
        print(
            f"admin: cannot keep the login token in {own.state} ({error}): set NONESUCH_ADMIN_STATE",
            file=sys.stderr,
        )
        return 1
    try:
        for service in Connection(common).services:  # nothing connects yet
            rpc.split_address(service.address)
        listener = listen(own.listen)
    except (OSError, ValueError) as error:
        print(f"admin: {error}", file=sys.stderr)
        return 1
    # What gunicorn reads from its own variables and from the command line is none of our settings.
    os.environ.pop("GUNICORN_CMD_ARGS", None)
    sys.argv[1:] = []
    Server(own, common, keys, listener).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m services.admin.health HOST:PORT`: exit 0 if the page there answers. For HEALTHCHECK."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 3.0


def answers(address: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether the page at `host:port` says that it is up."""
    try:
        with urllib.request.urlopen(f"http://{address}/healthz", timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """Check the address given on the command line."""
    if len(sys.argv) != 2:
        print("usage: python -m services.admin.health HOST:PORT", file=sys.stderr)
        return 2
    return 0 if answers(sys.argv[1]) else 1


if __name__ == "__main__":
    sys.exit(main())

"""`nonesuch`, or `python -m services.client`."""

from __future__ import annotations

from services.client.commands.root import root


def main() -> None:
    """Run the command line and exit."""
    root(prog_name="nonesuch")


if __name__ == "__main__":
    main()

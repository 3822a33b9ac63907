"""`make soak`: the generator under load, each trial at full length: about thirteen minutes.

`python -m tests.e2e.load [--minutes 10] [--seed N] [--only NAME]`. A line per trial; exit status 1 if one failed.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.e2e.faults.trials import hold
from tests.e2e.load import trials


def main() -> int:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of mixed load (default %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="ask for the same again (default: new ones)")
    parser.add_argument("--only", default="", help="trials whose name holds this")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="nonesuch-load-"))
    print(f"seed {seed}", flush=True)
    wanted = {
        "new versions": lambda at: trials.new_versions(at, seconds=60, every_s=5),
        "overload": lambda at: trials.overload(at, times=10),
        "drain": trials.drain,
        "soak": lambda at: trials.soak(at, seconds=60 * options.minutes, seed=seed, long=True),
    }
    failures = []
    for number, (name, trial) in enumerate(wanted.items()):
        if options.only in name:
            failures += hold(name, folder / str(number), trial)
    print("\n".join(failures) or "all held")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.e2e.faults.trainer_program CHILD...`: the trainer service, with another program that trains."""

import sys

from services.trainer.__main__ import main

if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))

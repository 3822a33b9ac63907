"""The `nonesuch` command: one file per group of verbs, `root.py` on top, `terminal.py` and `plain.py` below.

People's output is plain text on standard output; progress and errors go to standard error; `--json` prints JSON and
nothing else. Exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 Ctrl-C.
"""

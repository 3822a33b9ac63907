"""Files of other tools: how each format is written from documents and read into them.

    token_files.py   NPZ, BIN: token ids           text_files.py   JSONL, TXT, CSV: text
    marker.py        the end-of-text marker in a text file, and the author who typed it

Files come from anywhere: a reader holds one document at a time, never trusts a length, and refuses with
InvalidRequest, which names the file and the place.
"""

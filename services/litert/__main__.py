"""`python -m services.litert FOLDER TARGET [--rows FILE] [--precision int8|float32]`: convert and verify a model.

FOLDER is in OpenAI's layout; TARGET gets engine.litert and engine.json. FILE is a NumPy array of token ids, int [R, T],
to compare predictions on; without one it is text that the model writes itself. Prints one JSON object: the report, or
`{"error": ..., "reason": ..., "file": ...}` with exit status 1. Started by apart.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from services.common.child import die_first, die_with
from services.common.errors import NonesuchError
from services.common.files import read_json, sha256_files

END_OF_TEXT = "<|endoftext|>"


def main() -> int:
    """Convert, verify, report."""
    parser = argparse.ArgumentParser(prog="python -m services.litert", description=__doc__)
    parser.add_argument("folder", type=Path, help="a model in OpenAI's layout")
    parser.add_argument("target", type=Path, help="where the engine file and its report go")
    parser.add_argument("--rows", type=Path, help="token ids to compare predictions on, an .npy file")
    parser.add_argument("--precision", choices=["int8", "float32"], default="int8")
    parser.add_argument("--nice", type=int, default=0, help="added to the niceness")
    parser.add_argument("--parent", type=int, help="process id of the service, with which this one ends")
    options = parser.parse_args()
    if options.parent:
        die_first()
        if not die_with(options.parent):
            return 1
    os.nice(options.nice)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the card is for training and streams, and would compute less exactly

    from services.gpt2.checkpoint import read_weights
    from services.litert.stored import weights_digest
    from services.litert.verified import convert_verified

    rows = np.load(options.rows, allow_pickle=False).tolist() if options.rows else None
    try:
        config, params = read_weights(options.folder)
        digest = weights_digest(sha256_files(options.folder))
        last = config.n_vocab - 1
        first_id = min(last, int(read_json(options.folder / "encoder.json").get(END_OF_TEXT, last)))
        report = convert_verified(config, params, options.target, rows, digest, options.precision, first_id=first_id)
    except NonesuchError as error:
        said = {"error": error.message, "reason": error.reason, "file": error.metadata.get("file", "")}
        print(json.dumps(said))
        return 1
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

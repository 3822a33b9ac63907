"""`python -m services.trainer.training.inspect FOLDER [FROM]`: read a folder in OpenAI's layout whole and say
what it is. With FROM, a folder of Hugging Face's, FOLDER is filled from it first.

Prints one JSON object: `{"config": {...}, "prefix": "model.ckpt"}`, or `{"error": ...}` with exit status 1.
A process of its own, so that the service holds neither TensorFlow nor the weights.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def inspect(folder: Path) -> dict[str, Any]:
    """Read every array of a folder, one at a time; return its architecture and the prefix of its weights' files.

    Raises:
        Corrupt: a file is missing, damaged or of the wrong shape; names it.
    """
    from services.gpt2 import checkpoint

    config = checkpoint.check_weights(folder)
    return {"config": config.to_hparams(), "prefix": str(checkpoint.find_prefix(folder).relative_to(folder))}


def main() -> int:
    """Inspect the folder given on the command line; one of Hugging Face's is converted first, into the second."""
    from services.common.errors import Corrupt

    try:
        if len(sys.argv) > 2:
            from services.gpt2.hugging_face import convert

            convert(Path(sys.argv[2]), Path(sys.argv[1]))
        print(json.dumps(inspect(Path(sys.argv[1]))))
    except Corrupt as error:
        print(json.dumps({"error": error.message, "file": error.metadata.get("file", "")}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

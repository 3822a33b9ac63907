"""`python -m services.trainer.training.inspect FOLDER`: read a folder in OpenAI's layout whole and say what
it is.

Prints one JSON object: `{"config": {...}, "prefix": "model.ckpt"}`, or `{"error": ...}` with exit status 1.
A process of its own, so that the service holds neither TensorFlow nor the weights.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    """Inspect the folder given on the command line."""
    from services.common.errors import Corrupt
    from services.gpt2 import checkpoint

    folder = Path(sys.argv[1])
    try:
        config, _ = checkpoint.read_weights(folder)
        prefix = checkpoint.find_prefix(folder)
    except Corrupt as error:
        print(json.dumps({"error": error.message, "file": error.metadata.get("file", "")}))
        return 1
    print(json.dumps({"config": config.to_hparams(), "prefix": str(prefix.relative_to(folder))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

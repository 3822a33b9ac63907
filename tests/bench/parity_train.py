"""Whether 30 steps of ours and of transformers + PyTorch, in float32, have the same losses: within 1e-3 at each.

`python tests/bench/parity_train.py [--steps 30]`: GPT-2 124M, 1 x 256 tokens, learning rate 1e-4, the same random
weights, the same batches, the same AdamW. Prints both losses of every step, then one JSON object; its status is 1
if they differ by more. A short cut of two layers and ten steps is in tests/unit/trainer/test_parity.py.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.bench_train import Contestant

TOLERANCE = 1e-3


def main() -> None:
    """Train both, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30, help="1 to 30")
    options = parser.parse_args()
    both = [Contestant(name, "float32", 1, 256, warm_steps=0) for name in ("ours", "transformers")]
    for number in range(options.steps):
        for each in both:
            each.step()
        print(f"{number + 1:3} {both[0].values[-1]:.6f} {both[1].values[-1]:.6f}", file=sys.stderr, flush=True)
    for each in both:
        each.end()
    largest = max(abs(ours - theirs) for ours, theirs in zip(both[0].values, both[1].values, strict=True))
    line = {
        "bench": "parity",
        "case": f"{options.steps} steps of 1 x 256, float32",
        "metric": "largest difference of losses",
        "unit": "nats",
        "ours": largest,
        "peer": f"transformers {version('transformers')}",
        "theirs": TOLERANCE,
        "ratio": TOLERANCE / largest if largest else None,
    }
    print(json.dumps(line), flush=True)
    sys.exit(largest > TOLERANCE)


if __name__ == "__main__":
    main()

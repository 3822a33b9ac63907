"""`python -m tests.e2e.faults.trainer_child [OPTIONS] DATA RUN ...`: the training process, harmed.

--group FOLDER puts it into a control group before it loads anything. --bad-bit STEP makes a weight a NaN in memory
before a step, once in the run's life, as a failing memory chip would.
"""

import os
import sys
from pathlib import Path

from services.trainer.training import __main__ as entry


def main() -> int:
    arguments = sys.argv[1:]
    while arguments[0] in ("--group", "--bad-bit"):
        option, value = arguments[:2]
        del arguments[:2]
        if option == "--group":
            (Path(value) / "cgroup.procs").write_text(str(os.getpid()))
        else:
            spoil(Path(arguments[0]) / "checkpoint" / arguments[1] / "spoilt", int(value))
    sys.argv[1:] = arguments
    return entry.main()


def spoil(mark: Path, step: int) -> None:
    """Have the process spoil a weight before `step`, unless `mark` is there."""
    from services.trainer.training import process

    class Spoilt(process.TrainingProcess):
        def _do_step(self) -> None:
            if self.step + 1 == step and not mark.exists():
                mark.touch()
                weight = self._trainer.variables["model/h0/mlp/c_fc/w"]
                weight.assign(weight * float("nan"))
            super()._do_step()

    process.TrainingProcess = Spoilt


if __name__ == "__main__":
    sys.exit(main())

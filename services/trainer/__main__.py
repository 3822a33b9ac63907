"""`python -m services.trainer`: settings, the volume's runs and models, the queue, the server."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from prometheus_client import REGISTRY

from protos import trainer_pb2, trainer_pb2_grpc
from services.common import process
from services.common.settings import CommonSettings, read_or_exit
from services.trainer.child import PROGRAM
from services.trainer.service import Trainer
from services.trainer.settings import PREFIX, TrainerSettings


def main(program: Sequence[str] = PROGRAM) -> int:
    """Serve until SIGTERM; a training process that runs then saves first.

    Args:
        program: what trains a run.
    """
    common = read_or_exit(CommonSettings, "NONESUCH_", os.environ)
    settings = read_or_exit(TrainerSettings, PREFIX, os.environ)
    # For the processes that train and convert; a container's own root is read-only.
    os.environ.setdefault("NUMBA_CACHE_DIR", str((common.data / "checkpoint" / ".numba").resolve()))
    trainer = Trainer(common.data, nice=settings.nice, program=program, sources=settings.sources)
    try:
        trainer.open()
    except OSError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    REGISTRY.register(trainer.gauges)
    return process.run(
        "trainer",
        common,
        listen=settings.listen,
        metrics_listen=settings.metrics_listen,
        services=[trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name],
        register=lambda server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(trainer.servicer, server),
        started=lambda server: trainer.start(),
        draining=trainer.begin_stop,
        stopped=lambda: trainer.finish_stop(settings.stop_grace_s),
    )


if __name__ == "__main__":
    sys.exit(main())

"""`python -m services.generator`: load published models and answer until SIGTERM."""

from __future__ import annotations

import os
import sys

from services.common import process
from services.common.settings import CommonSettings, read_or_exit
from services.generator.settings import PREFIX, GeneratorSettings

SWITCH_INTERVAL_S = 0.0005


def main() -> int:
    """Read the settings, start looking for models, serve."""
    common = read_or_exit(CommonSettings, "NONESUCH_", os.environ)
    settings = read_or_exit(GeneratorSettings, PREFIX, os.environ)
    # Numba reads this when it is imported, and the source folder may be read-only.
    os.environ.setdefault("NUMBA_CACHE_DIR", str((common.cache / "numba").resolve()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from protos.generator_pb2_grpc import add_GeneratorServiceServicer_to_server
    from services.generator.servicer import SERVICE_NAME, GeneratorServicer, worker_threads
    from services.generator.serving import make_models

    # The model's thread gives up the interpreter at each compiled call, and asks for it again among a thread per
    # stream: by default each of these may make it wait for 5 ms.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    models = make_models(common.data / "models", settings, common.cache.resolve())
    servicer = GeneratorServicer(models, settings)
    return process.run(
        "generator",
        common,
        listen=settings.listen,
        metrics_listen=settings.metrics_listen,
        services=[SERVICE_NAME],
        worker_threads=worker_threads(settings),
        register=lambda server: add_GeneratorServiceServicer_to_server(servicer, server),
        # Health: the process serves without a model; each model has a name of its own, `models/<name>`.
        started=lambda server: models.start(
            lambda name, serving: server.set_serving(f"models/{name}", serving=serving)
        ),
        stopped=models.close,
    )


if __name__ == "__main__":
    sys.exit(main())

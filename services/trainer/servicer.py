"""TrainerService of protos/trainer.proto: all its rpcs, which stand by noun in the modules beside."""

from __future__ import annotations

import threading

from protos import trainer_pb2_grpc
from services.trainer.base_rpcs import BaseRpcs
from services.trainer.bases import Bases
from services.trainer.checkpoint_rpcs import CheckpointRpcs
from services.trainer.fetching.fetches import Fetches
from services.trainer.model_rpcs import ModelRpcs
from services.trainer.publishing import Models
from services.trainer.run_rpcs import RunRpcs
from services.trainer.runs import Runs
from services.trainer.supervisor import Supervisor
from services.trainer.volume import Volume


class TrainerServicer(BaseRpcs, RunRpcs, CheckpointRpcs, ModelRpcs, trainer_pb2_grpc.TrainerServiceServicer):
    """The rpcs; each one's contract is its comment in the proto."""

    def __init__(
        self, volume: Volume, bases: Bases, fetches: Fetches, runs: Runs, models: Models, supervisor: Supervisor
    ) -> None:
        self._volume, self._bases, self._runs, self._models = volume, bases, runs, models
        self._fetches, self._supervisor = fetches, supervisor
        self._marking = threading.Lock()
        self._starting = threading.Lock()  # two calls that start one run: the second finds it
        self._trying = threading.Lock()  # steps are tried one plan at a time: two would slow each other
        self._stopping = threading.Event()

    def drain(self) -> None:
        """End the open watch streams."""
        self._stopping.set()

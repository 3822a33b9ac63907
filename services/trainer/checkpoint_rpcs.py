"""The rpcs of a run's checkpoints and samples: message in, one call of a pure module, message out."""

from __future__ import annotations

import threading

import grpc

from protos import trainer_pb2 as pb
from services.common.errors import NotFound
from services.trainer import messages
from services.trainer.checkpoints import delete_checkpoint, get_checkpoint, mark
from services.trainer.metrics_log import FILE_NAME, of_sample, originality_by_step
from services.trainer.runs import Runs
from services.trainer.samples import delete_samples, read_samples, steps_with_samples
from services.trainer.volume import Volume


class CheckpointRpcs:
    """The part of TrainerServicer that is about what runs write; each rpc's contract is its comment in the proto."""

    _volume: Volume
    _runs: Runs
    _marking: threading.Lock

    def ListCheckpoints(
        self, request: pb.ListCheckpointsRequest, context: grpc.ServicerContext
    ) -> pb.ListCheckpointsResponse:
        """List a run's checkpoints by step."""
        checkpoints = messages.checkpoint_messages(self._runs.folder(self._runs.get(request.run).name))
        found, token = messages.page(checkpoints, request.page_size, request.page_token)
        return pb.ListCheckpointsResponse(checkpoints=found, next_page_token=token)

    def DeleteCheckpoint(
        self, request: pb.DeleteCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.DeleteCheckpointResponse:
        """Delete one of a resting run's checkpoints."""
        with self._runs.resting(request.run) as record:  # resumed meanwhile, its process might be loading it
            delete_checkpoint(get_checkpoint(self._runs.folder(record.name), request.step))
        return pb.DeleteCheckpointResponse()

    def MarkCheckpoint(
        self, request: pb.MarkCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.MarkCheckpointResponse:
        """Let a checkpoint be kept, or no longer."""
        record = self._runs.get(request.run)
        folder = self._runs.folder(record.name)
        with self._marking:
            get_checkpoint(folder, request.step)
            mark(folder, request.step, request.marked)
        return pb.MarkCheckpointResponse(checkpoint=messages.checkpoint_of(folder, request.step))

    def ListSamples(self, request: pb.ListSamplesRequest, context: grpc.ServicerContext) -> pb.ListSamplesResponse:
        """List a run's samples by step and number."""
        record = self._runs.get(request.run)
        folder = self._volume.samples / record.name
        samples = [sample for step in steps_with_samples(folder) for sample in read_samples(folder, step)]
        found, token = messages.page(samples, request.page_size, request.page_token)
        measured = originality_by_step(self._runs.folder(record.name) / FILE_NAME)
        return pb.ListSamplesResponse(
            samples=[
                messages.sample_message(sample, record.settings, of_sample(measured.get(sample.step), sample.index))
                for sample in found
            ],
            next_page_token=token,
        )

    def DeleteSamples(
        self, request: pb.DeleteSamplesRequest, context: grpc.ServicerContext
    ) -> pb.DeleteSamplesResponse:
        """Delete a run's samples of one step."""
        record = self._runs.get(request.run)
        if not delete_samples(self._volume.samples / record.name, request.step):
            raise NotFound(f"run {record.name!r} has no samples of step {request.step}", reason="SAMPLES_NOT_FOUND")
        return pb.DeleteSamplesResponse()

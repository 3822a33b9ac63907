"""The rpcs of published models: message in, one call of a pure module, message out."""

from __future__ import annotations

import grpc

from protos import trainer_pb2 as pb
from services.common.errors import FailedPrecondition, InvalidRequest
from services.common.files import check_name
from services.trainer import messages
from services.trainer.auto_publishing import publish
from services.trainer.bases import Bases
from services.trainer.checkpoints import get_checkpoint, list_checkpoints
from services.trainer.publishing import Models
from services.trainer.runs import Runs
from services.trainer.sources import is_fresh
from services.trainer.volume import Volume


class ModelRpcs:
    """The part of TrainerServicer that is about models; each rpc's contract is its comment in the proto."""

    _volume: Volume
    _bases: Bases
    _runs: Runs
    _models: Models

    def PublishModel(self, request: pb.PublishModelRequest, context: grpc.ServicerContext) -> pb.PublishModelResponse:
        """Make the next version of a model from a checkpoint or a base."""
        source = request.WhichOneof("source")
        deleted: list[int] = []
        if source == "base":
            if is_fresh(request.base):
                raise FailedPrecondition(f"base {request.base!r} has no weights to publish: train it first")
            name = check_name(request.model or request.base, field="model", kind="model")
            version = self._models.publish_base(name, self._bases.get(request.base))
        elif source == "checkpoint":
            record = self._runs.get(request.checkpoint.run)
            name = check_name(request.model or record.name, field="model", kind="model")
            folder = self._runs.folder(record.name)
            steps = [checkpoint.step for checkpoint in list_checkpoints(folder)]
            if not steps:
                raise FailedPrecondition(
                    f"run {record.name!r} has no checkpoint yet; stop it, or wait for its first",
                    reason="NO_CHECKPOINT",
                    metadata={"run": record.name},
                )
            step = request.checkpoint.step if request.checkpoint.HasField("step") else steps[-1]
            version, deleted = publish(self._volume, self._models, record, get_checkpoint(folder, step), name=name)
        else:
            raise InvalidRequest("name a checkpoint or a base to publish", field="source")
        return pb.PublishModelResponse(version=messages.version_message(version), deleted_versions=deleted)

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        """List models with their versions."""
        found, token = messages.page(self._models.all(), request.page_size, request.page_token)
        models = [
            pb.Model(name=versions[0].name, versions=[messages.version_message(version) for version in versions])
            for versions in found
        ]
        return pb.ListModelsResponse(models=models, next_page_token=token)

    def RollbackModel(
        self, request: pb.RollbackModelRequest, context: grpc.ServicerContext
    ) -> pb.RollbackModelResponse:
        """Delete a model's newest version."""
        check_name(request.model, field="model", kind="model")
        return pb.RollbackModelResponse(version=messages.version_message(self._models.rollback(request.model)))

    def MarkModelVersion(
        self, request: pb.MarkModelVersionRequest, context: grpc.ServicerContext
    ) -> pb.MarkModelVersionResponse:
        """Let a version be kept, or no longer."""
        check_name(request.model, field="model", kind="model")
        version = self._models.mark(request.model, request.version, request.marked)
        return pb.MarkModelVersionResponse(version=messages.version_message(version))

    def SetModelAlias(
        self, request: pb.SetModelAliasRequest, context: grpc.ServicerContext
    ) -> pb.SetModelAliasResponse:
        """Let a name mean one version, or take it away."""
        check_name(request.model, field="model", kind="model")
        alias = check_name(request.alias, field="alias", kind="alias")
        version = self._models.set_alias(request.model, alias, request.version if request.HasField("version") else None)
        return pb.SetModelAliasResponse(version=messages.version_message(version) if version else None)

    def DeleteModel(self, request: pb.DeleteModelRequest, context: grpc.ServicerContext) -> pb.DeleteModelResponse:
        """Delete a version, or a model whole."""
        check_name(request.model, field="model", kind="model")
        self._models.delete(request.model, request.version if request.HasField("version") else None)
        return pb.DeleteModelResponse()

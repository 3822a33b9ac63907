"""Base models: imported, listed, published, trained on, damaged."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import trainer_pb2 as pb
from services.gpt2 import checkpoint as weights
from services.gpt2 import model
from tests.rpc.trainer.serving import Service, import_requests, refused
from tests.unit.trainer.tiny import CONFIG, write_vocabulary


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in OpenAI's layout whose vocabulary is not the dataset's."""
    folder = write_vocabulary(tmp_path_factory.mktemp("base"), end_of_text_first=True)
    weights.write_weights(folder, 7, model.init_params(CONFIG, 1), CONFIG)
    return folder


def test_imported_base_can_be_listed_published_and_deleted(service: Service, tiny_base: Path) -> None:
    stub = service.stub
    base = stub.ImportBase(import_requests("house", tiny_base)).base
    assert (base.name, base.fresh, base.context) == ("house", False, 32)
    names = [found.name for found in stub.ListBases(pb.ListBasesRequest()).bases]
    assert names == ["nano", "micro", "mini", "house"]
    refused(lambda: stub.ImportBase(import_requests("house", tiny_base)), grpc.StatusCode.ALREADY_EXISTS, "house")
    version = stub.PublishModel(pb.PublishModelRequest(base="house")).version
    assert (version.model, version.version, version.run) == ("house", 1, "")
    _, published = weights.read_weights(service.data / "models" / "house" / "1")
    _, original = weights.read_weights(tiny_base)
    assert all((published[name] == original[name]).all() for name in original)

    error = refused(
        lambda: service.start("mismatch", {}, base="house"),
        grpc.StatusCode.FAILED_PRECONDITION,
        "bytes-257",
        "house",
    )
    info = error_details_pb2.ErrorInfo()
    rpc_status.from_call(error).details[0].Unpack(info)
    assert info.reason == "VOCABULARY_MISMATCH"
    stub.DeleteBase(pb.DeleteBaseRequest(base="house"))
    refused(lambda: stub.DeleteBase(pb.DeleteBaseRequest(base="house")), grpc.StatusCode.NOT_FOUND, "house")


def test_run_starts_from_the_weights_of_its_base(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_vocabulary(tmp_path_factory.mktemp("kin"))  # the dataset's own
    start = model.init_params(CONFIG, 2)
    weights.write_weights(folder, 3, start, CONFIG)
    service.stub.ImportBase(import_requests("kin", folder))
    settings = {"steps": 1, "learning_rate": 1e-6, "sample_every": 0, "warmup_steps": 0}
    run = service.start("tuned", settings, base="kin").run
    assert (run.settings.context, run.num_parameters) == (CONFIG.n_ctx, CONFIG.num_parameters)
    assert service.watch("tuned")[-1].run.state == pb.RUN_STATE_SUCCEEDED
    _, tuned = weights.read_weights(service.data / "checkpoint" / "tuned")  # by its `checkpoint` file
    changes = [abs(tuned[name] - start[name]).max() for name in start]
    assert 0 < max(changes) < 1e-5
    service.stub.DeleteBase(pb.DeleteBaseRequest(base="kin"))


def test_damaged_base_is_data_loss_and_nothing_of_it_is_kept(service: Service, tiny_base: Path, tmp_path: Path) -> None:
    for path in tiny_base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data_file = tmp_path / "model-7.data-00000-of-00001"
    data_file.write_bytes(data_file.read_bytes()[:1000])
    refused(
        lambda: service.stub.ImportBase(import_requests("broken", tmp_path)),
        grpc.StatusCode.DATA_LOSS,
        data_file.name,
    )
    (tmp_path / "notes.txt").write_text("x")
    refused(
        lambda: service.stub.ImportBase(import_requests("broken", tmp_path)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "notes.txt",
    )
    assert [path.name for path in (service.data / "base").iterdir()] == []
    (service.data / "base" / "placed").mkdir()
    for path in tmp_path.iterdir():
        (service.data / "base" / "placed" / path.name).write_bytes(path.read_bytes())
    refused(lambda: service.start("new", {}, base="placed"), grpc.StatusCode.DATA_LOSS, data_file.name)

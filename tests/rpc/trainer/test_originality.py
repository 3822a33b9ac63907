"""What a run's samples recite, through the stub of a real server: measured, told, and gone by."""

from __future__ import annotations

from pathlib import Path

import grpc

from protos import trainer_pb2 as pb
from services.common.files import read_json, write_json
from tests.rpc.trainer.serving import DEADLINE_S, SETTINGS, Service, field_of, refused
from tests.unit.trainer.tiny import write_tiny_dataset

ON_BEST_ORIGINAL = pb.PUBLISH_RULE_ON_BEST_ORIGINAL
LONGER = SETTINGS | {"sample_length": 40, "learning_rate": 1e-2}


def forget_index(folder: Path) -> None:
    """Make a dataset one of an earlier version."""
    (folder / "suffixes.npy").unlink()
    manifest = read_json(folder / "manifest.json")
    del manifest["files"]["suffixes.npy"]
    write_json(folder / "manifest.json", manifest)


def test_samples_are_measured_and_the_share_goes_with_what_is_published(service: Service) -> None:
    service.start("both", LONGER | {"publish": ON_BEST_ORIGINAL, "max_verbatim_share": 1.0})
    updates = service.watch("both")
    run = service.get("both")
    assert run.state == pb.RUN_STATE_SUCCEEDED, run.error
    assert (run.settings.publish, run.settings.max_verbatim_share) == (ON_BEST_ORIGINAL, 1.0)

    told = [update.originality for update in updates if update.HasField("originality")]
    assert [found.step for found in told] == [2, 4] and run.originality == told[-1]
    assert all(0 <= found.verbatim_share <= 1 and found.longest_run_tokens > 0 for found in told)
    kinds = [update.WhichOneof("update") for update in updates]
    assert kinds.index("metrics") < kinds.index("sample") < kinds.index("originality") < kinds.index("checkpoint")

    samples = service.stub.ListSamples(pb.ListSamplesRequest(run="both"), timeout=DEADLINE_S).samples
    assert [update.sample for update in updates if update.HasField("sample")] == list(samples)
    for found in told:
        longest = [
            one.longest_run_tokens for one in samples if one.step == found.step and one.HasField("verbatim_share")
        ]
        assert max(longest) == found.longest_run_tokens

    checkpoints = service.stub.ListCheckpoints(pb.ListCheckpointsRequest(run="both"), timeout=DEADLINE_S).checkpoints
    assert [checkpoint.originality for checkpoint in checkpoints] == told
    models = {model.name: model for model in service.stub.ListModels(pb.ListModelsRequest()).models}
    shares = {found.step: found.verbatim_share for found in told}
    published = models["both"].versions
    assert published and all(version.verbatim_share == shares[version.step] for version in published)


def test_what_cannot_be_gone_by_is_refused_at_the_start_with_the_remedy(service: Service) -> None:
    wanted = LONGER | {"publish": ON_BEST_ORIGINAL}
    invalid, wrong_state = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
    error = refused(lambda: service.start("no", wanted | {"sample_every": 0}), invalid, "set it above 0")
    assert field_of(error) == "settings.publish"
    error = refused(lambda: service.start("no", wanted | {"max_verbatim_share": 1.5}), invalid, "0 to 1")
    assert field_of(error) == "settings.max_verbatim_share"
    write_tiny_dataset(service.data, "earlier")
    forget_index(service.data / "datasets" / "earlier")
    refused(lambda: service.start("no", wanted, dataset="earlier"), wrong_state, "'earlier'", "build it again")
    asked = pb.StartRunRequest(dataset="earlier", base="nano", settings=pb.RunSettings(**wanted))
    request = pb.PlanRunRequest(run=asked, skip_probe=True)
    refused(lambda: list(service.stub.PlanRun(request, timeout=DEADLINE_S)), wrong_state, "no index")
    assert not (service.data / "checkpoint" / "no").exists()


def test_a_dataset_without_an_index_is_trained_on_and_nothing_is_measured(service: Service) -> None:
    write_tiny_dataset(service.data, "old")
    forget_index(service.data / "datasets" / "old")
    service.start("unmeasured", LONGER | {"publish": pb.PUBLISH_RULE_AT_END}, dataset="old")
    updates = service.watch("unmeasured")
    run = service.get("unmeasured")
    assert run.state == pb.RUN_STATE_SUCCEEDED and not run.HasField("originality")
    notes = [update.event.message for update in updates if update.HasField("event")]
    assert sum("has no index" in note for note in notes) == 1
    samples = service.stub.ListSamples(pb.ListSamplesRequest(run="unmeasured"), timeout=DEADLINE_S).samples
    assert samples and not any(sample.HasField("verbatim_share") for sample in samples)
    (model,) = [one for one in service.stub.ListModels(pb.ListModelsRequest()).models if one.name == "unmeasured"]
    assert not model.versions[0].HasField("verbatim_share")

"""A clock that jumps back, as that of a machine without a battery does: nothing depends on it."""

import sys

import pytest

from protos import corpus_pb2 as pb
from tests.e2e.faults.service import CorpusProcess
from tests.e2e.faults.uploads import posts_of, snapshot, upload

POSTS = {f"{year}.md": b"---\ndate: %d-06-01\n---\nThe year %d, in words." % (year, year) for year in range(2010, 2020)}

# The service, with a wall clock that is behind by the seconds that a file says. Monotonic clocks do not jump. gRPC's
# core has a clock of its own, which does not jump either: its Python part must not disagree with it.
BEHIND = """
import datetime, pathlib, runpy, sys, time, types
import grpc._channel, grpc._common, grpc._server

for module in (grpc._channel, grpc._common, grpc._server):
    module.time = types.SimpleNamespace(time=time.time)
real, file = time.time, pathlib.Path(sys.argv[1])

def behind():
    return real() - float(file.read_text())

class Behind(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(behind(), tz)

time.time, datetime.datetime = behind, Behind
sys.argv = ["services.corpus"]
runpy.run_module("services.corpus", run_name="__main__")
"""


@pytest.fixture
def clock(tmp_path):
    """The file that says how far behind the clock is."""
    file = tmp_path / "behind"
    file.write_text("0")
    return file


def test_a_clock_that_jumps_back_changes_neither_order_nor_choice(tmp_path, clock):
    program = [sys.executable, "-c", BEHIND, str(clock)]
    with CorpusProcess(tmp_path / "data", program=program) as service:
        upload(service, POSTS, corpus="blog")
        before = snapshot(service, "blog")
        clock.write_text(str(50 * 365 * 86_400.0))

        again = upload(service, POSTS, corpus="blog")
        assert (again.num_unchanged, again.num_documents) == (10, 10)
        assert again.created_at.ToSeconds() < 1_500_000_000  # the clock did jump
        assert snapshot(service, "blog") == before

        later = upload(service, {"2020.md": b"---\ndate: 2019-12-31\n---\nOne more."}, corpus="blog")
        assert later.num_documents == 11
        after = snapshot(service, "blog")
        imports = service.stub.ListImports(pb.ListImportsRequest(corpus="blog")).imports
        assert [report.num_documents for report in imports] == [11, 10, 10]
        snapshots = service.stub.ListSnapshots(pb.ListSnapshotsRequest(corpus="blog")).snapshots
        assert [each.digest for each in snapshots] == [after, before]
        service.stub.RollbackCorpus(pb.RollbackCorpusRequest(corpus="blog", snapshot=before))
        assert posts_of(service, "blog") == sorted(POSTS)
        assert snapshot(service, "blog") == before

    with CorpusProcess(tmp_path / "data") as service:
        assert upload(service, POSTS, corpus="blog").num_unchanged == 10
        assert snapshot(service, "blog") == before

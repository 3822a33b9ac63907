"""A volume that is full, or that nobody may write: the call says so, nothing is lost, and it goes on afterwards.

The service runs in a mount namespace of its own, with a small volume under its folder.
"""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from protos import corpus_pb2 as pb
from tests.e2e.faults.service import CorpusProcess, health_watched
from tests.e2e.faults.uploads import parts, posts_of, refused, snapshot, upload

VOLUME_BYTES = 4 << 20
SMALL = {f"{number}.md": b"# Small\n\nPost %d of a few." % number for number in range(5)}
LARGE = {f"large-{number:02}.txt": b"Words of large post %d, many.\n\n" % number * 10_000 for number in range(15)}
MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


@pytest.fixture(scope="module")
def namespace():
    """What to start a program through; it must be possible to have mounts of one's own."""
    prefix = ("unshare", "--user", "--map-root-user", "--mount")
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("NONESUCH_TEST_REQUIRE_ALL"):
            raise
        pytest.skip(f"no mount namespace is to be had: {error}")
    return prefix


@contextmanager
def small_volume(namespace, data: Path):
    """A service on a volume of 4 MiB, and the volume as this process sees it."""
    data.mkdir()
    with CorpusProcess(data, prefix=(*namespace, "sh", "-c", MOUNT, str(VOLUME_BYTES), str(data))) as service:
        yield service, Path(f"/proc/{service.pid}/root{data}")


def mounted(service: CorpusProcess, *command: str) -> None:
    """Run a command where the service's mounts are."""
    enter = ["nsenter", "--target", str(service.pid), "--user", "--mount", "--preserve-credentials"]
    subprocess.run([*enter, *command], check=True, capture_output=True)


def is_as_it_was(service: CorpusProcess, digest: str) -> bool:
    return posts_of(service, "blog") == sorted(SMALL) and snapshot(service, "blog") == digest


def test_an_upload_that_fills_the_volume_changes_nothing_and_gives_the_room_back(namespace, tmp_path):
    with small_volume(namespace, tmp_path / "data") as (service, volume), health_watched(service, 1.0):
        upload(service, SMALL, corpus="blog")
        digest = snapshot(service, "blog")
        files = sorted(file.name for file in volume.rglob("*"))

        archive = {"blog.zip": os.urandom(2 * VOLUME_BYTES)}
        for posts in (LARGE, archive, LARGE):
            error = refused(service.stub.UploadPosts, parts(posts, corpus="blog", prune=True))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()
            assert "is full; make room" in error.details()
            assert is_as_it_was(service, digest)
        left = {file.name for file in volume.rglob("*")} - {*files, "catalogue.db-wal", "catalogue.db-shm"}
        assert {name for name in left if len(name) > 2} == set()  # but for empty folders

        few = dict(list(LARGE.items())[:2])
        assert upload(service, few, corpus="blog").num_added == 2


def test_a_volume_that_others_filled_is_told_and_serves_again_when_there_is_room(namespace, tmp_path):
    with small_volume(namespace, tmp_path / "data") as (service, volume), health_watched(service, 1.0):
        upload(service, SMALL, corpus="blog")
        digest = snapshot(service, "blog")
        ballast = volume / "ballast"
        with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

        error = refused(service.stub.UploadPosts, parts({"new.md": b"new"}, corpus="blog"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()
        error = refused(service.stub.DeletePosts, pb.DeletePostsRequest(corpus="blog", paths=["1.md"]))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()

        ballast.unlink()
        assert is_as_it_was(service, digest)
        assert upload(service, {"new.md": b"new"}, corpus="blog").num_added == 1


def test_a_volume_that_nobody_may_write_is_told_and_serves_again_when_it_can_be_written(namespace, tmp_path):
    with small_volume(namespace, tmp_path / "data") as (service, _), health_watched(service, 1.0):
        upload(service, SMALL, corpus="blog")
        digest = snapshot(service, "blog")
        folder = str(tmp_path / "data" / "corpora")
        mounted(service, "sh", "-c", f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}")

        for posts in ({"new.md": b"new"}, {"new.zip": b"PK"}):
            error = refused(service.stub.UploadPosts, parts(posts, corpus="blog"))
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION, error.details()
            assert "cannot be written" in error.details()

        mounted(service, "umount", folder)
        assert is_as_it_was(service, digest)
        assert upload(service, {"new.md": b"new"}, corpus="blog").num_added == 1


def test_a_service_does_not_start_on_a_volume_that_it_may_not_write(namespace, tmp_path):
    data = tmp_path / "data"
    with CorpusProcess(data) as service:
        upload(service, SMALL, corpus="blog")
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'

    with pytest.raises(AssertionError, match=r"corpus: .*Read-only file system"):
        CorpusProcess(data, prefix=(*namespace, "sh", "-c", script, str(data)))

    with CorpusProcess(data) as service:
        assert posts_of(service, "blog") == sorted(SMALL)

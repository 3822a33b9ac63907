"""Whole systems to test, each started once."""

import os
import shutil
from pathlib import Path

import docker
import pytest

from tests.e2e.system import SAMPLE_BLOG, Stack, free_port


@pytest.fixture
def quick_posts(tmp_path) -> Path:
    """A dozen posts of the sample blog."""
    folder = tmp_path / "quick_blog"
    folder.mkdir()
    for post in sorted(SAMPLE_BLOG.glob("*.md"))[:12]:
        shutil.copy(post, folder)
    return folder


def engine():
    """The Docker engine; without one the test is skipped, or fails where one must be."""
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        if os.environ.get("NONESUCH_TEST_REQUIRE_ALL"):
            raise
        pytest.skip(f"no Docker engine answers: {error}")
    return client


@pytest.fixture(scope="session")
def docker_engine():
    return engine()


@pytest.fixture(scope="session")
def stack(docker_engine, tmp_path_factory):
    """All containers, built and healthy, with empty volumes."""
    admin_port, generator_port = free_port(), free_port()
    environ = {
        **os.environ,
        "NONESUCH_ADMIN_PORT": str(admin_port),
        "NONESUCH_GENERATOR_PORT": str(generator_port),
    }
    running = Stack("nonesuch-test", environ, admin_port, generator_port)
    running.compose("--profile", "command", "down", "--volumes", "--remove-orphans")
    running.compose("--profile", "command", "build", timeout=1800)
    try:
        running.compose("up", "--detach", "--wait", timeout=300)
        yield running
    finally:
        logs = tmp_path_factory.getbasetemp() / "compose.log"
        logs.write_text(running.compose("logs", "--no-color"))
        print(f"the containers' logs are in {logs}")
        running.compose("--profile", "command", "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session", autouse=True)
def plain_environment():
    """Settings of the person who runs the tests are not the tests'."""
    for variable in [name for name in os.environ if name.startswith("NONESUCH_") and "TEST" not in name]:
        del os.environ[variable]

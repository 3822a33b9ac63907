"""The compose stack, really built and started: posts in, a model trained, samples out, all in containers."""

import json
import re
import subprocess

import pytest

from services.common.health import is_serving
from tests.e2e.system import QUICK, SAMPLE_BLOG
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(2400)
SERVICES = ["corpus", "tokenizer", "trainer", "generator", "admin"]


@pytest.fixture(scope="module")
def trained(stack, tmp_path_factory):
    """A model called `quick` in the stack, made the way the README shows."""
    posts = tmp_path_factory.mktemp("blog")
    for post in sorted(SAMPLE_BLOG.glob("*.md"))[:12]:
        (posts / post.name).write_bytes(post.read_bytes())
    (posts / "broken.md").write_bytes(b"\x00\x01\x02\x03" * 100)
    posts.chmod(0o755)
    added = stack.command("-v", f"{posts}:/posts:ro").run("posts", "add", "/posts", "--corpus", "quick")
    train = ["train", "--corpus", "quick", "--run", "quick", "--follow", "--publish", "at-end", *QUICK]
    followed = stack.command().run(*train)
    return added, followed


def test_the_import_takes_in_posts_and_says_what_it_left_out(trained):
    added, _ = trained
    assert "broken.md" in added.stdout + added.stderr


def test_training_prints_the_line_of_2019(trained):
    _, followed = trained
    assert re.search(r"^\[40 \| \d+\.\d\d\] loss=\d+\.\d\d avg=\d+\.\d\d$", followed.stdout, re.M)


def test_generate_answers_in_a_container_and_from_outside(stack, trained):
    inside = stack.command().run("generate", "--model", "quick", "--wait", "--length", "20", "--seed", "7")
    outside = stack.outside().run("generate", "--model", "quick", "--length", "20", "--seed", "7")
    assert inside.stdout.strip()
    assert inside.stdout == outside.stdout


def test_only_the_page_and_the_generator_are_reachable_from_the_host(stack, docker_engine):
    for name in SERVICES:
        container = docker_engine.containers.get(f"{stack.project}-{name}-1")
        bindings = [binding for ports in container.ports.values() for binding in ports or []]
        assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings)
        assert bool(bindings) == (name in {"generator", "admin"}), name


@pytest.mark.parametrize("name", SERVICES)
def test_containers_run_unprivileged_on_a_read_only_root(stack, docker_engine, name):
    container = docker_engine.containers.get(f"{stack.project}-{name}-1")
    config = container.attrs["HostConfig"]
    assert config["ReadonlyRootfs"] and config["CapDrop"] == ["ALL"]
    assert container.exec_run("id -u").output.strip() == b"10001"
    assert container.exec_run("touch /app/x").exit_code != 0


def test_the_generator_cannot_write_to_the_shared_volume(stack, docker_engine):
    container = docker_engine.containers.get(f"{stack.project}-generator-1")
    assert container.exec_run("touch /data/x").exit_code != 0
    assert container.exec_run("touch /cache/x").exit_code == 0


@pytest.mark.parametrize("name", ["corpus", "tokenizer", "admin"])
def test_light_images_hold_no_tensorflow(stack, docker_engine, name):
    container = docker_engine.containers.get(f"{stack.project}-{name}-1")
    assert container.exec_run("python -c 'import tensorflow'").exit_code != 0


@pytest.mark.parametrize("name", ["generator", "trainer", "tokenizer", "corpus"])
def test_a_killed_container_comes_back_and_nothing_published_is_lost(stack, docker_engine, trained, name):
    container = docker_engine.containers.get(f"{stack.project}-{name}-1")
    started = container.attrs["State"]["StartedAt"]

    # Past the engine, as a crash would be: a kill through it counts as a wish to stop.
    subprocess.run(["kill", "-9", str(container.attrs["State"]["Pid"])], check=True)

    def back():
        container.reload()
        state = container.attrs["State"]
        return state["StartedAt"] != started and state.get("Health", {}).get("Status") == "healthy"

    wait_for(back, f"{name} healthy again", 240)
    models = json.loads(stack.command().run("models", "list", "--json").stdout)
    assert "quick" in json.dumps(models)
    answer = stack.command().run("generate", "--model", "quick", "--wait", "--length", "5")
    assert answer.stdout.strip()


def test_stopping_is_graceful_and_quick(stack, docker_engine, trained):
    container = docker_engine.containers.get(f"{stack.project}-generator-1")
    container.stop(timeout=30)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0
    container.start()
    wait_for(lambda: is_serving(f"127.0.0.1:{stack.generator_port}"), "the generator serves again")

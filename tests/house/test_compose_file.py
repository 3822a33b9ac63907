"""docker-compose.yml tells the truth, also where no Docker engine runs."""

import re
from pathlib import Path

import pytest
import yaml

from services.common.settings import CommonSettings, variable_names
from services.trainer.settings import PREFIX, TrainerSettings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
SERVICES = ["corpus", "tokenizer", "trainer", "generator", "admin"]
PROXIES = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]
FETCHING = [
    variable
    for variable, field in variable_names(TrainerSettings, PREFIX).items()
    if field.name.startswith(("fetch_", "hub_", "openai_"))
]
GRPC_PORTS = {"corpus": 50051, "tokenizer": 50052, "trainer": 50053, "generator": 50054}


def test_the_five_services_and_the_command_are_there():
    assert set(COMPOSE["services"]) == {*SERVICES, "nonesuch"}
    assert COMPOSE["services"]["nonesuch"]["profiles"] == ["command"]


@pytest.mark.parametrize("service", SERVICES)
def test_each_image_is_its_own_target_with_a_health_check(service):
    assert COMPOSE["services"][service]["build"]["target"] == service
    target = re.search(rf"^FROM \w+ AS {service}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)[1]
    assert "HEALTHCHECK" in target
    assert "USER nonesuch" in target
    assert f'CMD ["python", "-m", "services.{service}"]' in target


@pytest.mark.parametrize("service", [*SERVICES, "nonesuch"])
def test_every_environment_variable_is_a_setting(service):
    known = set(variable_names(CommonSettings, "NONESUCH_"))
    if service == "trainer":
        known |= {*FETCHING, *PROXIES}
    assert set(COMPOSE["services"][service]["environment"]) <= known


def test_the_trainer_gets_the_host_s_proxies_and_settings_of_fetching():
    environment = COMPOSE["services"]["trainer"]["environment"]
    # Null is the host's value, and no variable where the host has none.
    assert {name: environment.get(name, "absent") for name in (*FETCHING, *PROXIES)} == dict.fromkeys(
        (*FETCHING, *PROXIES)
    )


@pytest.mark.parametrize("service", [*SERVICES, "nonesuch"])
def test_containers_are_locked_down(service):
    section = COMPOSE["services"][service]
    assert section["read_only"] is True
    assert section["cap_drop"] == ["ALL"]
    assert section["init"] is True
    assert int(section["stop_grace_period"].rstrip("s")) > 20


def test_peer_addresses_name_a_service_and_its_port():
    for name, port in GRPC_PORTS.items():
        for service in SERVICES:
            environment = COMPOSE["services"][service]["environment"]
            assert environment[f"NONESUCH_{name.upper()}_ADDRESS"] == f"{name}:{port}"


def test_only_admin_and_generator_are_published_and_on_loopback():
    published = {name: section["ports"] for name, section in COMPOSE["services"].items() if "ports" in section}
    assert set(published) == {"admin", "generator"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_each_volume_has_its_writers():
    mounts = {name: COMPOSE["services"][name].get("volumes", []) for name in SERVICES}
    for writer in ("corpus", "tokenizer", "trainer"):
        assert mounts[writer] == ["data:/data"]
    assert mounts["generator"] == ["data:/data:ro", "cache:/cache"]
    assert mounts["admin"] == ["admin:/state"]


def test_generation_gets_more_of_the_processor_than_training():
    services = COMPOSE["services"]
    assert services["trainer"]["cpu_shares"] * 4 <= services["generator"]["cpu_shares"]


def test_the_dockerfile_needs_no_buildkit():
    assert "--mount" not in DOCKERFILE and "<<" not in DOCKERFILE and "# syntax" not in DOCKERFILE

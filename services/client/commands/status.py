"""`nonesuch status`: how the services are, what is training, what is served."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from protos import generator_pb2, trainer_pb2
from services.client.commands import following, terminal
from services.client.commands.generate import generator_option
from services.client.commands.plain import enum_name, plain
from services.client.connection import Service
from services.client.nonesuch import Nonesuch
from services.common.errors import NonesuchError
from services.common.health import is_serving

CALL_S = 5.0  # a status that is slow is no status


@click.command()
@generator_option
@terminal.json_option
@click.pass_obj
def status(nonesuch: Nonesuch, generator: str, as_json: bool) -> None:
    """Show how the four services are, what is training and what is served.

    Exit status 1 when one of the services does not answer.
    """
    if generator:
        nonesuch.connection.generator = Service("generator", generator)
    services = nonesuch.connection.services
    with ThreadPoolExecutor(len(services) + 2) as threads:
        healths = [threads.submit(is_serving, service.address) for service in services]
        runs = threads.submit(
            _try,
            lambda: nonesuch.connection.trainer.ListRuns(trainer_pb2.ListRunsRequest(page_size=100), timeout_s=CALL_S),
        )
        info = threads.submit(
            _try,
            lambda: nonesuch.connection.generator.GetServerInfo(generator_pb2.GetServerInfoRequest(), timeout_s=CALL_S),
        )
        up = {service.name: health.result() for service, health in zip(services, healths, strict=True)}
    active = [run for run in runs.result().runs if run.state in _ACTIVE] if runs.result() is not None else None
    if as_json:
        terminal.print_json(
            {
                "services": [
                    {"name": service.name, "address": service.address, "serving": up[service.name]}
                    for service in services
                ],
                "runs": active,
                "generator": plain(info.result()) if info.result() is not None else None,
            }
        )
    else:
        rows = [[each.name, each.address, "serving" if up[each.name] else "DOWN"] for each in services]
        terminal.table(["SERVICE", "ADDRESS", "STATE"], rows)
        _print_runs(active)
        _print_generator(info.result())
    if not all(up.values()):
        terminal.note("start the services with `make run` or `docker compose up`")
        raise SystemExit(1)


_ACTIVE = (trainer_pb2.RUN_STATE_PENDING, trainer_pb2.RUN_STATE_RUNNING)


def _try(call: Callable[[], Any]) -> Any:
    """The call's answer, or None when the service is down."""
    try:
        return call()
    except NonesuchError:
        return None


def _print_runs(active: list[trainer_pb2.Run] | None) -> None:
    if active is None:
        return
    terminal.say()
    if not active:
        terminal.say("nothing is training")
    for run in active:
        loss = f", loss {run.metrics.average_loss:.2f}" if run.HasField("metrics") else ""
        terminal.say(following.describe(run) + loss)


def _print_generator(info: generator_pb2.GetServerInfoResponse | None) -> None:
    if info is None:
        return
    if not info.models:
        terminal.say("no model is loaded; publish one with: nonesuch models publish RUN")
        return
    terminal.say(f"{terminal.count(info.num_running, 'sample')} being written, {info.num_queued} waiting")
    loads = {(load.name, load.version): load for load in info.loads}
    terminal.say()
    rows = [
        [
            f"{each.name}@{each.version}",
            enum_name(each, "state"),
            each.engine,
            f"{each.num_parameters:,}",
            *_load(loads.get((each.name, each.version))),
            each.error,
        ]
        for each in info.models
    ]
    headings = ["MODEL", "STATE", "ENGINE", "PARAMETERS", "SLOTS", "QUEUE", "TOKENS/S", "CACHE", "ERROR"]
    terminal.table(headings, rows, right=["PARAMETERS", "SLOTS", "QUEUE", "TOKENS/S", "CACHE"])


def _load(load: generator_pb2.ModelLoad | None) -> list[str]:
    """Slots in use of all, how many wait, tokens per second, and the part of the cache in use."""
    if load is None:
        return ["", "", "", ""]
    return [
        f"{load.num_running}/{load.num_slots}",
        str(load.num_queued),
        f"{load.tokens_per_second:.0f}",
        f"{load.cache_use:.0%}",
    ]

"""`nonesuch runs compare`: two or more runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from protos import trainer_pb2
from services.client.commands import terminal
from services.client.commands.plain import enum_name, plain
from services.client.comparing import Curve, common_steps, differing_settings, read_curve
from services.client.nonesuch import Nonesuch


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN ...")
@terminal.json_option
@click.pass_obj
def compare(nonesuch: Nonesuch, runs: tuple[str, ...], as_json: bool) -> None:
    """Set two or more runs side by side: settings, curves, validation, speed."""
    if len(set(runs)) < 2:
        raise click.UsageError("name two runs at least, each once")
    curves = [read_curve(nonesuch.connection, run) for run in dict.fromkeys(runs)]
    if as_json:
        terminal.print_json(as_values(curves))
        return
    _print_facts(curves)
    measured = [curve.metrics for curve in curves]
    _print_at_steps("Average loss", measured, lambda found: f"{found.average_loss:.3f}", curves)
    validated = [curve.validations for curve in curves]
    _print_at_steps("Validation loss", validated, lambda found: f"{found.loss:.3f}", curves)
    compared = [curve.originalities for curve in curves]
    _print_at_steps("Verbatim share", compared, lambda found: f"{found.verbatim_share:.1%}", curves)
    if any(measured):
        from services.client.commands import chart  # plotext takes a tenth of a second to load

        chart.curves(
            [(c.run.name, list(c.metrics), [found.average_loss for found in c.metrics.values()]) for c in curves],
            title="Average loss by step",
        )
        if any(compared):
            chart.curves(
                [
                    (c.run.name, list(c.originalities), [100 * o.verbatim_share for o in c.originalities.values()])
                    for c in curves
                ],
                title="Verbatim share of the samples by step, %",
            )
    if len({curve.run.dataset for curve in curves}) > 1:
        terminal.note("They learned from different datasets: bits per byte compare, losses per token do not.")


def as_values(curves: Sequence[Curve]) -> dict[str, Any]:
    """The comparison as JSON has it: lists in the order of the runs."""
    steps, validated, compared = (
        common_steps([curve.metrics for curve in curves]),
        common_steps([curve.validations for curve in curves]),
        common_steps([curve.originalities for curve in curves]),
    )
    return {
        "runs": [
            {
                "run": plain(curve.run),
                "best_validation": _plain_or_none(curve.best_validation),
                "newest_validation": _plain_or_none(curve.newest_validation),
                "newest_originality": _plain_or_none(curve.newest_originality),
                "tokens_per_second": curve.tokens_per_second,
            }
            for curve in curves
        ],
        "differing_settings": differing_settings([curve.run for curve in curves]),
        "metrics_at_common_steps": [
            {"step": step, "metrics": [plain(curve.metrics[step]) for curve in curves]} for step in steps
        ],
        "validations_at_common_steps": [
            {"step": step, "validations": [plain(curve.validations[step]) for curve in curves]} for step in validated
        ],
        "originality_at_common_steps": [
            {"step": step, "originality": [plain(curve.originalities[step]) for curve in curves]} for step in compared
        ],
    }


def _plain_or_none(found: trainer_pb2.Validation | trainer_pb2.Originality | None) -> dict[str, Any] | None:
    return plain(found) if found is not None else None


def _print_facts(curves: Sequence[Curve]) -> None:
    rows = [
        ["state", *(enum_name(curve.run, "state").lower() for curve in curves)],
        ["step", *(f"{curve.run.step:,} of {curve.run.settings.steps:,}" for curve in curves)],
    ]
    differing = differing_settings([curve.run for curve in curves])
    rows += [[name.replace("_", " "), *values] for name, values in differing.items()]
    for words, of_curve in (("best", lambda c: c.best_validation), ("last", lambda c: c.newest_validation)):
        found = [of_curve(curve) for curve in curves]
        if not any(found):
            continue
        for name, shown in (
            ("validation loss", lambda v: f"{v.loss:.3f} at {v.step:,}"),
            ("bits per byte", lambda v: f"{v.bits_per_byte:.3f}"),
            ("token accuracy", lambda v: f"{v.token_accuracy:.1%}"),
        ):
            rows.append([f"{words} {name}", *(shown(v) if v is not None else "" for v in found)])
    for name, told in (
        ("last verbatim share", lambda o: f"{o.verbatim_share:.1%} at {o.step:,}"),
        ("last longest run", lambda o: f"{o.longest_run_tokens:,} tokens"),
    ):
        recited = [curve.newest_originality for curve in curves]
        if any(recited):
            rows.append([name, *(told(o) if o is not None else "" for o in recited)])
    newest = [curve.run.metrics if curve.run.HasField("metrics") else None for curve in curves]
    for name, shown in (
        ("average loss", lambda m: f"{m.average_loss:.3f}"),
        ("epoch", lambda m: f"{m.epoch:.2f}"),
        ("MFU", lambda m: f"{m.mfu:.1%}" if m.HasField("mfu") else ""),
        ("most memory", lambda m: terminal.size(m.memory_bytes)),
    ):
        rows.append([name, *(shown(m) if m is not None else "" for m in newest)])
    rows.append(["tokens/s", *(f"{c.tokens_per_second:,.0f}" if c.metrics else "" for c in curves)])
    names = [curve.run.name for curve in curves]
    terminal.table(["", *names], rows, right=names)


def _print_at_steps(
    title: str, measured: Sequence[dict[int, Any]], shown: Callable[[Any], str], curves: Sequence[Curve]
) -> None:
    """A table of the steps that all runs have; nothing when there is none."""
    steps = common_steps(measured)
    if not steps:
        return
    names = [curve.run.name for curve in curves]
    terminal.say()
    heading = f"{title} at step"
    rows = [[f"{step:,}", *(shown(found[step]) for found in measured)] for step in steps]
    terminal.table([heading, *names], rows, right=[heading, *names])

"""Samples: what the runs wrote on their way, newest first, to read and to take away."""

from __future__ import annotations

import re
from itertools import groupby

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos import trainer_pb2
from services.admin import words
from services.admin.context import current
from services.admin.downloads import attachment, file_stem
from services.admin.fields import chosen_number
from services.admin.peers import QUICK_S
from services.client.connection import pages
from services.client.post import Post, as_markdown, parse

blueprint = Blueprint("samples", __name__, url_prefix="/samples")

STEPS_PER_PAGE = 10
SIDE_BY_SIDE = 4  # steps from the first to the newest: what fits a screen


def _samples(run: str) -> list[trainer_pb2.Sample]:
    wanted = trainer_pb2.ListSamplesRequest(run=run)
    return list(pages(current().services.trainer.ListSamples, wanted, "samples"))


@blueprint.get("")
def index() -> str:
    """The samples of one run: the one asked for, or the newest that wrote any."""
    listed = current().services.trainer.ListRuns(trainer_pb2.ListRunsRequest(page_size=100), timeout_s=QUICK_S).runs
    chosen = request.args.get("run", "")
    found = _samples(chosen) if chosen else []
    if not chosen:
        for run in listed[:5]:
            found = _samples(run.name)
            if found:
                chosen = run.name
                break
    by_step = [(step, list(group)) for step, group in groupby(found, key=lambda sample: sample.step)]
    by_step.reverse()
    page = max(1, request.args.get("number", 1, type=int))
    start = (page - 1) * STEPS_PER_PAGE
    shown = by_step[start : start + STEPS_PER_PAGE]
    return render_template(
        "samples.html",
        runs=listed,
        chosen=chosen,
        steps=[(step, [(sample, parse(sample.text)) for sample in group]) for step, group in shown],
        growth=growth(found) if page == 1 else [],
        page=page,
        has_next=len(by_step) > start + STEPS_PER_PAGE,
        total=len(found),
    )


def growth(found: list[trainer_pb2.Sample]) -> list[tuple[str, list[tuple[int, Post, str]]]]:
    """For each prompt and temperature, what was written at some steps from the first to the newest: step, post, text.

    The first sample of each, where a step wrote several; nothing for what was written at one step only. The texts are
    closed up: early ones are mostly empty lines.
    """
    by_wish: dict[str, dict[int, trainer_pb2.Sample]] = {}
    for sample in found:
        by_wish.setdefault(words.wish(sample), {}).setdefault(sample.step, sample)
    rows = []
    for wish, by_step in by_wish.items():
        steps = sorted(by_step)
        if len(steps) < 2:
            continue
        count = min(SIDE_BY_SIDE, len(steps))
        places = [round(place * (len(steps) - 1) / (count - 1)) for place in range(count)]
        posts = [(steps[place], parse(by_step[steps[place]].text)) for place in places]
        rows.append((wish, [(step, post, re.sub(r"\n\s*\n", "\n\n", post.body).strip()) for step, post in posts]))
    return rows


@blueprint.get("/download")
def download() -> Response:
    """One sample, or all of a run, as a file."""
    run, form = request.args.get("run", ""), request.args.get("form", "md")
    step, index = request.args.get("step", type=int), request.args.get("index", type=int)
    found = _samples(run)
    if step is None:
        whole = "".join(f"======== SAMPLE {s.index} (step {s.step}) ========\n{s.text}\n" for s in found)
        return attachment(whole, f"{run}-samples", "txt")
    for sample in found:
        if (sample.step, sample.index) == (step, index or 1):
            stem = file_stem(sample.text, f"{run}-step-{step}-sample-{sample.index}")
            text = as_markdown(parse(sample.text)) if form == "md" else sample.text
            return attachment(text, stem, "md" if form == "md" else "txt")
    abort(404, f"{run} has no such sample.")


@blueprint.post("/delete")
def delete() -> Response:
    """Delete a run's samples of one step."""
    run, step = request.form.get("run", ""), chosen_number(request.form.get("step", ""), "step")
    wanted = trainer_pb2.DeleteSamplesRequest(run=run, step=step)
    current().services.trainer.DeleteSamples(wanted, timeout_s=QUICK_S)
    flash(f"The samples of {run} at step {step:,} were deleted.", "done")
    return redirect(url_for("samples.index", run=run))

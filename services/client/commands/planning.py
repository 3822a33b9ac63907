"""How a plan is printed."""

from __future__ import annotations

from protos import trainer_pb2
from services.client import plan_words
from services.client.commands import terminal


def show(plan: trainer_pb2.RunPlan, *, as_json: bool) -> None:
    """Print a plan: facts, memory by part, what was changed to fit, what is worth knowing."""
    if as_json:
        terminal.print_json(plan)
        return
    terminal.facts(plan_words.facts(plan))
    terminal.say()
    terminal.table(["MEMORY", "SIZE"], [list(part) for part in plan_words.memory(plan)], right=["SIZE"])
    for title, sentences in (("changed to fit", plan.changes), ("worth knowing", plan.remarks)):
        if sentences:
            terminal.say()
            terminal.say(f"{title}:")
            for sentence in sentences:
                terminal.say(f"- {sentence}")

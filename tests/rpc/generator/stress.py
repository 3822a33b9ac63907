"""Many callers at once with whatever they may ask, and what is left afterwards.

Requests with random parameters, prompts, deadlines, cancellations and slow readers against a real server. Each
answer is compared with that of the same request alone. Run by itself (`make stress`) it is long and prints what
it saw; the tests run a short one.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from protos import generator_pb2 as pb
from services.generator.engine import Engine
from services.gpt2.config import GPT2Config
from tests.rpc.generator.serving import Service, publish
from tests.unit.generator.fakes import DreamingEngine
from tests.waiting import PATIENCE_S, wait_for

MODEL = "owl"
SLOTS = 6
CONFIG = GPT2Config(n_vocab=257, n_ctx=160, n_embd=16, n_head=2, n_layer=2)
SNOW = "Owls wrote of the snow that fell on their roofs, and of the mice that lived under it. "
HEADS = ["", "Owls wrote ", SNOW, SNOW + "Nobody else had seen it fall. It fell at night, "]
SAMPLING: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 1.5, "top_k": 0},
    {"top_k": 0, "top_p": 0.8},
    {"top_k": 0, "typical_p": 0.7},
    {"repetition_penalty": 1.3, "frequency_penalty": 0.2},
    {"no_repeat_ngram": 3, "presence_penalty": 0.5},
    {"min_p": 0.05, "logit_bias": {97: 2.0}},
]
KINDS = ["whole"] * 5 + ["stream"] * 5 + ["score", "score", "cancelled", "cancelled", "late", "slow", "wrong"]
ALLOWED = {
    "whole": {"OK", "RESOURCE_EXHAUSTED"},
    "stream": {"OK", "RESOURCE_EXHAUSTED"},
    "score": {"OK", "RESOURCE_EXHAUSTED"},
    "cancelled": {"OK", "CANCELLED", "RESOURCE_EXHAUSTED"},
    "late": {"OK", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"},
    "slow": {"OK", "RESOURCE_EXHAUSTED"},
    "wrong": {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"},
}


@dataclass(slots=True)
class Written:
    """What came of a sample; `logprobs` are messages, as bytes."""

    ids: list[int] = field(default_factory=list)
    text: str = ""
    logprobs: list[bytes] = field(default_factory=list)

    def add(self, piece: pb.GeneratedSample | pb.TextDelta) -> None:
        """Add a whole sample, or what came next of one."""
        self.ids += piece.ids
        self.text += piece.text
        self.logprobs += [logprob.SerializeToString() for logprob in piece.logprobs]

    def begins(self, whole: Written) -> bool:
        """Whether another sample begins so."""
        return (
            whole.ids[: len(self.ids)] == self.ids
            and whole.text.startswith(self.text)
            and whole.logprobs[: len(self.logprobs)] == self.logprobs
        )


@dataclass(slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        samples: by number, what came of them.
        likelihood: of a score.
        complete: whether that is all of it.
    """

    kind: str
    request: pb.GenerateRequest | pb.ScoreRequest
    code: str = ""
    reason: str = ""
    retry: bool = False
    samples: dict[int, Written] = field(default_factory=dict)
    likelihood: float = 0.0
    complete: bool = False


def dreaming_engine() -> Engine:
    """With small blocks, so that much is shared."""
    return DreamingEngine(num_slots=SLOTS, context=CONFIG.n_ctx, block_size=4)


def make_services(folder: Path, engine: str) -> tuple[Service, Service]:
    """A server that the callers of `run` ask for more than it takes, and one without drafts to compare with.

    The model carries an index of what it writes itself, so that many drafts are right.

    Args:
        engine: `litert`, or `dreaming`, whose logits are a digest of all ids before them.
    """
    publish(folder / "without", MODEL, 1, config=CONFIG)
    writer = _make_service(folder / "without", engine, drafts=False)
    posts = [writer.generate(prompt=head, sampling=rules, seed=1).samples for head in HEADS for rules in SAMPLING]
    writer.stop()
    publish(folder, MODEL, 1, config=CONFIG, corpus=[SNOW.encode(), *(bytes(sample.ids) for (sample,) in posts)])
    return _make_service(folder, engine, drafts=True), _make_service(folder, engine, drafts=False)


def _make_service(folder: Path, engine: str, *, drafts: bool) -> Service:
    service = Service(
        folder,
        make_engine=dreaming_engine if engine == "dreaming" else None,
        engine="litert",
        slots=SLOTS,
        queue_limit=16,
        caller_queue_limit=4,
        max_requests=40,
        max_new_tokens=100_000,
        unread_limit=128,
        prefill_tokens=24,
        drafts=drafts,
    )
    service.generate(max_new_tokens=1)  # it is loaded
    return service


def run(service: Service, *, num_requests: int, num_callers: int, seed: int) -> list[Outcome]:
    """Send the requests, each caller its part one after the other, and return what became of them."""
    outcomes: list[list[Outcome]] = [[] for _ in range(num_callers)]

    def call(caller: int) -> None:
        chance = random.Random(f"{seed}/{caller}")
        for _ in range(num_requests // num_callers):
            outcomes[caller] += _until_taken(service, chance, f"caller-{caller}")

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(num_callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcome for of_caller in outcomes for outcome in of_caller]


def problems(service: Service, plain: Service, outcomes: list[Outcome]) -> list[str]:
    """What is wrong: with codes, with answers, and with what is left.

    Args:
        plain: gives what each request gives alone and without drafts.
    """
    wait_for(lambda: (service.info().num_running, service.info().num_queued) == (0, 0), "all is over")
    (loop,) = [status.loaded.loop for status in service.models.statuses() if status.loaded]
    found = [f"{loop.blocks_held[0]} blocks are still held"] if loop.blocks_held[0] else []
    for outcome in outcomes:
        if outcome.code not in ALLOWED[outcome.kind]:
            found.append(f"{outcome.kind} ended with {outcome.code}: {outcome.request}")
        if outcome.code == "RESOURCE_EXHAUSTED" and not outcome.retry and outcome.reason != "SLOW_READER":
            found.append(f"{outcome.reason} does not say when to try again")
        if not _agrees(plain, outcome):
            found.append(f"{outcome.kind} is not what it is alone: {outcome.request}")
    return found


def _agrees(service: Service, outcome: Outcome) -> bool:
    if isinstance(outcome.request, pb.ScoreRequest):
        alone = service.stub.Score(outcome.request, timeout=PATIENCE_S)
        return not outcome.complete or alone.log_likelihood == outcome.likelihood
    longest = max((len(sample.ids) for sample in outcome.samples.values()), default=0)
    if not outcome.complete and not longest:
        return True
    request = pb.GenerateRequest()
    request.CopyFrom(outcome.request)
    if not outcome.complete:  # without an end of its own, as far as it was read
        request.max_new_tokens = longest
        request.min_new_tokens = min(request.min_new_tokens, request.max_new_tokens)
    alone = _written(service.stub.Generate(request, timeout=PATIENCE_S))
    if outcome.complete:
        return alone == {index: outcome.samples.get(index, Written()) for index in alone}
    return all(sample.begins(alone[index]) for index, sample in outcome.samples.items())


def _written(answer: pb.GenerateResponse) -> dict[int, Written]:
    found = {sample.index: Written() for sample in answer.samples}
    for sample in answer.samples:
        found[sample.index].add(sample)
    return found


def _until_taken(service: Service, chance: random.Random, caller: str) -> list[Outcome]:
    """Send one request, again and again while there is no room; what became of it each time."""
    kind = chance.choice(KINDS)
    request = _score(chance) if kind == "score" else _generate(chance, kind)
    outcomes: list[Outcome] = []

    def was_taken() -> bool:
        outcomes.append(_one(service, chance, caller, Outcome(kind, request)))
        return not outcomes[-1].retry

    wait_for(was_taken, "the request is taken")
    return outcomes


def _one(service: Service, chance: random.Random, caller: str, outcome: Outcome) -> Outcome:
    kind, metadata = outcome.kind, [("x-nonesuch-caller", caller)]
    try:
        if kind == "score":
            outcome.likelihood = service.stub.Score(
                outcome.request, timeout=PATIENCE_S, metadata=metadata
            ).log_likelihood
        elif kind in ("whole", "late", "wrong"):
            timeout = chance.uniform(0.001, 0.1) if kind == "late" else PATIENCE_S
            answer = service.stub.Generate(outcome.request, timeout=timeout, metadata=metadata)
            outcome.samples = _written(answer)
        else:
            stream = service.stub.GenerateStream(outcome.request, timeout=PATIENCE_S, metadata=metadata)
            _read(stream, outcome, chance)
        outcome.code, outcome.complete = "OK", True
    except grpc.RpcError as error:
        outcome.code = error.code().name
        outcome.reason, outcome.retry = _details(error)
    return outcome


def _read(stream: Any, outcome: Outcome, chance: random.Random) -> None:
    until = chance.randint(1, 20)
    for number, delta in enumerate(stream):
        if delta.HasField("text"):
            outcome.samples.setdefault(delta.text.index, Written()).add(delta.text)
        if outcome.kind == "cancelled" and number == until:
            stream.cancel()
        if outcome.kind == "slow" and number == 2:
            # Read no further until the server is done with it, one way or the other.
            threading.Event().wait(chance.uniform(0.05, 0.3))


def _details(error: grpc.RpcError) -> tuple[str, bool]:
    reason, retry = "", False
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if packed.Unpack(info):
            reason = info.reason
        retry = retry or packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR)
    return reason, retry


def _score(chance: random.Random) -> pb.ScoreRequest:
    return pb.ScoreRequest(text=chance.choice(HEADS) + "".join(chance.choices("abc", k=12)))


def _generate(chance: random.Random, kind: str) -> pb.GenerateRequest:
    request = pb.GenerateRequest(
        prompt=chance.choice(HEADS) + "".join(chance.choices("abc", k=chance.randint(1, 6))),
        sampling=pb.SamplingParameters(**chance.choice(SAMPLING)),
        max_new_tokens=chance.randint(1, 90),
        seed=chance.getrandbits(64),
        n=chance.choice([1, 1, 1, 2, 3]),
        ignore_end_of_text=chance.random() < 0.8,
        slide=chance.random() < 0.6,
    )
    if chance.random() < 0.2:
        request.stop.append(chance.choice(["a", "e", "\n"]))
    if chance.random() < 0.2:
        request.logprobs = chance.randint(0, 20)
    if chance.random() < 0.2:
        request.min_new_tokens = min(3, request.max_new_tokens)
    if chance.random() < 0.2:
        request.max_verbatim_tokens = chance.randint(1, 12)
    if kind in ("slow", "late"):
        request.slide, request.ignore_end_of_text, request.max_new_tokens = True, True, 600
        request.ClearField("stop")
        request.ClearField("min_new_tokens")
        request.logprobs = 20
    if kind == "wrong":
        request.sampling.top_p = 2.0
    return request


def main() -> int:
    """Run it long and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("litert", "dreaming"), default="litert")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service, plain = make_services(Path(folder) / "models", asked.engine)
        try:
            wrong: list[str] = []
            for number in range(asked.rounds):
                seed = asked.seed + number
                outcomes = run(service, num_requests=asked.requests, num_callers=asked.callers, seed=seed)
                found = problems(service, plain, outcomes)
                wrong += found
                codes = Counter(f"{outcome.kind} {outcome.code} {outcome.reason}".strip() for outcome in outcomes)
                print(
                    json.dumps(
                        {
                            "seed": seed,
                            "requests": sum(not outcome.retry for outcome in outcomes),
                            "problems": found,
                            "resident_mib": _resident_mib(),
                            "threads": threading.active_count(),
                            "drafted": total("drafted"),
                            "accepted": total("accepted"),
                            "outcomes": dict(sorted(codes.items())),
                        }
                    ),
                    flush=True,
                )
        finally:
            service.stop()
            plain.stop()
    return 1 if wrong else 0


def total(what: str) -> float:
    """Tokens that were drafted, or accepted of those."""
    return REGISTRY.get_sample_value(f"nonesuch_generator_{what}_tokens_total", {"model": MODEL}) or 0.0


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


if __name__ == "__main__":
    sys.exit(main())

"""Asks for one round of samples and prints it: whole or as it is written, as text or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path

from protos import generator_pb2
from services.client import writing
from services.client.commands import borrowed, terminal
from services.client.commands.plain import enum_name
from services.client.commands.sample_files import SampleFile
from services.client.nonesuch import MODEL_PATIENCE_S, Nonesuch
from services.common.errors import FailedPrecondition

WAIT_S = 180.0  # --wait: for a model that was just published
MOST_DRAWS = 30  # --min-words: after so many short ones the model writes short posts


class Writer:
    """Writes rounds of samples and prints them.

    Args:
        request: asked for each time; may be changed between rounds.
        as_stream: print the text while it is written.
        wait: be patient with a model that is not there yet.
        out: where the samples of a round go instead, into a file of their own; None: they are printed.
    """

    def __init__(
        self,
        nonesuch: Nonesuch,
        request: generator_pb2.GenerateRequest,
        *,
        as_stream: bool,
        as_json: bool,
        wait: bool,
        out: Path | None = None,
    ) -> None:
        self.request = request
        self._num_samples = request.n  # of a round
        self._out = out
        self.patience_s = WAIT_S if wait else MODEL_PATIENCE_S
        self._connection = nonesuch.connection
        self._as_stream = as_stream
        self._as_json = as_json
        self._wait = wait
        self.num_written = 0  # samples in the rounds before
        self.min_words = 0  # a shorter sample is drawn again
        self.is_numbered = request.n > 1

    def write(self, *, as_line: bool = False) -> None:
        """Ask for the samples and print them; `as_line`: JSON on one line, as part of a sequence.

        More than the server writes for one request are asked for in parts, each with its own seed.
        """
        file: SampleFile | None = None
        first_seed = self.request.seed if self.request.HasField("seed") else None
        sizes = self._parts
        for number, size in enumerate(sizes):
            self.request.n = size
            if first_seed is not None:
                self.request.seed = (first_seed + number) % (1 << 64)
            if self._out is None:
                self._write_part(as_line=as_line or len(sizes) > 1)
            else:
                response = self._ask_until_long()
                file = file or SampleFile(self._out)  # once there is something to put into it
                file.add(sample.text for sample in response.samples)
                _remark(response)
            self.num_written += size
        if first_seed is not None:
            self.request.seed = first_seed
        if file is not None and self._as_json:
            terminal.print_json_line({"file": str(file.path), "num_samples": file.num_samples})
        elif file is not None:
            terminal.say(f"{terminal.count(file.num_samples, 'sample')} in {file.path}")

    @property
    def num_parts(self) -> int:
        """Requests that a round takes."""
        return len(self._parts)

    @cached_property
    def _parts(self) -> list[int]:
        """Samples of each request of a round."""
        if self._num_samples == 1:
            return [1]
        ask = self._connection.generator.GetServerInfo
        info = writing.patiently(lambda: ask(generator_pb2.GetServerInfoRequest()), self.patience_s)
        most = min(info.max_samples, info.num_slots + min(info.queue_limit, info.caller_queue_limit))
        if self.request.HasField("best_of") or most < 1:  # what is too much is told by the server
            return [self._num_samples]
        whole, rest = divmod(self._num_samples, most)
        return [most] * whole + [rest] * (rest > 0)

    def _write_part(self, *, as_line: bool) -> None:
        if self._as_stream:
            self._print_stream(self._begin())
        else:
            response = self._ask_until_long()
            if self._as_json:
                (terminal.print_json_line if as_line else terminal.print_json)(response)
            else:
                for sample in response.samples:
                    self._print(sample)
                _remark(response)

    def _print(self, sample: generator_pb2.GeneratedSample) -> None:
        echo = len(self.request.prompt) if self.request.echo else 0
        marked = [(echo + start, echo + end) for start, end in borrowed.spans(sample.originality)]
        title = self._title(sample.index)
        terminal.print_post(sample.text, title=title, marked=marked)
        if self.request.originality:
            borrowed.note(sample.text[echo:], sample.originality, title)

    def _title(self, index: int) -> str:
        return f"sample {self.num_written + index + 1}" if self.is_numbered else ""

    def _ask_until_long(self) -> generator_pb2.GenerateResponse:
        """Samples of `min_words` words at least. Each draw is free to end where the model ends it.

        Raises:
            FailedPrecondition: MOST_DRAWS were too short.
        """
        first_seed = self.request.seed if self.request.HasField("seed") else None
        longest = 0
        for number in range(MOST_DRAWS if self.min_words else 1):
            if first_seed is not None:
                self.request.seed = (first_seed + number) % (1 << 64)
            response = self._ask()
            longest = max([longest, *(len(sample.text.split()) for sample in response.samples)])
            if longest >= self.min_words:
                return response
        raise FailedPrecondition(
            f"{MOST_DRAWS} samples in a row had fewer than {self.min_words} words, the longest {longest}; "
            "ask for fewer words or for more tokens with --length"
        )

    def _ask(self) -> generator_pb2.GenerateResponse:
        """The whole response. On a terminal it is streamed, so that a bar can show how far it is."""
        if self._as_json or self.request.HasField("best_of") or not terminal.err().is_terminal:
            return writing.patiently(
                lambda: writing.generate(self._connection, self.request),
                self.patience_s,
                until_published=self._wait,
            )
        with terminal.progress() as on_progress:
            on_progress("waiting", 0, 0)
            return writing.collect(self._begin(), lambda done, total: on_progress("writing", done, total))

    def _begin(self) -> Iterator[generator_pb2.GenerateDelta]:
        """A stream that has given its first message: before it, waiting and trying again is harmless."""

        def attempt() -> Iterator[generator_pb2.GenerateDelta]:
            deltas = writing.stream(self._connection, self.request)
            first = next(deltas, None)
            return deltas if first is None else chain([first], deltas)

        return writing.patiently(attempt, self.patience_s, until_published=self._wait)

    def _print_stream(self, deltas: Iterator[generator_pb2.GenerateDelta]) -> None:
        """Print deltas as they come. Of several samples one is shown at a time; the others wait."""
        if self._as_json:
            for delta in deltas:
                terminal.print_json_line(delta)
            return
        kept: dict[int, str] = {}
        written: dict[int, str] = {}
        ended: dict[int, generator_pb2.SampleEnd] = {}
        current = 0
        begun = -1
        start = generator_pb2.StreamStart()
        try:
            for delta in deltas:
                kind = delta.WhichOneof("delta")
                if kind == "start":
                    start = delta.start
                elif kind == "text":
                    for texts in (kept, written):
                        texts[delta.text.index] = texts.get(delta.text.index, "") + delta.text.text
                elif kind == "end":
                    ended[delta.end.index] = delta.end
                elif kind == "done":
                    _remark(
                        generator_pb2.GenerateResponse(
                            model=start.model,
                            effective=start.effective,
                            usage=delta.done.usage,
                            timings=delta.done.timings,
                        )
                    )
                while current in kept or current in ended:
                    if begun != current:
                        begun = current
                        if self.is_numbered:
                            terminal.say(f"======== {self._title(current).upper()} ========")
                    _print_piece(kept.pop(current, ""))
                    if current not in ended:
                        break
                    terminal.say()
                    if self.request.originality:
                        echo = len(self.request.prompt) if self.request.echo else 0
                        text = written.pop(current, "")[echo:]
                        borrowed.note(text, ended[current].originality, self._title(current))
                    current += 1
        except KeyboardInterrupt:
            terminal.say()
            raise


def _print_piece(text: str) -> None:
    sys.stdout.write(terminal.printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _remark(response: generator_pb2.GenerateResponse) -> None:
    """On a terminal, a line on what wrote the text and how."""
    if not terminal.err().is_terminal:
        return
    written = response.usage.generated_tokens
    seconds = response.timings.decode.ToNanoseconds() / 1e9
    model = f"{response.model.name}@{response.model.version}"
    parts = [model, f"seed {response.effective.seed}", terminal.count(written, "token")]
    if seconds > 0:
        parts.append(f"{written / seconds:,.0f} tokens/s")
    reasons = {enum_name(sample, "finish_reason") for sample in response.samples}
    if "CONTEXT" in reasons:
        parts.append("the context is full; --slide goes on past it")
    elif "LENGTH" in reasons:
        parts.append("--length was reached")
    terminal.note(" · ".join(parts))

"""GPT-2's layers on LiteRT: what stands between the attentions is LiteRT's, the attentions are ours.

In: a batch of embedded tokens. Out: logits of the rows asked for. For every processor that LiteRT knows, and for
float32; where the processor has the instructions for it, forward.py computes int8 faster.

N tokens of the batch, M rows whose logits are asked for, C channels, V vocabulary, L layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.litert.cache import Floats, Layer
from services.litert.engine_file import EngineFile
from services.litert.heads import Attention, Placement

HEAD_ROWS = 64  # rows whose logits are computed at once: 13 MB of them with GPT-2's vocabulary


class _Part:
    """One subgraph of the interpreter, called without copies.

    The interpreter's own runner copies inputs and outputs and allocates at every call; `raw` is what it is made of.
    """

    def __init__(self, interpreter: Any, key: str) -> None:
        self._interpreter = interpreter
        self._raw: Any = interpreter._interpreter
        self._index: int = self._raw.GetSubgraphIndexFromSignature(key)
        signature = interpreter._get_full_signature_list()[key]
        self._inputs: dict[str, int] = signature["inputs"]
        self._outputs: dict[str, int] = signature["outputs"]
        self._width = interpreter._get_tensor_details(self._inputs["x"], self._index)["shape"][-1]
        self.rows = 0
        self.tensors: dict[str, NDArray[np.float32]] = {}

    def resize(self, rows: int) -> None:
        """Make inputs and outputs of that many rows. Views in `tensors` are others afterwards."""
        if rows == self.rows:
            return
        self.tensors = {}
        for tensor in self._inputs.values():
            self._raw.ResizeInputTensor(tensor, np.array([rows, self._width], np.int32), False, self._index)
        self._raw.AllocateTensors(self._index)
        for name, tensor in (self._inputs | self._outputs).items():
            self.tensors[name] = self._raw.tensor(self._interpreter, tensor, self._index)
        self.rows = rows

    def run(self) -> None:
        """Compute the outputs from the inputs."""
        self._raw.Invoke(self._index)


class Interpreted:
    """The layers of one model.

    Args:
        cache: of all layers.
        placement: says where the rows of each batch belong.
        max_rows: tokens of a batch, at most.
        threads: of the matrix products and of attention, each.

    Raises:
        Corrupt: LiteRT cannot run the file; the message names it.
    """

    def __init__(self, file: EngineFile, cache: Layer, placement: Placement, max_rows: int, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        L = self._num_layers = file.config.n_layer
        try:
            interpreter = Interpreter(model_path=str(file.path), num_threads=threads)
            keys = ["first", *(f"layer{layer}" for layer in range(1, L)), "last"]
            self._parts = [_Part(interpreter, key) for key in keys]
        except (ValueError, RuntimeError) as error:
            raise Corrupt(f"{file.path} cannot be run ({error})", metadata={"file": str(file.path)}) from error
        # Making the largest batch once is what later keeps a change of the batch's size at half a millisecond.
        for part, rows in zip(self._parts, [max_rows] * L + [HEAD_ROWS], strict=True):
            part.resize(rows)
            for tensor in part.tensors.values():
                tensor[:] = 0
            part.run()
        self._attention = Attention(file.config, cache, placement, threads)

    def run(self, x: Floats, wanted: NDArray[np.int64], logits: Floats) -> None:
        """Take a batch through all layers, where Placement says.

        Args:
            x: float32 [N, C].
            wanted: [M], ascending, rows whose logits are asked for.
            logits: float32 [M, V], written.
        """
        first = self._parts[0]
        first.resize(len(x))
        np.copyto(first.tensors["x"], x)
        first.run()
        qkv = first.tensors["qkv"]  # [N, 3C]
        for layer, part in enumerate(self._parts[1:-1]):
            part.resize(len(x))
            np.copyto(part.tensors["x"], x)
            self._attention.run(layer, qkv, part.tensors["attended"])
            part.run()
            x, qkv = part.tensors["y"], part.tensors["qkv"]
        attended = np.empty_like(x)
        self._attention.run(self._num_layers - 1, qkv, attended)
        last = self._parts[-1]
        for begin in range(0, len(wanted), HEAD_ROWS):
            rows = wanted[begin : begin + HEAD_ROWS]
            last.resize(len(rows))
            np.take(x, rows, axis=0, out=last.tensors["x"])
            np.take(attended, rows, axis=0, out=last.tensors["attended"])
            last.run()
            logits[begin : begin + len(rows)] = last.tensors["logits"]

    def close(self) -> None:
        """End attention's threads and let go of the cache. Further calls change nothing."""
        self._attention.close()

"""GPT-2 between its attentions, as the subgraphs of one LiteRT file.

In: an architecture and weights by OpenAI's names. Out: the parts of a `.tflite` model, weights apart from structure.
The model is cut at every attention: part 0 ends with the first layer's q|k|v, part l with that of layer l, the last
one with logits. Each takes a flat batch of tokens, [N, C] with N free, so that any number of tokens of any sequences
is one call.
Knows the schema of LiteRT's files, neither TensorFlow nor how the parts are run (model.py).

N tokens, C channels, F features of a linear layer, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from services.gpt2.config import GPT2Config
from services.litert.quantise import quantise_rows

EPSILON = 1e-5  # of LN, as in openai/gpt-2
ALIGNMENT = 64  # of every array in the file, in bytes

# Each operation with the version of it that this schema's attributes need.
_OPERATORS = {
    "ADD": (schema.BuiltinOperator.ADD, 1),
    "MUL": (schema.BuiltinOperator.MUL, 1),
    "SUB": (schema.BuiltinOperator.SUB, 1),
    "MEAN": (schema.BuiltinOperator.MEAN, 1),
    "RSQRT": (schema.BuiltinOperator.RSQRT, 1),
    "SQUARED_DIFFERENCE": (schema.BuiltinOperator.SQUARED_DIFFERENCE, 1),
    "FULLY_CONNECTED": (schema.BuiltinOperator.FULLY_CONNECTED, 12),
    "GELU": (schema.BuiltinOperator.GELU, 1),
}
_CODES = {name: index for index, name in enumerate(_OPERATORS)}


@dataclass
class Arrays:
    """The arrays of a file, in order. Buffer 0 is empty by LiteRT's convention and stands for "computed at run"."""

    values: list[NDArray] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)  # name -> buffer

    def add(self, name: str, value: NDArray) -> int:
        """Return the buffer of the array of that name, which is stored once."""
        if name not in self.numbers:
            self.values.append(np.ascontiguousarray(value))
            self.numbers[name] = len(self.values)
        return self.numbers[name]


class Part:
    """One subgraph in the making.

    Args:
        name: its signature's.
        arrays: of the whole file.
    """

    def __init__(self, name: str, arrays: Arrays) -> None:
        self.name = name
        self._arrays = arrays
        self._tensors: list[schema.TensorT] = []
        self._operators: list[schema.OperatorT] = []
        self._constants: dict[str, int] = {}
        self._inputs: dict[str, int] = {}
        self._outputs: dict[str, int] = {}

    def input(self, name: str, width: int) -> int:
        """Add an input, float32 [N, width]."""
        self._inputs[name] = self._computed(name, width)
        return self._inputs[name]

    def output(self, name: str, tensor: int) -> None:
        """Name a tensor as an output."""
        self._outputs[name] = tensor

    def constant(self, name: str, value: NDArray, scales: NDArray[np.float32] | None = None) -> int:
        """Add an array of the file; int8 rows come with their scales."""
        if name in self._constants:
            return self._constants[name]
        kind = {
            np.dtype(np.float32): schema.TensorType.FLOAT32,
            np.dtype(np.int32): schema.TensorType.INT32,
            np.dtype(np.int8): schema.TensorType.INT8,
        }[value.dtype]
        tensor = self._tensor(name, value.shape, kind, self._arrays.add(name, value))
        if scales is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = scales
            quantization.zeroPoint = np.zeros(len(scales), np.int64)
            quantization.quantizedDimension = 0
            self._tensors[tensor].quantization = quantization
        self._constants[name] = tensor
        return tensor

    def apply(self, operator: str, inputs: Sequence[int], width: int, kind: int = 0, options: object = None) -> int:
        """Add an operation and return what it computes, float32 [N, width]."""
        result = self._computed(f"{self.name}/{len(self._operators)}", width)
        made = schema.OperatorT()
        made.opcodeIndex = _CODES[operator]
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array([result], np.int32)
        made.builtinOptionsType = kind
        made.builtinOptions = options
        self._operators.append(made)
        return result

    def elementwise(self, operator: str, left: int, right: int, width: int) -> int:
        """ADD, SUB or MUL."""
        options = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}[operator]
        kinds = schema.BuiltinOptions
        kind = {"ADD": kinds.AddOptions, "SUB": kinds.SubOptions, "MUL": kinds.MulOptions}[operator]
        return self.apply(operator, [left, right], width, kind, options())

    def mean(self, x: int) -> int:
        """Mean of each row, [N, 1]."""
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axis = self.constant("last_axis", np.array([-1], np.int32))
        return self.apply("MEAN", [x, axis], 1, schema.BuiltinOptions.ReducerOptions, options)

    def linear(self, x: int, weights: int, bias: int | None, features: int) -> int:
        """Affine map by a matrix [F, C]. With int8 weights LiteRT makes each row of `x` int8 as well, by itself."""
        options = schema.FullyConnectedOptionsT()
        options.asymmetricQuantizeInputs = True
        inputs = [x, weights, -1 if bias is None else bias]
        return self.apply("FULLY_CONNECTED", inputs, features, schema.BuiltinOptions.FullyConnectedOptions, options)

    def gelu(self, x: int, width: int) -> int:
        """GELU in its tanh form."""
        options = schema.GeluOptionsT()
        options.approximate = True
        return self.apply("GELU", [x], width, schema.BuiltinOptions.GeluOptions, options)

    def finish(self) -> schema.SubGraphT:
        """Return the subgraph."""
        made = schema.SubGraphT()
        made.name = self.name.encode()
        made.tensors = self._tensors
        made.operators = self._operators
        made.inputs = np.array(list(self._inputs.values()), np.int32)
        made.outputs = np.array(list(self._outputs.values()), np.int32)
        return made

    def signature(self, index: int) -> schema.SignatureDefT:
        """Return the name under which subgraph number `index` is called."""
        made = schema.SignatureDefT()
        made.signatureKey = self.name.encode()
        made.subgraphIndex = index
        made.inputs = [_named(name, tensor) for name, tensor in self._inputs.items()]
        made.outputs = [_named(name, tensor) for name, tensor in self._outputs.items()]
        return made

    def _computed(self, name: str, width: int) -> int:
        tensor = self._tensor(name, (1, width), schema.TensorType.FLOAT32, 0)
        self._tensors[tensor].shapeSignature = np.array([-1, width], np.int32)
        return tensor

    def _tensor(self, name: str, shape: Sequence[int], kind: int, buffer: int) -> int:
        made = schema.TensorT()
        made.name = name.encode()
        made.shape = np.array(shape, np.int32)
        made.type = kind
        made.buffer = buffer
        made.hasRank = True
        self._tensors.append(made)
        return len(self._tensors) - 1


def _named(name: str, tensor: int) -> schema.TensorMapT:
    made = schema.TensorMapT()
    made.name = name.encode()
    made.tensorIndex = tensor
    return made


class Builder:
    """The parts of one model.

    Args:
        config: the architecture.
        params: float32 arrays by OpenAI's names.
        precision: `int8`, the matrices' rows with a scale each, or `float32`.
    """

    def __init__(self, config: GPT2Config, params: Mapping[str, NDArray[np.float32]], precision: str) -> None:
        self.arrays = Arrays()
        self._config = config
        self._params = params
        self._precision = precision
        C, L = config.n_embd, config.n_layer
        self.parts: list[Part] = []
        for number in range(L + 1):
            part = Part("first" if number == 0 else "last" if number == L else f"layer{number}", self.arrays)
            x = part.input("x", C)
            if number:
                x = self._after_attention(part, f"model/h{number - 1}", part.input("attended", C), x)
            if number < L:
                h = self._layer_norm(part, f"model/h{number}/ln_1", x)
                part.output("qkv", self._linear(part, f"model/h{number}/attn/c_attn", h, 3 * C))
                if number:
                    part.output("y", x)
            else:
                part.output("logits", self._head(part, x))
            self.parts.append(part)

    def _after_attention(self, part: Part, block: str, attended: int, x: int) -> int:
        C = self._config.n_embd
        h = self._linear(part, f"{block}/attn/c_proj", attended, C)
        x = part.elementwise("ADD", x, h, C)
        h = self._layer_norm(part, f"{block}/ln_2", x)
        h = part.gelu(self._linear(part, f"{block}/mlp/c_fc", h, 4 * C), 4 * C)
        return part.elementwise("ADD", x, self._linear(part, f"{block}/mlp/c_proj", h, C), C)

    def _head(self, part: Part, x: int) -> int:
        """Final LN and the output layer, whose matrix is the token embedding [V, C] as it stands."""
        h = self._layer_norm(part, "model/ln_f", x)
        weights = self._matrix(part, "model/wte", self._params["model/wte"])
        return part.linear(h, weights, None, self._config.n_vocab)

    def _layer_norm(self, part: Part, name: str, x: int) -> int:
        C = self._config.n_embd
        mean = part.mean(x)
        variance = part.mean(part.apply("SQUARED_DIFFERENCE", [x, mean], C))
        epsilon = part.constant("epsilon", np.array(EPSILON, np.float32))
        scale = part.apply("RSQRT", [part.elementwise("ADD", variance, epsilon, 1)], 1)
        h = part.elementwise("MUL", part.elementwise("SUB", x, mean, C), scale, C)
        # The gain is not folded into the next matrix: where a channel of `x` is far larger than the others, training
        # made its gain small, and each row of `h` is about to get one scale for all of its channels.
        h = part.elementwise("MUL", h, part.constant(f"{name}/g", self._params[f"{name}/g"]), C)
        return part.elementwise("ADD", h, part.constant(f"{name}/b", self._params[f"{name}/b"]), C)

    def _linear(self, part: Part, name: str, x: int, features: int) -> int:
        matrix = self._params[f"{name}/w"]
        weights = self._matrix(part, f"{name}/w", matrix.reshape(matrix.shape[-2:]).T)  # [F, C]
        bias = part.constant(f"{name}/b", self._params[f"{name}/b"])
        return part.linear(x, weights, bias, features)

    def _matrix(self, part: Part, name: str, matrix: NDArray[np.float32]) -> int:
        if self._precision == "float32":
            return part.constant(name, matrix)
        values, scales = quantise_rows(matrix)
        self.arrays.add(f"{name}/scales", scales)  # those of the structure are LiteRT's
        return part.constant(name, values, scales)


def serialise(parts: Sequence[Part], arrays: Arrays) -> tuple[bytes, list[int]]:
    """Return the file's structure, and where in the file each array must then stand, in bytes from its begin.

    Arrays follow the structure instead of standing inside of it, so that a file may be larger than the 2 GB of a
    flatbuffer, and so that they can be mapped where they stand.
    """
    model = schema.ModelT()
    model.version = 3
    model.description = b"GPT-2, cut at its attentions"
    model.operatorCodes = [_operator_code(*code) for code in _OPERATORS.values()]
    model.subgraphs = [part.finish() for part in parts]
    model.signatureDefs = [part.signature(index) for index, part in enumerate(parts)]
    sizes = [value.nbytes for value in arrays.values]

    def packed(offsets: Sequence[int]) -> bytes:
        model.buffers = [schema.BufferT()]
        for offset, size in zip(offsets, sizes, strict=True):
            buffer = schema.BufferT()
            buffer.offset, buffer.size = offset, size
            model.buffers.append(buffer)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    # The offsets are numbers of fixed width, so they do not change the length they depend on.
    offsets = []
    end = _aligned(len(packed([ALIGNMENT] * len(sizes))))
    for size in sizes:
        offsets.append(end)
        end = _aligned(end + size)
    return packed(offsets), offsets


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _operator_code(code: int, version: int) -> schema.OperatorCodeT:
    made = schema.OperatorCodeT()
    made.builtinCode = code
    made.deprecatedBuiltinCode = min(code, 127)
    made.version = version
    return made

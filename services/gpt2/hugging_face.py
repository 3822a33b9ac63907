"""Hugging Face's GPT-2 folders into OpenAI's layout.

In: `config.json`, `model.safetensors` (or shards with their index), `vocab.json` and `merges.txt` (or
`tokenizer.json`). Out: `model.ckpt.*`, `hparams.json`, `encoder.json`, `vocab.bpe`, `checkpoint`.
Knows no network and no manifest. Holds one shard of the result in memory at a time: safetensors are mapped, not
read whole, and TensorFlow joins the shards' index without copying them.
Names after transformers: models/gpt2/modeling_gpt2.py. Its linear layers are `Conv1D`, stored [in, out] as
OpenAI's are, so nothing is transposed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors import SafetensorError, safe_open

from services.common.errors import Corrupt
from services.common.files import read_json, write_json
from services.gpt2.config import GPT2Config
from services.gpt2.hugging_face_config import read_config
from services.gpt2.hugging_face_vocabulary import write_vocabulary
from services.gpt2.pointer import write_pointer

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
PREFIX = "model.ckpt"  # OpenAI's name for the weights' files
SHARD_BYTES = 128 << 20
ROWS_AT_ONCE = 4096  # of an embedding, where two are compared

_MASKS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # constants that older versions stored
_HEAD = "lm_head.weight"
_FLOATS = ("F32", "F16", "BF16", "F64")

Told = Callable[[int, int], None]  # bytes of the result written, and of all


def hugging_face_name(name: str) -> str:
    """The name, without `transformer.`, that transformers gives one of OpenAI's arrays.

    >>> hugging_face_name("model/h0/attn/c_attn/w"), hugging_face_name("model/ln_f/g"), hugging_face_name("model/wte")
    ('h.0.attn.c_attn.weight', 'ln_f.weight', 'wte.weight')
    """
    parts = name.removeprefix("model/").split("/")
    kind = {"w": "weight", "g": "weight", "b": "bias"}.get(parts[-1])
    parts = [*parts[:-1], kind] if kind else [*parts, "weight"]
    return re.sub(r"^h(\d+)\.", r"h.\1.", ".".join(parts))


def convert(source: Path, target: Path, on_bytes: Told = lambda done, total: None) -> GPT2Config:
    """Write the model of a Hugging Face folder into `target` in OpenAI's layout, float32.

    Args:
        source: holds the files named above; others are left alone.
        target: there already, and empty.
        on_bytes: told bytes written and bytes in all.

    Returns:
        the architecture. `n_vocab` is the number of entries of the vocabulary: rows of the embedding that no entry
        belongs to, which some store as padding, are left out.

    Raises:
        Corrupt: a file is missing, damaged or not GPT-2's, or a tensor has another shape; names the file.
    """
    config = read_config(source / "config.json")
    num_entries = write_vocabulary(source, target)
    if num_entries > config.n_vocab:
        raise _corrupt(
            source / "config.json", f"says vocab_size {config.n_vocab}; the vocabulary has {num_entries} entries"
        )
    tensors = _Tensors(source)
    tensors.check(config)
    config = dataclasses.replace(config, n_vocab=num_entries)
    _write(tensors, config, target, on_bytes)
    write_json(target / "hparams.json", config.to_hparams())
    write_pointer(target, PREFIX)
    return config


class _Tensors:
    """The tensors of a folder's safetensors files, by name without `transformer.`, mapped and read one by one."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, tuple[Path, str, Any]] = {}  # the file, the name in it, the open file
        for path in _weight_files(folder):
            try:
                opened = safe_open(path, framework="np")
                names = list(opened.keys())
            except (SafetensorError, OSError) as error:
                raise _corrupt(path, f"is not a safetensors file, or is cut short ({error})") from None
            for name in names:
                short = name.removeprefix("transformer.")
                if short in self._files:
                    raise _corrupt(path, f"has {name!r}, which {self._files[short][0].name} has as well")
                self._files[short] = (path, name, opened)

    def check(self, config: GPT2Config) -> None:
        """Raise Corrupt unless these are the tensors of `config`, each of its shape, and no others."""
        some_file = next((path for path, _, _ in self._files.values()), Path(WEIGHTS))
        wanted: dict[str, list[int]] = {}
        for name, shape in config.shapes.items():
            # OpenAI's leading 1 is not stored here.
            wanted[hugging_face_name(name)] = list(shape[1:] if len(shape) == 3 else shape)
        for name, expected in wanted.items():
            if name not in self._files:
                raise _corrupt(some_file, f"has no {name!r}, which a GPT-2 of config.json's size needs")
            path, written, opened = self._files[name]
            piece = opened.get_slice(written)
            if piece.get_shape() != expected:
                raise _corrupt(path, f"has {written!r} of shape {piece.get_shape()}; config.json asks for {expected}")
            if piece.get_dtype() not in _FLOATS:
                raise _corrupt(path, f"has {written!r} of type {piece.get_dtype()}; expected one of {_FLOATS}")
        for name, (path, written, _) in self._files.items():
            if name == _HEAD:
                self._check_head(path)
            elif name not in wanted and not _MASKS.fullmatch(name):
                raise _corrupt(path, f"has {written!r}, which GPT-2 has not: another architecture, or an adapter")

    def _check_head(self, path: Path) -> None:
        head, embedding = self._slice(_HEAD), self._slice("wte.weight")
        same = head.get_shape() == embedding.get_shape()
        num_rows = head.get_shape()[0]
        for start in range(0, num_rows, ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, num_rows))
            same = same and np.array_equal(head[rows], embedding[rows])
        if not same:
            raise _corrupt(
                path, "has an output layer, lm_head.weight, that is not its embedding: GPT-2's is, and runs train so"
            )

    def _slice(self, name: str) -> Any:
        _, written, opened = self._files[name]
        return opened.get_slice(written)

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """One of OpenAI's arrays, float32, of this shape; an embedding may be stored longer.

        Raises:
            Corrupt: a value in it is not a number.
        """
        stored = hugging_face_name(name)
        value = np.asarray(self._slice(stored)[:]).astype(np.float32, copy=False)
        if name == "model/wte":
            value = value[: shape[0]]
        if not np.isfinite(value).all():
            path, written, _ = self._files[stored]
            raise _corrupt(path, f"holds values in {written!r} that are not numbers (NaN or infinity)")
        return value.reshape(shape)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: those of its index, or the one there is."""
    if not (folder / INDEX).is_file():
        if not (folder / WEIGHTS).is_file():
            raise _corrupt(folder / WEIGHTS, "is missing: the folder holds no weights")
        return [folder / WEIGHTS]
    index = read_json(folder / INDEX)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(x, str) for x in weight_map.values()):
        raise _corrupt(folder / INDEX, "is not an index of safetensors: it has no weight_map")
    names = sorted(set(weight_map.values()))
    for name in names:
        if "/" in name or not (folder / name).is_file():
            raise _corrupt(folder / INDEX, f"names {name!r}, which is not there")
    return [folder / name for name in names]


def _shards(config: GPT2Config) -> Iterator[list[str]]:
    """The arrays' names in groups of at most SHARD_BYTES, or of one."""
    group: list[str] = []
    held = 0
    for name, shape in config.shapes.items():
        size = 4 * int(np.prod(shape))
        if group and held + size > SHARD_BYTES:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    yield group


def _write(tensors: _Tensors, config: GPT2Config, target: Path, on_bytes: Told) -> None:
    """Write the weights shard by shard, then one index over them all."""
    total, done = 4 * config.num_parameters, 0
    prefixes: list[str] = []
    with tf.device("/CPU:0"):
        for number, names in enumerate(_shards(config)):
            prefix = target / "shards" / f"shard-{number}"
            prefix.parent.mkdir(exist_ok=True)
            arrays = [tensors.read(name, config.shapes[name]) for name in names]
            tf.raw_ops.SaveV2(
                prefix=str(prefix),
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                tensors=[tf.convert_to_tensor(array) for array in arrays],
            )
            prefixes.append(str(prefix))
            done += sum(array.nbytes for array in arrays)
            del arrays
            on_bytes(done, total)
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=prefixes, destination_prefix=str(target / PREFIX), delete_old_dirs=True
        )


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} {problem}", metadata={"file": str(path)})

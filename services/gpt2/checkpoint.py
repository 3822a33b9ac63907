"""Weights in OpenAI's folder layout: TensorFlow V2 checkpoint, `hparams.json` and the text file `checkpoint`.

In: a folder and arrays by OpenAI's names. Out: the same, each name and shape checked against `hparams.json`.
What we write holds `model/*` variables only and opens in gpt-2-simple and nshepperd/gpt-2; what they and
OpenAI write opens here, optimizer slots and counters beside the weights left alone.
Knows nothing of runs, manifests or vocabularies. The weights are not written atomically: the caller writes
into `files.new_folder`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from services.common.errors import Corrupt
from services.common.files import read_json, write_json
from services.gpt2.config import GPT2Config
from services.gpt2.model import Params
from services.gpt2.pointer import write_pointer

# What TensorFlow's reader raises on damaged files (every part has a checksum): IndexError where the data file
# ends too early, OpError for most of the rest.
_READER_ERRORS = (tf.errors.OpError, LookupError, RuntimeError, ValueError)
_POINTER = re.compile(r'^\s*model_checkpoint_path:\s*"([^"\n]+)"', re.MULTILINE)


def write_weights(folder: Path, step: int, params: Params, config: GPT2Config) -> None:
    """Write `model-<step>.index`, `model-<step>.data-00000-of-00001`, `hparams.json` and `checkpoint`.

    Args:
        folder: there already.
        step: the training step, for the files' names.
        params: arrays, tensors or variables; shapes as in `config.shapes`.

    Raises:
        ValueError: the arrays are not those of `config`.
    """
    shapes = {name: tuple(value.shape) for name, value in params.items()}
    if shapes != config.shapes:
        wrong = sorted(set(shapes.items()) ^ set(config.shapes.items()))
        raise ValueError(f"these arrays do not make a model of {config}: {wrong[:3]}")
    names = sorted(shapes)
    prefix = folder / f"model-{step}"
    with tf.device("/CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.cast(params[name], tf.float32) for name in names],
        )
    write_json(folder / "hparams.json", config.to_hparams())
    write_pointer(folder, prefix.name)


def read_config(folder: Path) -> GPT2Config:
    """Return the architecture that `hparams.json` states; raise Corrupt naming it when it does not."""
    path = folder / "hparams.json"
    return GPT2Config.from_hparams(read_json(path), source=str(path))


def find_prefix(folder: Path) -> Path:
    """Return the path, without suffix, of the folder's weights.

    The file `checkpoint` decides. Where it names a path outside of the folder, as copies of the 2019 scripts'
    folders do, the file of that name in the folder is taken. A folder with exactly one `*.index` needs none.

    Raises:
        Corrupt: no weights, or several and nothing says which.
    """
    pointer = folder / "checkpoint"
    if pointer.is_file():
        found = _POINTER.search(pointer.read_text(errors="replace"))
        if found is None:
            raise _corrupt(pointer, "does not say model_checkpoint_path")
        named = found[1]
        candidates = [folder / named, folder / re.split(r"[/\\]", named)[-1]]
        inside = [prefix for prefix in candidates if prefix.resolve().is_relative_to(folder.resolve())]
        for prefix in inside:
            if Path(f"{prefix}.index").is_file():
                return prefix
        if not inside:
            raise _corrupt(pointer, f"names {named!r}, which is not a file of its folder")
        raise _corrupt(Path(f"{inside[0]}.index"), f"is missing, and {pointer} names it")
    indexes = sorted(folder.glob("*.index"))
    if len(indexes) == 1:
        return indexes[0].with_suffix("")
    if indexes:
        raise _corrupt(pointer, f"is missing, and {len(indexes)} checkpoints are there: nothing says which one counts")
    raise _corrupt(folder / "model.ckpt.index", "is missing: the folder holds no weights")


def read_weights(folder: Path) -> tuple[GPT2Config, dict[str, np.ndarray]]:
    """Read a model from a folder in OpenAI's layout.

    Returns:
        the architecture, and float32 arrays by OpenAI's names.

    Raises:
        Corrupt: a file is missing, shortened or damaged, or does not hold what `hparams.json` promises;
            the message names the file.
    """
    config = read_config(folder)
    return config, dict(_arrays(folder, config))


def check_weights(folder: Path) -> GPT2Config:
    """Read a model as `read_weights` does, one array in memory at a time, and return its architecture alone."""
    config = read_config(folder)
    for _ in _arrays(folder, config):
        pass
    return config


def _arrays(folder: Path, config: GPT2Config) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every array of `config` by name, after the index has been checked."""
    prefix = find_prefix(folder)
    index = Path(f"{prefix}.index")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        dtypes = reader.get_variable_to_dtype_map()
    except _READER_ERRORS as error:
        raise _corrupt(index, f"is not a TensorFlow checkpoint's index ({_first_line(error)})") from None

    for name, shape in config.shapes.items():
        if name not in shapes:
            raise _corrupt(index, f"has no {name!r}, which hparams.json asks for")
        if tuple(shapes[name]) != shape:
            raise _corrupt(index, f"has {name!r} of shape {shapes[name]}; hparams.json asks for {list(shape)}")
        if dtypes[name] not in (tf.float32, tf.float16, tf.bfloat16):
            raise _corrupt(index, f"has {name!r} of type {dtypes[name].name}; expected a float")
    deeper = f"model/h{config.n_layer}/ln_1/g"
    if deeper in shapes:
        raise _corrupt(index, f"has {deeper!r}, so more layers than the {config.n_layer} of hparams.json")

    for name in config.shapes:
        try:
            value = np.asarray(reader.get_tensor(name)).astype(np.float32, copy=False)
        except _READER_ERRORS as error:
            found = sorted(folder.glob(f"{prefix.relative_to(folder)}.data-*"))
            data = found[0] if found else Path(f"{prefix}.data-00000-of-00001")
            problem = f"is shortened or damaged at {name!r} ({_first_line(error)})" if found else "is missing"
            raise _corrupt(data, problem) from None
        yield name, value


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} {problem}", metadata={"file": str(path)})

"""Sends a base model's folder to the trainer: OpenAI's layout (`checkpoint`, weights, `hparams.json`, vocabulary),
which is gpt-2-simple's `checkpoint/run1` too, or Hugging Face's (`config.json`, `model.safetensors`, vocabulary).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from protos import trainer_pb2
from services.client.connection import Connection
from services.client.progress import Progress, silent
from services.common.errors import InvalidRequest, NotFound

CHUNK_BYTES = 512 << 10  # half of what the service takes
VERIFY_S = 600.0  # the trainer reads every tensor before it answers
SLOWEST_BYTES_PER_S = 1 << 20
_ALWAYS = frozenset({"checkpoint", "hparams.json", "encoder.json", "vocab.bpe"})
# The graph (`.meta`) is not needed and is not sent.
_WEIGHTS = re.compile(r"(?P<prefix>model[\w.-]*)\.(index|data-\d{5}-of-\d{5})")

_HUGGING_FACE = frozenset(
    {"config.json", "vocab.json", "merges.txt", "tokenizer.json", "added_tokens.json", "model.safetensors"}
)
_SHARDED = re.compile(r"model-\d{5}-of-\d{5}\.safetensors|model\.safetensors\.index\.json")


def layout_files(folder: Path) -> list[Path]:
    """The files of `folder` that make a base model, by name.

    Where several checkpoints lie side by side, the one that `checkpoint` names is taken.

    Raises:
        NotFound: the folder does not exist.
        InvalidRequest: nothing in it is a model's, or its weights are a pickle.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder; give the one that holds hparams.json and model.ckpt.index")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    weights = {path: match["prefix"] for path in files if (match := _WEIGHTS.fullmatch(path.name))}
    if not weights:
        return _hugging_face_files(folder, files)
    named = _named_checkpoint(folder / "checkpoint")
    if named in weights.values():
        weights = {path: prefix for path, prefix in weights.items() if prefix == named}
    return [path for path in files if path.name in _ALWAYS or path in weights]


def _hugging_face_files(folder: Path, files: list[Path]) -> list[Path]:
    names = {path.name for path in files}
    if not any(name.endswith(".safetensors") for name in names):
        if "config.json" in names and any(name.endswith((".bin", ".pt", ".pth")) for name in names):
            raise InvalidRequest(
                f"{folder} has its weights as a pickle alone, which can run code and is not loaded; "
                "save them as model.safetensors with transformers' save_pretrained",
                field="file",
            )
        raise InvalidRequest(
            f"{folder} holds no weights; OpenAI's layout has model.ckpt.index and model.ckpt.data-*, "
            "Hugging Face's has model.safetensors",
            field="file",
        )
    is_whole = "model.safetensors" in names  # then shards beside it are not needed
    return [path for path in files if path.name in _HUGGING_FACE or (not is_whole and _SHARDED.fullmatch(path.name))]


def import_base(
    connection: Connection, folder: Path, name: str = "", on_progress: Progress = silent
) -> trainer_pb2.Base:
    """Send a base model and return it as the trainer sees it.

    Args:
        name: what to call it; empty takes the folder's name.
        on_progress: told bytes sent.

    Raises:
        AlreadyExists: the name is taken.
        Corrupt: a file is missing, truncated or of the wrong shape; nothing is kept.
    """
    files = layout_files(folder)
    total = sum(path.stat().st_size for path in files)
    messages = _messages(name or folder.resolve().name, files, total, on_progress)
    timeout_s = VERIFY_S + total / SLOWEST_BYTES_PER_S
    response: trainer_pb2.ImportBaseResponse = connection.trainer.ImportBase(messages, timeout_s=timeout_s)
    return response.base


def _messages(
    name: str, files: list[Path], total: int, on_progress: Progress
) -> Iterator[trainer_pb2.ImportBaseRequest]:
    yield trainer_pb2.ImportBaseRequest(name=name)
    done = 0
    for path in files:
        yield trainer_pb2.ImportBaseRequest(file=path.name)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield trainer_pb2.ImportBaseRequest(chunk=chunk)
                done += len(chunk)
                on_progress("sending the model", done, total)
    on_progress("checking the model", 0, 0)


def _named_checkpoint(file: Path) -> str:
    """The prefix that TensorFlow's `checkpoint` file names, without folders; empty when there is none."""
    try:
        match = re.search(r'^model_checkpoint_path:\s*"([^"]*)"', file.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return match[1].rpartition("/")[2] if match else ""

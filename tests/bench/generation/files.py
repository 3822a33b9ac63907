"""The same random GPT-2 124M in the layout of each contestant, written once below one folder.

`python -m tests.bench.generation.files FOLDER KIND` writes one kind and ends, so that TensorFlow and PyTorch stay
out of the process that asks. What is there already is left alone.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from services.common.files import new_folder, sha256_files, write_json
from services.gpt2.config import SIZES
from services.tokens.vocabulary import digest_of
from tests.bench.generation.case import SEED
from tests.gpt2_files import gpt2_folder

CONFIG = SIZES["124M"]
MODEL, VERSION = "bench", 1
ROOT = Path(__file__).parents[3]


def published(folder: Path) -> None:
    """A version as the trainer publishes it, below `data/models`: OpenAI's layout with a manifest."""
    from services.gpt2.checkpoint import write_weights
    from services.gpt2.model import init_params

    with new_folder(folder / "data" / "models" / MODEL / str(VERSION)) as partial:
        for name in ("encoder.json", "vocab.bpe"):
            shutil.copyfile(gpt2_folder() / name, partial / name)
        write_weights(partial, 1, init_params(CONFIG, SEED), CONFIG)
        encoder, merges = ((partial / name).read_bytes() for name in ("encoder.json", "vocab.bpe"))
        manifest = {
            "kind": "model",
            "name": MODEL,
            "version": VERSION,
            "run": "",
            "step": 1,
            "created_at": "2024-01-01T00:00:00Z",
            "vocabulary_digest": digest_of(encoder, merges),
            "num_parameters": CONFIG.num_parameters,
            "files": sha256_files(partial),
        }
        write_json(partial / "manifest.json", manifest)


def engine(folder: Path) -> None:
    """The engine file, as publishing makes it."""
    from services.gpt2.model import init_params
    from services.litert.convert import convert

    with new_folder(folder / "engine") as partial:
        convert(CONFIG, init_params(CONFIG, SEED), partial / "engine.litert")


def hugging_face(folder: Path) -> None:
    """A folder as transformers writes it."""
    from safetensors.numpy import save_file

    from tests.hugging_face_files import hugging_face_config, hugging_face_tensors

    with new_folder(folder / "hugging_face") as partial:
        shutil.copyfile(gpt2_folder() / "encoder.json", partial / "vocab.json")
        shutil.copyfile(gpt2_folder() / "vocab.bpe", partial / "merges.txt")
        config = hugging_face_config(CONFIG, architectures=["GPT2LMHeadModel"], dtype="float32")
        write_json(partial / "config.json", config)
        write_json(partial / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024})
        tensors = {f"transformer.{name}": value for name, value in hugging_face_tensors(CONFIG, SEED).items()}
        save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})


def ctranslate2(folder: Path) -> None:
    """int8, by CTranslate2's own converter."""
    import ctranslate2 as library

    write(folder, "hugging_face")
    with new_folder(folder / "ctranslate2") as partial:
        converter = library.converters.TransformersConverter(str(folder / "hugging_face"))
        converter.convert(str(partial), quantization="int8", force=True)


def gguf(folder: Path) -> None:
    """q8_0, as llama.cpp's converter and quantizer make it: matrices in q8_0, the rest in float32."""
    import gguf as library

    from services.gpt2.model import init_params

    with new_folder(folder / "gguf") as partial:
        writer = library.GGUFWriter(partial / "model-q8_0.gguf", "gpt2")
        writer.add_name("bench")
        writer.add_context_length(CONFIG.n_ctx)
        writer.add_embedding_length(CONFIG.n_embd)
        writer.add_feed_forward_length(4 * CONFIG.n_embd)
        writer.add_block_count(CONFIG.n_layer)
        writer.add_head_count(CONFIG.n_head)
        writer.add_layer_norm_eps(1e-5)
        writer.add_file_type(library.LlamaFileType.MOSTLY_Q8_0)
        _add_vocabulary(writer)
        for name, value in init_params(CONFIG, SEED).items():
            tensor = value[0].T if value.ndim == 3 else value  # stored [out, in]
            target = gguf_name(name)
            if tensor.ndim == 2 and name != "model/wpe":
                raw = library.quants.quantize(np.ascontiguousarray(tensor), library.GGMLQuantizationType.Q8_0)
                writer.add_tensor(target, raw, raw_dtype=library.GGMLQuantizationType.Q8_0)
            else:
                writer.add_tensor(target, np.ascontiguousarray(tensor))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


GGUF_NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn/c_attn": "attn_qkv",
    "attn/c_proj": "attn_output",
    "mlp/c_fc": "ffn_up",
    "mlp/c_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    """The name that llama.cpp gives one of OpenAI's arrays.

    >>> gguf_name("model/h3/attn/c_attn/w"), gguf_name("model/wpe")
    ('blk.3.attn_qkv.weight', 'position_embd.weight')
    """
    found = re.fullmatch(r"model/(?:h(\d+)/)?(.+?)(?:/([wgb]))?", name)
    assert found is not None
    layer, kind, part = found.groups()
    block = f"blk.{layer}." if layer else ""
    return f"{block}{GGUF_NAMES[kind]}.{'bias' if part == 'b' else 'weight'}"


def _add_vocabulary(writer: Any) -> None:
    """GPT-2's own: the loader wants one."""
    import gguf as library

    entries = json.loads((gpt2_folder() / "encoder.json").read_text())
    tokens = sorted(entries, key=entries.__getitem__)
    merges = (gpt2_folder() / "vocab.bpe").read_text().splitlines()[1:]
    types = [library.TokenType.CONTROL if token == "<|endoftext|>" else library.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge for merge in merges if merge])
    writer.add_bos_token_id(entries["<|endoftext|>"])
    writer.add_eos_token_id(entries["<|endoftext|>"])


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "published": ("data", published),
    "engine": ("engine", engine),
    "hugging_face": ("hugging_face", hugging_face),
    "ctranslate2": ("ctranslate2", ctranslate2),
    "gguf": ("gguf", gguf),
}


def write(folder: Path, kind: str) -> None:
    """Write one kind below `folder` in a process of its own, if it is not there."""
    if not (folder / KINDS[kind][0]).exists():
        command = [sys.executable, "-m", "tests.bench.generation.files", str(folder), kind]
        subprocess.run(command, check=True, stdout=sys.stderr, cwd=ROOT)


def main() -> None:
    """Write one kind."""
    KINDS[sys.argv[2]][1](Path(sys.argv[1]))


if __name__ == "__main__":
    main()

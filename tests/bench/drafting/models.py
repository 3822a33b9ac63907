"""The models that drafts are measured with, published as the trainer publishes them.

    heart     `mini` on the sample blog until it knows it by heart
    begun     `mini` on the sample blog, a few steps
    124M      GPT-2's shape and cost, with weights that recite a text

The first two are trained by the services themselves. The third is made: its blocks add nothing, and the vector of each
position is that of the token that comes there, so that it writes the text with a given probability, whatever stood
before. A step costs what it costs with any weights.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from services.common.files import new_folder, sha256_files, write_json
from services.gpt2.config import SIZES
from services.tokens.dataset import DOCUMENT_TYPE, DOCUMENTS_FILE, POSTS_FILE, TOKENS_FILE
from services.tokens.vocabulary import digest_of
from tests.gpt2_files import gpt2_folder

ROOT = Path(__file__).parents[3]
BLOG = ROOT / "deploy" / "sample_blog"
HEART_STEPS, BEGUN_STEPS = 503, 30  # an average loss of 0.50, near the 0.45 of 2019, and one of 6
LENGTH = 1000  # of the recited text, in tokens
SHARPNESS = 14.0  # of the made weights: the recited token is about as likely as one of a loss of 0.5


def recited() -> np.ndarray:
    """The ids that the made model writes, [LENGTH]."""
    return np.random.default_rng(1).integers(0, 50256, size=LENGTH)


def train(folder: Path, name: str, steps: int) -> dict[str, float]:
    """Train `mini` on the sample blog and publish it, unless it is there; return its losses at the end.

    `loss` is the last step's; `average_loss` the fading average that train.py of 2019 printed as `avg`.
    """
    from services.supervisor import Supervisor

    environ = {**os.environ, "NONESUCH_DATA": str(folder / "data"), "NONESUCH_CACHE": str(folder / "cache")}
    supervisor = Supervisor(environ, free_ports=True)
    supervisor.start(progress=lambda service: None)
    try:
        _nonesuch(supervisor, "posts", "add", str(BLOG))
        options = ["--base", "mini", "--run", name, "--steps", str(steps), "--batch-size", "4"]
        options += [
            "--learning-rate",
            "1.5e-3",
            "--dropout",
            "0",
            "--validate-every",
            "0",
            "--sample-every",
            "0",
            "--packing",
            "documents",
        ]
        _nonesuch(supervisor, "train", *options, "--follow")
        listed = json.loads(_nonesuch(supervisor, "models", "list", "--json"))
        if not any(model["name"] == name for model in listed):
            _nonesuch(supervisor, "models", "publish", name)
        metrics = json.loads(_nonesuch(supervisor, "runs", "show", name, "--json"))["metrics"]
        return {key: round(float(metrics[key]), 3) for key in ("loss", "average_loss")}
    finally:
        supervisor.stop()


def _nonesuch(supervisor: Any, *arguments: str) -> str:
    command = [sys.executable, "-m", "services.client", *arguments]
    done = subprocess.run(command, env=dict(supervisor.environ), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"nonesuch {' '.join(arguments)} failed")
    print(f"# nonesuch {' '.join(arguments)}", file=sys.stderr)
    return done.stdout


def engine(folder: Path, name: str) -> Path:
    """The engine file of a model that a generator has loaded: its own, or the one that was made for it."""
    own = (folder / "data" / "models" / name / "1").glob("engine.litert")
    made = (folder / "cache-with" / "engines").glob("*/engine.litert")
    return next(iter([*own, *made]))


def make(folder: Path, name: str = "124M") -> None:
    """Publish a model of GPT-2 124M's shape that recites a text, with the index of that text."""
    from services.gpt2.checkpoint import write_weights
    from services.gpt2.model import init_params
    from services.tokens.index_files import INDEX_FOLDER, write_index

    if (folder / "data" / "models" / name / "1").is_dir():
        return
    config, rng, text = SIZES["124M"], np.random.default_rng(2), recited()
    params = {key: np.asarray(value) for key, value in init_params(config, 1).items()}
    directions = rng.normal(size=(config.n_vocab, config.n_embd)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    params["model/wte"] = directions
    params["model/wpe"] = np.zeros_like(params["model/wpe"])
    params["model/wpe"][: LENGTH - 1] = 20 * directions[text[1:]]  # far more than the token that is read
    for key, value in params.items():
        if key.endswith(("c_proj/w", "c_proj/b")):
            params[key] = np.zeros_like(value)
    params["model/ln_f/g"] = np.full_like(params["model/ln_f/g"], SHARPNESS / np.sqrt(config.n_embd))
    with new_folder(folder / "data" / "models" / name / "1") as partial:
        for file in ("encoder.json", "vocab.bpe"):
            shutil.copyfile(gpt2_folder() / file, partial / file)
        write_weights(partial, 1, params, config)
        index = partial / INDEX_FOLDER
        index.mkdir()
        documents = np.zeros(1, DOCUMENT_TYPE)
        documents["end"] = LENGTH + 1
        np.save(index / DOCUMENTS_FILE, documents)
        np.save(index / TOKENS_FILE, np.append(text, 50256).astype(np.uint16))
        write_json(index / POSTS_FILE, [{"id": "text", "path": "text", "title": ""}])
        write_index(index)
        encoder, merges = ((partial / file).read_bytes() for file in ("encoder.json", "vocab.bpe"))
        manifest = {
            **{"kind": "model", "name": name, "version": 1, "run": "", "step": 1},
            "created_at": "2024-01-01T00:00:00Z",
            "vocabulary_digest": digest_of(encoder, merges),
            "num_parameters": config.num_parameters,
            "files": sha256_files(partial),
        }
        write_json(partial / "manifest.json", manifest)

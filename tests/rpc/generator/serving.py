"""A running generator with tiny models on a real folder, and what its calls come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import generator_pb2 as pb
from protos.generator_pb2_grpc import GeneratorServiceStub, add_GeneratorServiceServicer_to_server
from services.blog.style import Style
from services.common import rpc
from services.common.files import new_folder, sha256_files, write_json
from services.generator.engine import Engine
from services.generator.loaded import load
from services.generator.models import Models
from services.generator.servicer import SERVICE_NAME, GeneratorServicer, worker_threads
from services.generator.serving import make_models
from services.generator.settings import GeneratorSettings
from services.gpt2.checkpoint import write_weights
from services.gpt2.config import GPT2Config
from services.gpt2.model import init_params
from services.litert.stored import weights_digest
from services.litert.verified import convert_verified
from services.tokens.dataset import DOCUMENT_TYPE, DOCUMENTS_FILE, POSTS_FILE, STYLE_FILE, TOKENS_FILE
from services.tokens.header import HEADER_NONE, HEADER_V1
from services.tokens.index_files import INDEX_FOLDER, write_index
from services.tokens.vocabulary import digest_of
from tests.unit.generator.fakes import END, vocabulary_files
from tests.waiting import PATIENCE_S

CONFIG = GPT2Config(n_vocab=257, n_ctx=64, n_embd=8, n_head=2, n_layer=2)
# Tests begin endless streams and read a little of them: small models write thousands of tokens meanwhile.
DEFAULTS = {"poll_s": 0.02, "slots": 4, "unread_limit": 1_000_000_000}
CREATIVE = pb.SamplingParameters(temperature=1.5, top_k=0)


def publish(
    folder: Path,
    name: str,
    version: int,
    *,
    config: GPT2Config = CONFIG,
    engine: bool = True,
    corpus: Sequence[bytes] = (),
    style: Style | None = None,
) -> Path:
    """Write a model version with random weights, as the trainer does.

    Args:
        engine: without it the version lacks its engine file.
        corpus: the posts that it carries an index of, `0.md` and so on; none: it carries no index.
        style: of their blog, whose posts have headers then.
    """
    with new_folder(folder / name / str(version)) as partial:
        files = vocabulary_files()
        for file, content in files.items():
            (partial / file).write_bytes(content)
        if corpus:
            write_corpus(partial / INDEX_FOLDER, corpus)
        if style is not None:
            write_json(partial / INDEX_FOLDER / STYLE_FILE, style.as_json())
        params = {k: np.asarray(v) * 5 for k, v in init_params(config, version).items()}  # far from uniform
        write_weights(partial, 10 * version, params, config)
        if engine:
            convert_verified(config, params, partial, [[1, 2, 3]], weights_digest(sha256_files(partial)), "float32")
        write_json(
            partial / "manifest.json",
            {
                "kind": "model",
                "name": name,
                "version": version,
                "run": "run1",
                "step": 10 * version,
                "created_at": f"2024-01-01T00:00:{version:02}Z",
                "vocabulary_digest": digest_of(files["encoder.json"], files["vocab.bpe"]),
                "header_format": HEADER_NONE if style is None else HEADER_V1,
                "num_parameters": config.num_parameters,
                "files": sha256_files(partial),
            },
        )
    return folder / name / str(version)


def write_corpus(folder: Path, posts: Sequence[bytes]) -> None:
    """Write the index of posts, as a version carries it."""
    folder.mkdir()
    ends = np.cumsum([len(post) + 1 for post in posts])
    documents = np.zeros(len(posts), DOCUMENT_TYPE)
    documents["end"], documents["start"][1:] = ends, ends[:-1]
    np.save(folder / DOCUMENTS_FILE, documents)
    np.save(folder / TOKENS_FILE, np.array([id_ for post in posts for id_ in (*post, END)], np.uint16))
    named = [{"id": f"blog/{i}.md", "path": f"{i}.md", "title": f"Post {i}"} for i in range(len(posts))]
    write_json(folder / POSTS_FILE, named)
    write_index(folder)


class Service:
    """A running generator and a stub to it."""

    def __init__(self, folder: Path, make_engine: Callable[[], Engine] | None = None, **settings: Any) -> None:
        self.folder = folder
        values = GeneratorSettings(**(DEFAULTS | settings))
        if make_engine is None:
            self.models = make_models(folder, values, folder.parent / "cache")
        else:
            load_one = partial(load, settings=values, make_engine=make_engine)
            self.models = Models(folder, load_one, max_models=values.max_models, poll_s=values.poll_s)
        self.servicer = GeneratorServicer(self.models, values)
        self.server = rpc.start(
            "127.0.0.1:0",
            lambda server: add_GeneratorServiceServicer_to_server(self.servicer, server),
            services=[SERVICE_NAME],
            worker_threads=worker_threads(values),
        )
        self.models.start(lambda name, serving: self.server.set_serving(f"models/{name}", serving=serving))
        self.channel = rpc.channel(f"127.0.0.1:{self.server.port}")
        self.stub = GeneratorServiceStub(self.channel)

    def generate(self, **fields: Any) -> pb.GenerateResponse:
        return self.stub.Generate(pb.GenerateRequest(**fields), timeout=PATIENCE_S)

    def stream(self, **fields: Any) -> Any:
        return self.stub.GenerateStream(pb.GenerateRequest(**fields), timeout=PATIENCE_S)

    def info(self) -> pb.GetServerInfoResponse:
        return self.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=PATIENCE_S)

    def states(self) -> dict[int, str]:
        listed = self.stub.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
        return {model.version: pb.ModelState.Name(model.state).removeprefix("MODEL_STATE_") for model in listed}

    def stop(self) -> None:
        self.channel.close()
        self.server.stop(0.1)
        self.models.close()


def refused(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str, list[Any]]:
    """Code, message and unpacked details of a call that must fail."""
    with pytest.raises(grpc.RpcError) as failure:
        call()
    status = rpc_status.from_call(failure.value)
    details = []
    for packed in status.details if status else ():
        for kind in (error_details_pb2.BadRequest, error_details_pb2.RetryInfo, error_details_pb2.ErrorInfo):
            if packed.Is(kind.DESCRIPTOR):
                details.append(kind.FromString(packed.value))
    return failure.value.code(), failure.value.details(), details


def text_of(deltas: Any) -> str:
    return "".join(delta.text.text for delta in deltas if delta.HasField("text"))

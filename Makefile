# Nonesuch: the verbs. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint deploy/constraints.txt

# Folder of posts to learn from, the base to start from, and more options for `nonesuch train`.
POSTS ?= deploy/sample_blog
BASE ?= nano
TRAIN ?=

PROTOS := $(wildcard protos/*.proto)
STUBS := $(PROTOS:.proto=_pb2.py)

# An NVIDIA card that answers gets the GPU images.
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1 && echo '-f deploy/compose.gpu.yml')
COMPOSE := docker compose -f docker-compose.yml $(GPU)

.DEFAULT_GOAL := help
.PHONY: help run demo test faults stress soak check protos up down bench bench-corpus bench-tokenizer bench-index bench-drafts bench-reciting bench-train bench-generate
.PHONY: parity screenshots clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo "Options of faults: FAULTS='--seed 7 --moments 40'; of stress: STRESS='--requests 5000 --callers 50'"
	@echo "Options of run and demo: POSTS=folder (default $(POSTS)), BASE=nano|micro|mini|124M, TRAIN='--steps 500 ...'"

run: $(VENV)/installed protos ## Learn from POSTS on this machine, print a post, and stay up with the page until Ctrl-C.
	@$(BIN)/python -m services --posts '$(POSTS)' --base '$(BASE)' --train='$(TRAIN)'

demo: $(VENV)/installed protos ## The same, ending after the post.
	@$(BIN)/python -m services --posts '$(POSTS)' --base '$(BASE)' --train='$(TRAIN)' --once

test: $(VENV)/dev-installed protos ## Run every test; those of the containers where a Docker engine answers.
	@$(BIN)/python -m pytest $(ARGS)

faults: $(VENV)/dev-installed protos ## Kill imports and training runs with -9 at many moments, starve and spoil them; look what is left.
	@$(BIN)/python -m tests.e2e.faults.kills $(FAULTS)
	@$(BIN)/python -m tests.e2e.faults.training $(FAULTS)

stress: $(VENV)/dev-installed protos ## Send a generator whatever 50 callers may ask at once, and compare each answer with the same alone.
	@$(BIN)/python -m tests.rpc.generator.stress $(STRESS)

soak: $(VENV)/dev-installed protos ## The generator under load: new versions, too many callers, an end in between, ten minutes of all.
	@$(BIN)/python -m tests.e2e.load $(SOAK)

check: $(VENV)/dev-installed protos ## Check format, lint and types.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

protos: $(STUBS) ## Build the Python stubs from the proto files.

%_pb2.py: %.proto | $(VENV)/installed
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. $<

up: ## Build the images and start the containers; the GPU ones where nvidia-smi answers.
	$(COMPOSE) build
	$(COMPOSE) up --detach --wait
	@$(COMPOSE) logs admin | grep -oE 'http://[^ ]*token=[^ ]*' | tail -n 1

down: ## Stop the containers. The volumes stay.
	$(COMPOSE) --profile command down

bench: $(VENV)/bench-installed protos ## Run the benchmarks of tests/bench; one JSON object per line.
	@for file in tests/bench/bench_*.py; do $(BIN)/python $$file || exit 1; done

bench-corpus: $(VENV)/dev-installed protos ## Imports against the script of 2019, and memory (BENCH='--posts 1000 --small-posts 0': quicker).
	@$(BIN)/python tests/bench/bench_corpus.py --peers $(or $(PEERS),yes) $(BENCH)

bench-tokenizer: $(VENV)/dev-installed protos ## Datasets, memory and calls of the tokenizer, against tiktoken (PEERS=no: alone).
	@$(BIN)/python tests/bench/bench_tokenizer.py --peers $(or $(PEERS),yes)

bench-index: $(VENV)/dev-installed protos ## The index of a corpus of ten million tokens: sorting, size, questions.
	@$(BIN)/python tests/bench/bench_index.py $(BENCH)

bench-drafts: $(VENV)/dev-installed protos ## Writing with drafts from the corpus and without, over gRPC; trains two small models first (BENCH="--folder F" keeps them).
	@$(BIN)/python tests/bench/bench_drafts.py $(BENCH)

bench-reciting: $(VENV)/dev-installed protos ## What keeping a model from reciting does and costs, and fifty whole posts (BENCH="--folder F" keeps its models).
	@$(BIN)/python tests/bench/bench_reciting.py $(BENCH)

bench-train: $(VENV)/oracles-installed protos ## A step of GPT-2 124M beside gpt-2-simple, transformers and KerasHub (PEERS=no: alone), and a checkpoint.
	@$(BIN)/python tests/bench/bench_train.py --peers $(or $(PEERS),yes) $(BENCH)
	@$(BIN)/python tests/bench/bench_checkpoint.py

bench-generate: $(VENV)/$(if $(filter no,$(PEERS)),dev,bench)-installed protos ## Writing with GPT-2 124M beside llama.cpp, CTranslate2 and others (BENCH="--cases 'prompt 224'": a part).
	@$(BIN)/python tests/bench/bench_generate.py --peers $(or $(PEERS),yes) $(BENCH)

parity: $(VENV)/oracles-installed protos ## Thirty steps of ours and of transformers: the losses are the same within 1e-3.
	@$(BIN)/python tests/bench/parity_train.py

screenshots: $(VENV)/dev-installed protos ## Draw every page anew into deploy/pictures (needs Chromium).
	@$(BIN)/python -m tests.e2e.screenshots

clean: ## Remove what was built: the environment, stubs and caches. The data folder stays.
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis protos/*_pb2* cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Nonesuch needs Python 3.11 or later; say PYTHON=python3.11"; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml deploy/constraints.txt | $(VENV)/bin/python
	@echo "installing the pinned dependencies into $(VENV) (a minute or two the first time)"
	@$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/dev-installed: $(VENV)/installed
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) --editable '.[all,dev,oracles]'
	@# Its requirements are of 2019; of them it needs toposort, tqdm and TensorFlow, which are here.
	@$(PIP) --no-deps gpt-2-simple
	@touch $@

$(VENV)/oracles-installed: $(VENV)/dev-installed
	@echo "installing what the benchmark of training compares with into $(VENV)"
	@# Its requirements hold TensorFlow's GPU package and a text package that training does not call.
	@$(PIP) --no-deps keras-hub
	@touch $@

$(VENV)/bench-installed: $(VENV)/oracles-installed
	@echo "installing what the benchmark of generation compares with into $(VENV) (llama.cpp is compiled: ten minutes)"
	@# Without the flags GCC drops what llama.cpp writes for AMX's tiles, and it crashes there (llama.cpp#26954).
	@CXXFLAGS='-fno-dse -fno-tree-dse' CMAKE_ARGS=-DGGML_NATIVE=ON $(PIP) --editable '.[all,dev,oracles,bench]'
	@touch $@

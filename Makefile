# Two commands do everything on a machine with Python >= 3.11:
#   make demo   a whole round on real data, in its own virtual environment
#   make test   the gate: lint, types, import contracts, tests
# While you work: make quick, the same with the unit tests alone.
PYTHON ?= python3
VENV   ?= .venv
# Which TensorFlow: mine-cpu (half the download), mine, or gpu.
MINE   ?= mine-cpu
# Which PyTorch `make peers` takes. PyPI's has CUDA, 6 GB in all; UV_TORCH_BACKEND=cpu takes PyTorch's own builds without.
TORCH  ?= torch
SEEDS  ?= 2000
START  ?= 0
# The newest Python that TensorFlow comes for.
NEWEST ?= 3.13
# How long mutants are run at a time; the next run goes on where the last one ended.
SECONDS ?= 3600

# The tests of the ledger and the protocol library, and what of them and of the layers above is done within a minute.
LIBRARY := $(addprefix tests/,ledger_store protocol consensus incentive contract replica corrupt)
QUICK := $(addprefix tests/,ledger_store protocol consensus incentive contract replica network application architecture) \
  $(addprefix --ignore=tests/,ledger_store/test_bitflips.py consensus/test_planted.py consensus/test_simulation.py)

# The tests of models and federations of other frameworks, and what the releases that Flower pins may change.
PEERS := tests/flower tests/cli tests/application \
  $(addprefix tests/learning/test_,graph_operations.py graph_models.py importing.py named_tensors.py running.py)

BIN := $(VENV)/bin
RUN := $(VENV)/.installed-$(MINE)
DEV := $(VENV)/.installed-dev
MUTATION := $(VENV)/.installed-mutation
RELEASE := $(VENV)/.installed-release
LOUD := $(BIN)/python -m pip install --disable-pip-version-check
PIP := $(LOUD) --quiet
LOCK := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header --no-annotate

.PHONY: demo test check quick coverage versions peers man lock simulate mutants release clean

demo: $(RUN)
	$(BIN)/fedcoin demo

test: check

check: $(RUN) $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

quick: $(RUN) $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -n2 $(QUICK)

# Branch coverage of the ledger and the protocol library by their own tests; fails below what pyproject.toml asks for.
coverage: $(RUN) $(DEV) $(RELEASE)
	$(BIN)/python -m coverage run -m pytest -n0 $(LIBRARY)
	$(BIN)/python -m coverage report

# The suite with the lowest and the newest dependencies, and on the newest Python.
versions: $(RUN) $(DEV) $(RELEASE)
	PATH="$(abspath $(BIN)):$$PATH" EXTRAS=$(MINE) tests/versions.sh $(NEWEST)

# Writes every generated file: man pages, settings.toml, docs/errors.md, docs/api.md, the tables in README.md. Tests compare them.
man: $(RUN) $(DEV)
	$(BIN)/python tests/generated.py
	$(BIN)/python tests/errors_page.py

# What the images install: the newest versions that pyproject.toml admits, each file with its hash.
lock: $(BIN)/python
	$(PIP) uv
	$(LOCK) pyproject.toml -o docker/lw.lock
	$(LOCK) pyproject.toml --extra mine-cpu -c docker/lw.lock -o docker/full.lock
	$(LOCK) pyproject.toml --extra flower --extra data -o docker/flower.lock
	echo 'setuptools>=77' | $(LOCK) - -o docker/build.lock

simulate: $(RUN) $(DEV)
	$(BIN)/python tests/simulator.py --seeds $(SEEDS) --start $(START)

# Plants faults one at a time in the modules that decide about money; fails when the tests miss one without a reason.
mutants: $(RUN) $(MUTATION)
	$(BIN)/python tests/mutants.py --seconds $(SECONDS)

# What the gate has not: PyTorch, which is large, and Flower, which pins older releases of typer and rich. Without triton:
# it and TensorFlow both register LLVM's options, and a process that loads the two is ended by LLVM.
peers: $(BIN)/python
	$(PIP) uv
	$(BIN)/uv venv --quiet --clear --python 3.11 build/peers
	$(BIN)/uv pip install --quiet --python build/peers/bin/python --editable '.[$(MINE),flower,onnx,dev]' 'flwr[simulation]' '$(TORCH)'
	$(BIN)/uv pip uninstall --quiet --python build/peers/bin/python triton
	build/peers/bin/python -m pytest -n0 $(PEERS)
	KERAS_BACKEND=torch build/peers/bin/python -m pytest -n0 tests/learning/test_graph_keras.py

release: check coverage versions peers
	@git log -1 --format='commit %h'
	$(MAKE) simulate SEEDS=100000 START=0
	$(BIN)/python tests/mutation_gate.py
	$(MAKE) mutants
	$(BIN)/python tests/scenarios --full
	$(BIN)/python -m benchmarks.fuzz --runs 200000
	$(BIN)/python -m benchmarks.attacks
	$(BIN)/python -m benchmarks.audit
	$(BIN)/python -m benchmarks.longrun
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.siege
	$(BIN)/python -m benchmarks.containers

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("FedCoin needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml | $(BIN)/python
	@echo 'installing FedCoin with TensorFlow ($(MINE)) into $(VENV): once; TensorFlow is large, so this takes minutes'
	$(LOUD) --editable '.[$(MINE)]'
	touch $@

$(DEV): pyproject.toml | $(RUN)
	$(PIP) --editable '.[dev]'
	touch $@

$(MUTATION): pyproject.toml | $(DEV)
	$(PIP) --editable '.[mutation]'
	touch $@

$(RELEASE): pyproject.toml | $(DEV)
	$(PIP) --editable '.[release]'
	touch $@

clean:
	rm -rf mutants build dist demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

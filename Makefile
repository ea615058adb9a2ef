# Set-up and everything that is run on this project. `make demo` and `make test` need nothing but
# Python 3.11+ and, for speed, a C compiler; both create .venv on the first call.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := spaces svtmodels evaluators cluster search

# One thread per worker, no spinning threads, no page faults on every temporary: on shared cores
# these matter more than the code (measured 2 to 20 times).
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 8589934592

.PHONY: demo test test-all check format bench-networks bench-engine bench-surgery bench-search bench-workers bench-order bench-prefix bench-gates bench-belief bench-strategies bench-suggest bench-papers clean

demo: $(VENV)/installed
	rm -rf runs/demo
	$(BIN)/spikefront search examples/demo.yaml

test: $(VENV)/installed
	$(BIN)/python -m pytest

test-all: $(VENV)/installed
	$(BIN)/python -m pytest -m "slow or not slow"

check: $(VENV)/installed .types/spikefront
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_layering.py

bench-networks: $(VENV)/installed
	$(BIN)/python -m benchmarks.networks

bench-engine: $(VENV)/installed
	$(BIN)/python -m benchmarks.engine $(ARGUMENTS)

bench-surgery: $(VENV)/installed
	$(BIN)/python -m benchmarks.surgery $(ARGUMENTS)

bench-search: $(VENV)/installed
	$(BIN)/python -m benchmarks.search $(ARGUMENTS)

bench-workers: $(VENV)/installed
	$(BIN)/python -m benchmarks.workers $(ARGUMENTS)

bench-order: $(VENV)/installed
	$(BIN)/python -m benchmarks.order $(ARGUMENTS)

bench-strategies: $(VENV)/installed
	$(BIN)/python -m benchmarks.strategies $(ARGUMENTS)

bench-suggest: $(VENV)/installed
	$(BIN)/python -m benchmarks.suggest $(ARGUMENTS)

bench-gates: $(VENV)/installed
	$(BIN)/python -m benchmarks.gates $(ARGUMENTS)

bench-belief: $(VENV)/installed
	$(BIN)/python -m benchmarks.belief $(ARGUMENTS)

bench-prefix: $(VENV)/installed
	$(BIN)/python -m benchmarks.prefix $(ARGUMENTS)

bench-papers: $(VENV)/installed
	$(BIN)/python -m benchmarks.papers $(ARGUMENTS)

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; call make PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# The editable install is an import hook, which a type checker cannot see.
.types/spikefront:
	mkdir -p $@
	for room in $(ROOMS); do ln -sfn ../../$$room $@/$$room; done

clean:
	rm -rf $(VENV) .types runs build *.egg-info

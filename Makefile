# Everything happens in .venv; each target installs what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo check lint test bench soak peers clean

demo: .venv/.demo
	$(BIN)/evolgen models pull smollm2-135m
	$(BIN)/evolgen evolve examples/seeds.jsonl -o demo/evolved.jsonl -n 12 --rounds 2 --temperature 0.7 --max-tokens 256

check: lint
	$(BIN)/pytest -q -n 4 -m "not slow" $$($(BIN)/python -m tests.changed)

test: lint
	$(BIN)/pytest -q -n 4 -m "not slow"
	$(BIN)/pytest -q -m slow

bench: .venv/.dev
	$(BIN)/python -m tests.bench.engine
	$(BIN)/python -m tests.bench.growing
	$(BIN)/python -m tests.bench.curate
	$(BIN)/python -m tests.bench.local

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .peers demo dist .evolgen

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "evolgen needs Python 3.11 or newer; name one with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,local,language,semantic,parquet,zstd]'
	@touch $@

soak: .venv/.dev
	$(BIN)/python -m tests.soak

# other people's servers, for real; PyPI must be within reach
peers: .venv/.dev
	$(BIN)/python -m tests.peers.litellm_proxy

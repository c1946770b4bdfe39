# `make run` and `make test` need Python 3.11 or newer with venv, and nothing else by hand.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint bench soak clean

run: .venv/.ready
	$(BIN)/lsproxy demo

test: .venv/.tested
	$(BIN)/pytest -q -n 2 --dist loadgroup

lint: .venv/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.tested
	$(BIN)/python -m tests.bench

soak: .venv/.tested
	$(BIN)/pytest -q -m soak

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -e .
	touch $@

.venv/.tested: .venv/.ready
	$(BIN)/pip install -q --group test --group lint
	touch $@

clean:
	rm -rf .venv

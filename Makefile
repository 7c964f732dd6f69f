# make demo | test | test-lightning-1 | lint | bench : each sets up its own virtual environment first; a second run starts at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OLD := $(VENV)-lightning-1
DEVICES ?= 1
READY := $(VENV)/.ready
DATA := $(wildcard ../shared/data)
export EPOCHAL_TEST_DATA ?= $(abspath $(DATA))

.PHONY: demo test test-lightning-1 lint bench clean

$(READY): requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)
	$(BIN)/python examples/digits.py --devices $(DEVICES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

$(OLD)/.ready: requirements-lightning-1.txt
	test -x $(OLD)/bin/python || $(PYTHON) -m venv $(OLD)
	$(OLD)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-lightning-1.txt
	touch $@

test-lightning-1: $(OLD)/.ready
	PYTHONPATH=src $(OLD)/bin/python -W ignore -m pytest -W ignore -p no:cacheprovider tests/integrations

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(OLD) .mypy_cache .ruff_cache .pytest_cache

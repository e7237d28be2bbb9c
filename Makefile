# What people run. Everything that is fetched or built lands in .venv and .cache, once.

SHELL := /bin/bash
# The first that really runs and is new enough: a name on PATH may be a shim of a version that is not installed.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
FAILOVER_CACHE ?= $(CURDIR)/.cache
UV_VERSION := 0.13.9
BIN := .venv/bin

export FAILOVER_CACHE
export UV_CACHE_DIR ?= $(FAILOVER_CACHE)/uv
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup servers test-servers demo test check format bench histories clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

demo: setup servers ## One real incident, end to end, in under a minute (ARGS="--fault hang")
	@$(BIN)/failoverctl demo $(ARGS)

test: setup test-servers ## Every test (ARGS="tests/failover -k policy")
	@$(BIN)/pytest $(ARGS)

check: setup ## Format, lint, types, arrows between the layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup test-servers ## Measure detection, time to shift, loss and latency on this machine
	@$(BIN)/python -m bench $(ARGS)

histories: setup test-servers ## Record the workflow histories anew that tests replay
	@$(BIN)/python tests/replay/record.py

setup: .venv/.ready ## Create .venv with the locked dependencies

.venv/.ready: pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one, or name it with make PYTHON=/path/to/python."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is no Python 3.11 or newer that runs here: name one with make PYTHON=/path/to/python."; exit 1; }
	@test -x $(BIN)/python || { echo "Creating .venv with $(PYTHON) …"; "$(PYTHON)" -m venv .venv; }
	@test -x $(BIN)/uv || { echo "Installing uv $(UV_VERSION) …"; $(BIN)/python -m pip install --quiet uv==$(UV_VERSION); }
	@echo "Installing the locked dependencies (once; under a minute with a good network) …"
	@set -o pipefail; VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv sync --frozen 2>&1 | sed -u '/^ [+~-] /d'
	@touch $@

servers: setup
	@$(BIN)/python -m starter.embedded.temporal_server

test-servers: setup
	@$(BIN)/python -m starter.embedded.temporal_server --test-server

clean: ## Remove .venv, the caches and what a stack left behind
	rm -rf .venv .cache .state

# Everything a newcomer types. Needs make and Python 3.11, 3.12 or 3.13 with venv; the rest comes from the package index.
# The tests need a PostgreSQL server's programs too; on Debian: apt install postgresql

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON := $(BIN)/python
# TensorFlow takes 15 s longer to start where Python may not keep what it compiled
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list.
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); expected Python 3.11, 3.12 or 3.13. Say which: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(UV): requirements/uv.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# what runs and what the demo needs
$(VENV)/.demo: requirements/demo.txt pyproject.toml $(UV)
	$(UV) pip install --quiet --require-hashes -r requirements/demo.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# the same versions, and what tests, types, lint and documentation need
$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	$(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: install
install: $(VENV)/.demo ## Make .venv with what the pipeline needs.

.PHONY: demo
demo: $(VENV)/.demo ## Run the whole job on real images of solar cells (5 to 7 minutes).
	@$(BIN)/python -m infra.demo.run

.PHONY: up
up: $(VENV)/.demo ## Start Airflow and MLflow on this machine; Ctrl-C stops both.
	@$(BIN)/python -m infra.local.up

.PHONY: down
down: ## Stop what `make up` started elsewhere.
	@$(BIN)/python -m infra.local.down

.PHONY: airflow
airflow: $(VENV)/.demo ## Airflow's command line: make airflow CMD="dags list".
	@$(BIN)/python -m infra.local.airflow $(CMD)

.PHONY: test
test: $(VENV)/.dev postgresql lint types docs ## Lint, types, contracts, documentation, fast tests (needs PostgreSQL).
	$(BIN)/python -m pytest -m "not e2e and not slow"

# the tests would say the same, but only after minutes
.PHONY: postgresql
postgresql: $(VENV)/.dev
	@$(BIN)/python -m tests.postgresql

.PHONY: lint
lint: $(VENV)/.dev ## Style and import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: types
types: $(VENV)/.dev ## Types, strictly.
	$(BIN)/mypy

.PHONY: docs
docs: $(VENV)/.dev ## Build the documentation into site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: test-e2e
test-e2e: $(VENV)/.dev postgresql ## Start the real scheduler and MLflow, trigger a run over REST, see it through to rows.
	$(BIN)/python -m pytest -m e2e

.PHONY: test-slow
test-slow: $(VENV)/.dev ## Tests that take minutes: the demo twice, the notebook.
	$(BIN)/python -m pytest -m slow -rP

.PHONY: bench
bench: $(VENV)/.dev postgresql ## Measure speed, memory and growth; writes docs/performance.md (about an hour).
	$(BIN)/python -m tests.benchmarks.performance

.PHONY: promises
promises: $(VENV)/.dev ## Measure false alarms, the gate and drift on real images; writes docs/promises.md (about 30 minutes).
	$(BIN)/python -m tests.benchmarks.promises

.PHONY: lock
lock: $(UV) ## Choose versions anew for requirements/*.txt.
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 requirements/uv.in -o requirements/uv.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 pyproject.toml --extra dev -o requirements/dev.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 pyproject.toml --extra demo -c requirements/dev.txt -o requirements/demo.txt

.PHONY: clean
clean: ## Remove what tools left behind; the workspace and .venv stay.
	rm -rf site dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

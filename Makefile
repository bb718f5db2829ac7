# Every command a contributor or a first user needs. `make` alone lists them.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
TOOL := connector/.venv
ARGS ?=
SEEDS ?= 1,2,3
# The suite waits a lot: one process more than there are processors. Beyond eight, each spends longer
# on finding its tests than on running them; so it is with a few tests that ARGS chooses.
SHARED = -n $(shell $(BIN)/python -c 'import os; print(min((os.cpu_count() or 1) + 1, 8))') --dist loadfile
# One process has the suite on PostgreSQL, which comes first and shares itself, the other all else.
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder
# Those of the real tests that have more to do where they are given seeds, or nothing without.
CHAOS := chaos tunnel_chaos partition killed_worker slow_clients noisy_tenant silent_upstream
# A gateway that a test starts, and each process of a run, would compile everything again.
test real chaos: export PYTHONDONTWRITEBYTECODE :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run connector test real chaos lint bench format requirements clean

help: ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: .venv/run.stamp .env ## Set up on the first run, then serve on 127.0.0.1:8084.
	@$(BIN)/python manage.py setup --before-serving
	@exec $(BIN)/python manage.py serve

connector: $(TOOL)/run.stamp ## Install the connector into connector/.venv, with pip alone.
	@echo "$(TOOL)/bin/ops-connector"

test: .venv/dev.stamp $(TOOL)/dev.stamp ## Run the whole suite on SQLite, and the connector's. ARGS='-k name' for less.
	$(BIN)/python -m pytest -m "not real" $(or $(ARGS),$(SHARED))
	@# From its own directory: in the root, `mcp` would be our app and not the SDK. 5: nothing matched ARGS.
	cd connector && .venv/bin/python -m pytest -m "not real" $(or $(ARGS),$(SHARED)) || [ $$? = 5 ]

real: .venv/dev.stamp $(TOOL)/dev.stamp ## Install the real peers (Claude Code, SDKs, LiteLLM, PostgreSQL, nginx, bubblewrap, Keycloak, Chromium) and test against them.
	$(BIN)/python -m tests.real.install
	OPSCENTER_REAL=1 $(BIN)/python -m pytest -m real $(or $(ARGS),$(BESIDE))
	cd connector && OPSCENTER_REAL=1 .venv/bin/python -m pytest tests/sandbox $(ARGS) || [ $$? = 5 ]

chaos: .venv/dev.stamp $(TOOL)/dev.stamp ## Kill everybody at random, three times, and balance books and tool calls; what else takes minutes; a minute's race on each file tool. SEEDS=7 for one.
	OPSCENTER_REAL=1 OPSCENTER_CHAOS_SEEDS=$(SEEDS) $(BIN)/python -m pytest -m real $(CHAOS:%=tests/real/test_%.py) $(ARGS)
	cd connector && .venv/bin/python -m pytest -m real -s tests/test_local_race.py

lint: .venv/dev.stamp $(TOOL)/dev.stamp ## Format, rules, types, layers, file sizes, missing migrations.
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/hadolint Dockerfile
	$(BIN)/mypy --no-error-summary .
	cd connector && .venv/bin/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo 2>&1 | tail -n 20; exit $${PIPESTATUS[0]}
	@git ls-files -co --exclude-standard '*.py' | grep -v /migrations/ | xargs wc -l | \
		awk '$$2 != "total" && $$1 > 300 { print $$2 " has " $$1 " lines; 300 is the bound"; bad = 1 } END { exit bad }'
	@DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m django makemigrations --check --dry-run

bench: .venv/dev.stamp $(TOOL)/dev.stamp ## Measure ours, the raw floor and LiteLLM's proxy in one run, tool calls, and how well requests are understood. ARGS='--quick' for less.
	$(BIN)/python -m bench $(ARGS)
	$(BIN)/python -m bench.tunnel $(if $(findstring --quick,$(ARGS)),--quick)
	$(BIN)/python -m bench.sandbox $(if $(findstring --quick,$(ARGS)),--quick)
	$(BIN)/python -m bench.lists $(if $(findstring --quick,$(ARGS)),--quick)
	$(BIN)/python -m bench.intent

format: .venv/dev.stamp ## Bring the code into its form.
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

requirements: .venv/dev.stamp ## Pin what requirements*.in ask for, with hashes.
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q requirements.in -o requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q requirements-dev.in -c requirements.txt -o requirements-dev.txt
	cd connector && ../$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-annotate --no-header -q pyproject.toml -o requirements.txt
	cd connector && ../$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-annotate --no-header -q pyproject.toml requirements-dev.in -c requirements.txt -o requirements-dev.txt

clean: ## Remove what the other commands made, but never the data in var/*.sqlite3 or .env.
	rm -rf .venv $(TOOL) .mypy_cache connector/.mypy_cache connector/.pytest_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache var/test var/real var/bench

.env: .venv/run.stamp
	@$(BIN)/python -m opscenter.first_env

.venv/run.stamp: requirements.txt | .venv/bin/python
	@echo "Installing what the server needs ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt | .venv/bin/python
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@ .venv/run.stamp

$(TOOL)/run.stamp: connector/requirements.txt connector/pyproject.toml | $(TOOL)/bin/python
	@echo "Installing what the connector needs ..."
	@$(TOOL)/bin/python -m pip install --quiet --require-hashes -r connector/requirements.txt
	@$(TOOL)/bin/python -m pip install --quiet --no-deps --editable connector
	@touch $@

$(TOOL)/dev.stamp: connector/requirements-dev.txt $(TOOL)/run.stamp
	@echo "Installing what the connector's tests need ..."
	@$(TOOL)/bin/python -m pip install --quiet --require-hashes -r connector/requirements-dev.txt
	@touch $@

# It runs on 3.10 too, so it takes the Python that is there.
$(TOOL)/bin/python: | .venv/bin/python
	@$(PYTHON) -m venv $(TOOL)

# Debian keeps venv in a package of its own. As root we add it; anybody else is told how.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Ops-Center needs Python 3.11 or newer. Say which: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && \
		apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } || \
		{ echo "Python's venv is missing. Install it: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv

# One way to do each thing. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help compiled run stop check test test-compose sim bench chaos chaos-long golden
PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "SwarmSync needs Python 3.11 or later"; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "Installing SwarmSync and what it needs into .venv ..."
	@.venv/bin/python -m pip install $(PIP_FLAGS) -e '.[dev]'
	@touch .venv/installed

compiled: .venv/installed ## compile the hot modules, where there is a C compiler and they have changed
	@.venv/bin/python scripts/compile.py

run: .venv/installed ## start Core, run three real jobs through it, stop it
	@scripts/demo.sh
	@$(MAKE) --no-print-directory compiled

stop: ## stop the Core of this machine's user, if one runs
	@.venv/bin/swarmsyncd stop

check: .venv/installed ## format, lint, types, import rules
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

test: compiled ## every test, with all that it needs (Docker included)
	@scripts/test.sh

test-compose: .venv/installed ## build the images and drive the Compose stack; needs root and docker-compose
	@scripts/test.sh -m compose tests/compose

sim: compiled ## the simulation with many seeds: make sim SEEDS=5000
	@SWARMSYNC_TEST_COMPILED=may SWARMSYNC_SIM_SEEDS=$(or $(SEEDS),2000) .venv/bin/python -m pytest tests/simulation/test_simulation_seeds.py

bench: compiled ## measure; see bench --help for single scenarios
	@.venv/bin/bench all --quick

chaos: compiled ## break a running Core for 10 minutes; is anything lost? make chaos SEED=7 has a run again
	@.venv/bin/bench chaos --seconds 500 --out var/chaos $(if $(SEED),--seed $(SEED)) --ledger bench/baselines/chaos-ledger.jsonl
	@if docker info >/dev/null 2>&1; then .venv/bin/bench chaos --docker --scenario workers --seconds 90 \
		--out var/chaos-docker $(if $(SEED),--seed $(SEED)) --ledger bench/baselines/chaos-ledger.jsonl; \
		else echo "No Docker engine answers: no containers were left without their agent."; fi

chaos-long: compiled ## faults of all kinds side by side, for 80 minutes
	@.venv/bin/bench chaos --hard --seconds 4800 --out var/chaos $(if $(SEED),--seed $(SEED)) --ledger bench/baselines/chaos-ledger.jsonl

golden: .venv/installed ## write the golden files anew; review the difference
	@SWARMSYNC_GOLDEN=write .venv/bin/python -m pytest tests/golden -q

# `make help` lists the targets. Every target that needs the environment sets it up first.
.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test lint format bench-ingest bench-forecast \
	bench-freshness bench-idle bench-partitions bench-scale bench-pages chaos lock
# The steps of one target depend on each other: never side by side.
.NOTPARALLEL:

PYTHON ?=
DATA ?=
ONCE ?=
DELETE ?=
RUN := .venv/bin/python

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

setup: ## The environment in .venv, a Java if there is none, and the jars; nothing is started
	@PYTHON="$(PYTHON)" sh local_stack/setup.sh

demo: setup ## Everything from nothing until Ctrl-C; DATA=dir for Kaggle's files, ONCE=1 ends by itself
	@$(RUN) -m local_stack demo $(if $(DATA),--data "$(DATA)") $(if $(filter-out 0,$(ONCE)),--once)

up: setup ## The stack in the background, its data kept; DATA=dir loads Kaggle's files
	@$(RUN) -m local_stack up $(if $(DATA),--data "$(DATA)")

down: ## End what `make up` started; DELETE=1 deletes its data as well
	@test -f .venv/installed.lock || { echo "Nothing runs: \`make setup\` has not been done." >&2; exit 1; }
	@$(RUN) -m local_stack down $(if $(filter-out 0,$(DELETE)),--delete-data)

status: ## What runs, and where
	@test -f .venv/installed.lock || { echo "Nothing runs: \`make setup\` has not been done." >&2; exit 1; }
	@$(RUN) -m local_stack status

lint: setup ## Lint, format, types and import arrows; changes nothing
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports

format: setup ## Put the code into the house's format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

test: lint ## The whole suite, the same as continuous integration
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 15 --cov --cov-report=term

bench-ingest: setup ## The stream beside its ceiling and its peers; the last line is JSON
	$(RUN) -m benchmarks.ingest

bench-freshness: setup ## From a day's last event to its forecasts; DATA=dir for Kaggle's files; the last line is JSON
	$(RUN) -m benchmarks.freshness $(if $(DATA),--data "$(DATA)")

bench-idle: setup ## Processor time and memory of a stack with nothing to do, by service; the last line is JSON
	$(RUN) -m benchmarks.idle

bench-partitions: setup ## What Dagster's records cost, with this project's settings and without; the last line is JSON
	$(RUN) -m benchmarks.partitions

bench-scale: setup ## How cost grows with 1, 3 and 10 times the stores; the last line is JSON
	$(RUN) -m benchmarks.scale

bench-pages: setup ## How long the UI's pages take to open in Chromium; the last line is JSON
	@sh local_stack/setup.sh pages
	$(RUN) -m benchmarks.pages

bench-forecast: setup ## The forecasts beside their peers on Kaggle's files in DATA; the last line is JSON
	@test -n "$(DATA)" || { echo "DATA=dir names the folder of Kaggle's files." >&2; exit 1; }
	@sh local_stack/setup.sh bench
	$(RUN) -m benchmarks.forecast --data "$(DATA)"

chaos: setup ## Faults in refreshes, then on a stream that stays up: ROUNDS=100 SEED=1
	$(RUN) -m pytest -m "chaos or not chaos" tests/faults/test_refresh_kills.py
	$(RUN) -m tests.faults --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED))

lock: setup ## Resolve pyproject.toml into requirements.lock again
	$(RUN) -m uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock

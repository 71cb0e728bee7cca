# Everything a person types here; `make` alone lists it. Each target makes its environment first.
.DEFAULT_GOAL := help
SHELL := bash
PY := .venv/bin/python
WITH_ENGINE := $(PY) -m testbed.engine run --
ARGS ?=
B ?=
# Which router stands in front of the servers of `make run`.
ROUTER ?= example
# Most tests wait for real servers, so several files run at once; a file's own tests run one after the other.
WORKERS ?= 3

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

.PHONY: setup
setup: ## make .venv with the locked packages (the other targets do it by themselves)
	@scripts/setup.sh

.PHONY: demo
demo: setup ## freeze a real model server and watch it being seen, routed around and restarted
	@$(PY) -m examples.demo $(ARGS)

.PHONY: run
run: setup ## the same stack, left up to play with until Ctrl-C (ROUTER=haproxy for another router)
	@$(PY) -m examples.demo --stay --router $(ROUTER) $(ARGS)

.PHONY: test
test: setup $(if $(ARGS),,core) ## all tests, on a real engine (ARGS="-k name" picks some)
	@$(if $(ARGS),,$(WITH_ENGINE) $(PY) -m testbed.prepare)
	@$(WITH_ENGINE) $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: core
core: setup ## the pure core's tests, with every branch covered
	@export COVERAGE_FILE=.cache/coverage; mkdir -p .cache; \
	$(PY) -m coverage run -m pytest -q -m "not slow" tests/core && $(PY) -m coverage report --skip-covered --show-missing --fail-under=100

.PHONY: check
check: lint types ## lint, types and the tests that need no engine and no patience
	@$(PY) -m pytest -q -m "not engine and not slow" $(ARGS)

.PHONY: lint
lint: setup ## ruff: rules and format
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

.PHONY: types
types: setup ## mypy, strict, on package and tests
	@$(PY) -m mypy

.PHONY: install
install: ## put it on this host as a service of systemd, as root (ARGS=--dry-run says what that writes)
	@$${PYTHON:-python3} -m supervisor.install $(ARGS)

.PHONY: uninstall
uninstall: ## take it off again; settings and state stay (ARGS=--purge)
	@$${PYTHON:-python3} -m supervisor.install --uninstall $(ARGS)

.PHONY: deb
deb: ## build a Debian package for this machine's Python, into dist/
	@$${PYTHON:-python3} scripts/build_deb.py

.PHONY: bench
bench: setup ## the benchmarks, or one of them (B=recovery)
	@$(WITH_ENGINE) $(PY) -m bench $(B) $(ARGS)

.PHONY: lock
lock: setup ## pin the dependencies anew (ARGS=--upgrade for newer ones)
	@scripts/lock.sh $(ARGS)

.PHONY: clean
clean: ## remove what make made
	@rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

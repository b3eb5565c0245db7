# Everything that a person does with a checkout. Each target makes its own .venv; Python 3.11+ and make are enough.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find -L kbstore -name '*.py' -o -name '*.sql' -o -name 'py.typed') README.md
PYTEST := PYTHONPATH=$(CURDIR)/build/wheel KBSTORE_WHEEL=$(CURDIR)/build/wheel $(BIN)/pytest
JOBS ?= 2
SAMPLE ?= 300
SEED ?= 1

.PHONY: help venv demo test test-long s3rver cases lint docs audit format bench bench-s3 mutants clean

help:
	@echo "make demo       the main job on a real support knowledge base"
	@echo "make test       every test but the long ones, on the built wheel (JOBS=$(JOBS) processes)"
	@echo "make test-long  everything, with all random runs at full length"
	@echo "make s3rver     the test of a server that must be refused (s3rver, by npm)"
	@echo "make cases      the tests of cases that once went wrong (tests/cases), on the built wheel"
	@echo "make lint       ruff, mypy --strict, import contracts, plain words in docstrings"
	@echo "make docs       the documentation as a site, in build/site"
	@echo "make audit      bandit, and pip-audit over the network"
	@echo "make format     ruff format"
	@echo "make bench      the figures of the README, measured here"
	@echo "make bench-s3   requests and round trips of a store on S3"
	@echo "make mutants    changes of the code that no test notices (SAMPLE=$(SAMPLE) SEED=$(SEED))"
	@echo "make clean      remove what these made"

venv: .venv/.made

.venv/.made: pyproject.toml kbstore/_version.py
	@$(PYTHON) -c 'import sys; sys.exit("kbstore needs Python 3.11 or newer; say make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

build/wheel/.made: .venv/.made $(SOURCES)
	@rm -rf build/wheel build/dist
	@$(BIN)/python -m pip wheel --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/dist .
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --target build/wheel build/dist/*.whl
	@touch $@

demo: .venv/.made
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m examples.troubleshooting

test: build/wheel/.made
	@$(PYTEST) -q -n $(JOBS) --dist worksteal

# A server without conditions, which must be refused.
build/npm/.made:
	@command -v npm >/dev/null || { echo "s3rver needs npm" >&2; exit 1; }
	@mkdir -p build/npm
	@npm install --silent --no-audit --no-fund --prefix build/npm s3rver@3.7.1
	@touch $@

s3rver: build/wheel/.made build/npm/.made
	@KBSTORE_LONG=1 $(PYTEST) -q tests/s3/test_servers.py -k s3rver

test-long: build/wheel/.made build/npm/.made
	@for tool in strace git; do command -v $$tool >/dev/null || { echo "make test-long needs $$tool" >&2; exit 1; }; done
	@KBSTORE_LONG=1 PYTEST_TIMEOUT=7200 $(PYTEST) -n $(JOBS) --dist worksteal

cases: build/wheel/.made
	@$(PYTEST) -q -n $(JOBS) --dist worksteal tests/cases

lint: .venv/.made
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tools.voice

# Pages must open without a network: no script, style, font or picture of another host.
docs: .venv/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@! grep -rEon '<(script|link|img)[^>]* (src|href)="https?://[^"]*\.(js|css|woff2?|png|svg)' build/site || { echo "a page loads from another host" >&2; exit 1; }

.venv/.docs: .venv/.made
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

audit: .venv/.made
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml backends health kbstore migrator
	@mkdir -p build
	@$(BIN)/python -m pip freeze --exclude-editable > build/installed.txt
	@$(BIN)/pip-audit --progress-spinner off --strict --disable-pip --no-deps --requirement build/installed.txt

format: .venv/.made
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.made
	@$(BIN)/python -m benchmarks

bench-s3: .venv/.made
	@$(BIN)/python -m benchmarks.s3

.venv/.mutants: .venv/.made
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[mutants]'
	@touch $@

mutants: .venv/.mutants
	@$(BIN)/python -m tools.mutants --sample $(SAMPLE) --seed $(SEED) --jobs $(JOBS)

clean:
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

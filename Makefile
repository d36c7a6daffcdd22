# Everything a clone needs: each target makes .venv and installs what it uses, once.
#
#   make demo       train on real digits, see the numbers and the pictures (under out/)
#   make test       ruff, pyright, then the test suite; what continuous integration runs
#   make test-full  the same with the slow tests
#   make lint       ruff and pyright alone (make format repairs what ruff can)
#   make bench      side by side with Keras and PyTorch (installs them: gigabytes)
#   make coverage-table  how much of Keras is here: writes docs/api_coverage.md
#   make clean      remove .venv, caches and out/

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check

.PHONY: demo test test-full lint format bench coverage-table clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   make/make/p' Makefile

demo: .venv/installed-demo
	$(BIN)/python -m carnyx demo

test: lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow" --quick-compile

test-full: lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

coverage-table: .venv/installed-test
	$(BIN)/python tools/api_coverage.py --write

clean:
	rm -rf .venv out build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file per extra: reinstalled only when what it depends on has changed.
.venv/installed-%: pyproject.toml constraints.txt | .venv/made
	@echo "Installing carnyx[$*] into .venv ..."
	@$(PIP) install -e '.[$*]' -c constraints.txt
	@touch $@

.venv/made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Carnyx needs Python 3.11 or newer, and there is no '$(PYTHON)' on the PATH." \
	       "Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Carnyx needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." \
	       "Name a newer one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv"; \
	  rm -rf .venv; exit 1; }
	@touch $@

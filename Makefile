# UNet Atlas: `make book` builds the site into _build/html, `make test` checks the code.
# Another interpreter: make book PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready

.DEFAULT_GOAL := book
.PHONY: book test lint format clean venv

book: $(READY)
	$(PY) scripts/build_book.py

test: lint
	$(PY) -m pytest -m "not browser" -n auto --maxprocesses 4 --dist loadfile --cov --cov-report term

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(READY)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

venv: $(READY)

# Installed again whenever one of the three files changes.
$(READY): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit(f"unet-atlas needs Python 3.11 to 3.13, but $(PYTHON) is {v[0]}.{v[1]}: name another with PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -r requirements.txt -c constraints.txt
	$(PY) -m pip install --quiet --no-deps -e .
	@touch $@

clean:
	rm -rf _build .pytest_cache .ruff_cache .coverage .coverage.*

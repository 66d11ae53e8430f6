# UNet Atlas: `make book` builds the site into _build/html, `make test` checks the code.
# Another interpreter: make book PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
LAB    := $(VENV)/lab

.DEFAULT_GOAL := book
.PHONY: book pdf test test-all lint format clean venv serve notebook notebooks

book: $(READY)
	$(PY) scripts/build_book.py

# _build/html/unet-atlas.pdf, linked from the start page; needs Chromium
pdf: book
	$(PY) scripts/print_book.py

# Rebuilds while you write: http://localhost:8000
serve: $(READY)
	$(PY) scripts/serve_book.py

# The chapters in JupyterLab
notebook: $(LAB)/.ready
	$(LAB)/bin/jupyter lab book

# book/**/x.ipynb from book/**/x.md, for Colab, Kaggle and Binder
notebooks: $(READY)
	$(PY) scripts/make_notebooks.py

# Each worker has one thread: together they have the cores, and don't wait for each other's.
# `test-all` adds what runs once a week: more models, sizes and scenes of what `test` has too.
test test-all: export OMP_NUM_THREADS ?= 1
test: KIND := not browser and not weekly
test-all: KIND := not browser
test test-all: lint
	$(PY) -m pytest -m "$(KIND)" -n auto --maxprocesses 4 --dist loadfile --durations 20 \
	  --cov --cov-report term

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

# JupyterLab lives apart, so that the book's environment stays as it is pinned; its kernel is the
# book's Python, and a click on a chapter opens it as a notebook.
$(LAB)/.ready: $(READY)
	$(PYTHON) -m venv $(LAB)
	$(LAB)/bin/python -m pip install --quiet jupyterlab==4.6.6 jupytext -c requirements.txt -c constraints.txt
	$(PY) -m ipykernel install --prefix $(LAB) --name python3 --display-name "UNet Atlas"
	@mkdir -p $(LAB)/share/jupyter/lab/settings
	@echo '{"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Jupytext Notebook", "myst": "Jupytext Notebook"}}}' > $(LAB)/share/jupyter/lab/settings/overrides.json
	@touch $@

clean:
	rm -rf _build .pytest_cache .ruff_cache .coverage .coverage.*

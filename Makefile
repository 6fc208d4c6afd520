# Two commands do everything: `make app` and `make test`. Both set up .venv in this folder first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
PYTEST := $(BIN)/python -m pytest

.PHONY: app test test-fast bench lint clean

$(VENV)/.app: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.app $(wildcard requirements-*.txt)
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	touch $@

app: $(VENV)/.app
	$(BIN)/winnow demo --queue
	$(BIN)/streamlit run app.py --server.port $(PORT)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	$(PYTEST) --numprocesses logical --dist loadfile -m 'not alone'
	$(PYTEST) -m alone tests/runtime/cluster

# Everything but browsers, kills and clusters, for while you work.
test-fast: $(VENV)/.dev
	$(PYTEST) --numprocesses logical --dist worksteal -m 'not (browser or kill or cluster)'

bench: $(VENV)/.dev
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) cache/*/ cache/*.sqlite*

# Two commands do everything: `make app` and `make test`. Both set up .venv in this folder first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501

.PHONY: app test bench lint clean

$(VENV)/.app: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.dev: $(VENV)/.app requirements-dev.txt requirements-ray.txt
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	touch $@

app: $(VENV)/.app
	$(BIN)/python -m engine demo --queue
	$(BIN)/streamlit run app.py --server.port $(PORT)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile -m 'not alone'
	$(BIN)/python -m pytest -m alone tests/cluster

bench: $(VENV)/.dev
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) cache/*/ cache/*.sqlite*

# `make demo` and `make test` set up everything they need in .venv; nothing is installed outside it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CORE   := $(VENV)/.core
DEV    := $(VENV)/.dev
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
OUT    := outputs/demo

.PHONY: demo test test-all check lint types docs dist test-dist clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(CORE) ## Animate the bundled image with the bundled reference video
	@mkdir -p $(OUT)
	@$(BIN)/vap generate --demo -o $(OUT)/demo.mp4 --sheet $(OUT)/demo.png
	@echo "Next, with a video and a picture of your own:"
	@echo "  source $(BIN)/activate"
	@echo "  vap generate --reference clip.mp4 --image photo.jpg -o out.mp4"

test: $(DEV) ## Run the fast tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(DEV) ## Run all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: lint types ## Lint and type-check

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(DEV)
	$(BIN)/mypy

docs: $(DEV) ## Build the documentation as a site
	$(BIN)/zensical build --clean --strict
	@echo "Read it at http://localhost:8000: $(BIN)/zensical serve"

dist: $(DEV) ## Build wheel and sdist into dist/
	rm -rf dist
	$(BIN)/python -m hatchling build

test-dist: $(DEV) ## Test wheel and sdist
	$(BIN)/python -m pytest tests/test_wheel.py

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) outputs .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first: a lone requirement lets pip take the build that suits this machine.
$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing PyTorch and what vap needs into $(VENV); this takes some minutes, once."
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

$(DEV): $(CORE) Makefile
	$(PIP) --editable '.[cuts,data,dev,docs,eval,filter,postgresql,quant,ray,serve,study,train]'
	@touch $@

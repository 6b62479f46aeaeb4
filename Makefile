# Everything runs in .venv, which these targets make themselves. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Ultralytics asks for no network here, installs nothing by itself, and keeps its settings in .venv.
export YOLO_AUTOINSTALL := false
export YOLO_CONFIG_DIR := $(abspath $(VENV)/config)

.PHONY: help demo test test-slow lint types figures clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): setup.cfg setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade "setuptools>=77"
	$(BIN)/python -m pip install --no-build-isolation --editable ".[dev]"
	mkdir -p $(YOLO_CONFIG_DIR)
	touch $@

test: $(READY) lint types ## Lint, types, tests (about 10 minutes on two cores)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY) ## The tests that train for minutes
	$(BIN)/python -m pytest -m slow

lint: $(READY) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy
	$(BIN)/mypy

demo: $(READY) ## Train, validate, export and predict on generated data (10 minutes)
	$(BIN)/python scripts/demo.py

figures: $(READY) ## Draw the README's figures anew
	$(BIN)/python scripts/draw_neck.py docs/neck.png

clean: ## Remove the environment and all that the targets left
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

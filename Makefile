# Everything runs in .venv, which these targets make themselves. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Ultralytics asks for no network here, installs nothing by itself, and keeps its settings in .venv.
export YOLO_AUTOINSTALL := false
export YOLO_CONFIG_DIR := $(abspath $(VENV)/config)

.PHONY: help demo test test-slow fuzz test-ray lint types figures clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): setup.cfg setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade "setuptools>=77"
	$(BIN)/python -m pip install --no-build-isolation --editable ".[dev]"
	mkdir -p $(YOLO_CONFIG_DIR)
	touch $@

test: $(READY) lint types ## Lint, types, tests (about 14 minutes on two cores)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY) ## The tests that train for minutes
	$(BIN)/python -m pytest -m slow

EXAMPLES := 50
SECONDS := 600
SEED := 0
fuzz: $(READY) ## Necks by chance: EXAMPLES a seed, for SECONDS, from SEED on (50, 600, 0)
	nice -n 19 $(BIN)/python -m tests.fuzz --examples $(EXAMPLES) --seconds $(SECONDS) --seed $(SEED)

test-ray: $(READY) ## Install Ray, and run the search that needs it
	$(BIN)/python -m pip install --editable ".[ray]" --no-build-isolation
	$(BIN)/python -c "import ray.tune"
	$(BIN)/python -m pytest tests/test_several_processes.py -k ray

lint: $(READY) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy
	$(BIN)/mypy

DEMO := $(abspath demo)
BEST := $(DEMO)/train/weights/best
YOLO := $(BIN)/yolo
demo: $(READY) ## Train, validate, export, predict on generated data (under 10 minutes)
	$(YOLO) settings datasets_dir=$(DEMO)/datasets > $(VENV)/settings.log
	$(YOLO) train model=yolov5n-afpn.yaml data=shapes.yaml epochs=13 imgsz=192 batch=8 mosaic=0 \
		warmup_epochs=1 optimizer=AdamW lr0=0.0025 momentum=0.9 workers=1 project=$(DEMO) name=train exist_ok=True
	$(YOLO) val model=$(BEST).pt data=shapes.yaml imgsz=192 project=$(DEMO) name=val exist_ok=True
	$(YOLO) export model=$(BEST).pt format=onnx imgsz=192
	$(YOLO) predict model=$(BEST).onnx source=$(DEMO)/datasets/afpn-shapes/images/val imgsz=192 \
		project=$(DEMO) name=predict exist_ok=True
	@echo
	@echo "Checkpoint:                $(BEST).pt"
	@echo "ONNX:                      $(BEST).onnx"
	@echo "Curves of the training:    $(DEMO)/train/results.png"
	@echo "Labels beside predictions: $(DEMO)/val/val_batch0_labels.jpg, val_batch0_pred.jpg"
	@echo "Predictions of the ONNX:   $(DEMO)/predict/"

figures: $(READY) ## Draw the README's figures anew
	$(BIN)/python scripts/draw_neck.py docs/neck.png

clean: ## Remove the environment and all that the targets left
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

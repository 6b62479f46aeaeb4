# Everything runs in .venv, which these targets make themselves. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Ultralytics asks for no network here, installs nothing by itself, and keeps its settings in .venv.
export YOLO_AUTOINSTALL := false
export NO_MKDOCS_2_WARNING := 1
export YOLO_CONFIG_DIR := $(abspath $(VENV)/config)

.PHONY: help demo docs test test-slow test-core test-versions test-lowest test-upstream test-ray test-bench newer fuzz lint types figures clean

help: ## List the targets
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(READY): setup.cfg setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade "setuptools>=77"
	$(BIN)/python -m pip install --no-build-isolation --editable ".[dev]"
	mkdir -p $(YOLO_CONFIG_DIR)
	touch $@

# As many workers as there are cores to keep busy; a file's tests stay together, and the files of few but
# long tests don't come last. WORKERS=0: none.
WORKERS := 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(READY) lint types ## Lint, types, tests
	$(PYTEST) -m "not slow"

test-slow: $(READY) ## The tests that train for minutes
	$(BIN)/python -m pytest -m slow

EXAMPLES := 1000
SEED := random
fuzz: $(READY) ## Random necks: EXAMPLES of each kind (1000), always the same ones with SEED=0
	EXAMPLES=$(EXAMPLES) nice -n 19 $(BIN)/python -m pytest tests/plugin/test_fuzz.py --hypothesis-seed=$(SEED)

test-ray: $(READY) ## Install Ray, and run the search that needs it
	$(BIN)/python -m pip install --editable ".[ray]" --no-build-isolation
	$(BIN)/python -c "import ray.tune"
	$(BIN)/python -m pytest tests/plugin/test_several_processes.py -k ray

test-bench: $(READY) ## Install OpenVINO and NCNN, and run the tests that need them
	$(BIN)/python -m pip install --editable ".[bench]" --no-build-isolation
	$(BIN)/python -c "import ncnn, nncf, openvino, pnnx"
	$(BIN)/python -m pytest tests/deploy/test_runtimes.py

# What depends on the versions of Python, torch and Ultralytics.
CORE := tests/layers $(patsubst %,tests/plugin/test_%.py,plugin fallback models startup yolo_command onnx safe_load)
test-core: $(READY) ## The tests that depend on the versions of what is underneath
	$(PYTEST) -m "not slow" $(CORE)

# Another Ultralytics is laid beside the installed one and comes first in PYTHONPATH; with it scipy,
# the one thing that 8.4.0 requires and newer ones don't.
.PRECIOUS: $(VENV)/ultralytics-%
$(VENV)/ultralytics-%: $(READY)
	rm -rf $@.part
	$(BIN)/python -m pip install --quiet --no-deps --target $@.part ultralytics==$* scipy
	rm -rf $@.part/tests $@.part/bin
	mv $@.part $@

test-ultralytics-%: $(VENV)/ultralytics-% ## The same on another Ultralytics: make test-ultralytics-8.4.0
	PYTHONPATH=$(abspath $<) $(BIN)/python -c "import ultralytics as u; assert u.__version__ == '$*'"
	PYTHONPATH=$(abspath $<) $(PYTEST) -m "not slow" $(CORE)

# A newer Python than PYTHON: named, or the newest that is found here.
NEWER ?= $(shell for p in python3.15 python3.14 python3.13 python3.12 \
	$(HOME)/.pyenv/versions/3.13*/bin/python $(HOME)/.pyenv/versions/3.12*/bin/python; \
	do $$p -c "" 2>/dev/null && echo $$p && break; done)
newer:
	@test -n "$(NEWER)" || { echo "No newer Python found; name one: make test-versions NEWER=python3.13"; exit 2; }
OLDER := 8.4.0 8.4.100
test-versions: newer $(OLDER:%=test-ultralytics-%) test-core ## Oldest, middle, newest Ultralytics; newer Python
	$(MAKE) test-core PYTHON="$(NEWER)" VENV=.venv-newer

test-lowest: ## The same on the lowest version of every requirement, all at once
	mkdir -p .venv-lowest
	sed -nE '/setuptools/! s/^    ([a-z-]+)>=([0-9.]+)$$/\1==\2/p' setup.cfg | sort -u > .venv-lowest/lowest.txt
	PIP_CONSTRAINT=$(abspath .venv-lowest/lowest.txt) $(MAKE) test-core VENV=.venv-lowest

test-upstream: $(READY) ## Ultralytics' own tests with and without this package: same outcomes
	$(BIN)/python -m tests.upstream $(VENV)/upstream

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
	$(YOLO) train model=yolov5n-afpn.yaml data=shapes.yaml epochs=24 imgsz=192 batch=8 mosaic=0 scale=0.2 \
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

docs: $(READY) ## Build the documentation into site/; a broken link is an error
	$(BIN)/python -m mkdocs build --strict --quiet

figures: $(READY) ## Draw the pictures of the necks anew
	$(BIN)/python -m afpn_yolo draw-neck yolov5n-afpn.yaml -o docs/neck.png
	$(BIN)/python -m afpn_yolo draw-neck yolov5n-afpn-lite.yaml -o docs/neck-lite.png
	$(BIN)/python -m afpn_yolo draw-neck yolov8n-afpn-hybrid.yaml -o docs/neck-hybrid.png

clean: ## Remove the environment and all that the targets left
	rm -rf .venv .venv-newer .venv-lowest demo site build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

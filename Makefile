PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEVICE := .venv-device

.DEFAULT_GOAL := help
.PHONY: help install demo test test-matrix test-device check format docs bench clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[export,plot,tensorboard,executorch,caption,docs,dev]'
	@touch $@

install: $(VENV)/installed ## create .venv with everything, at pinned versions

demo: install ## train, export, prove and stream a small model
	@$(BIN)/edgernn demo

test: install ## the tests, the fast ones first
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slow and not matrix'
	$(BIN)/python -m pytest -m 'slow and not matrix'

test-matrix: install ## every task and every kind of matrix on every target at every precision
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m matrix

$(DEVICE)/installed: pyproject.toml constraints.txt $(VENV)/installed $(shell find edgernn -name '*.py')
	rm -rf $(DEVICE) && $(PYTHON) -m venv $(DEVICE)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(DEVICE)/wheel .
	$(DEVICE)/bin/python -m pip install --quiet -c constraints.txt $(DEVICE)/wheel/*.whl pytest hypothesis onnx pillow
	@touch $@

test-device: $(DEVICE)/installed ## the device tests, on the wheel, where there is no torch
	cd tests && ../$(DEVICE)/bin/python -m pytest device

check: install ## format, lint, types, import contracts, documentation and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/write_options.py --check
	$(MAKE) docs
	$(MAKE) test test-matrix test-device

format: install ## rewrite the code in its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install ## write the tables of options and build the site in site/
	$(BIN)/python docs/write_options.py
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs site

bench: install ## step and training speed against bare baselines
	$(BIN)/python benchmarks/speed.py

clean: ## remove what was built
	rm -rf $(VENV) $(DEVICE) dist build site

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
DEVICE := .venv-device
WEB := runtime_demo/web
PAGE := edgernn/page/app
PIP = $(BIN)/python -m pip install --no-compile -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# What is wrong with $(PYTHON), or nothing.
OLD = import sys; sys.version_info >= (3, 11) or sys.stdout.write("$(PYTHON) is %d.%d.%d" % sys.version_info[:3])
WRONG_PYTHON = $(shell $(PYTHON) -c '$(OLD)' 2>/dev/null || echo '$(PYTHON) does not run')

# Where Python may not keep what it has compiled, each process that imports torch compiles it anew for seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo picture web test test-matrix test-device test-web cross check format docs bench wheel clean

help: ## list the targets of this Makefile
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# An installation that was interrupted leaves the file `unfinished`; the next one begins anew.
$(BIN)/pip: $(wildcard $(VENV)/unfinished)
	$(if $(WRONG_PYTHON),$(error edgernn needs Python 3.11 or later; $(WRONG_PYTHON): make $(MAKECMDGOALS) PYTHON=python3.12))
	@echo 'Creating $(VENV) with $(PYTHON)'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed-demo: pyproject.toml constraints.txt $(BIN)/pip
	@echo 'Installing edgernn with what the demo needs into $(VENV)'
	@touch $(VENV)/unfinished
	@$(PIP) -e '.[demo]'
	@rm $(VENV)/unfinished
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt $(BIN)/pip
	@echo 'Installing edgernn with all extras and the tools of its developers into $(VENV)'
	@touch $(VENV)/unfinished
	@$(PIP) -e '.[demo,audio,plot,tensorboard,executorch,caption,docs,dev]'
	@rm $(VENV)/unfinished
	@touch $@ $(VENV)/installed-demo

# The page for browsers is built where there is Node.js; without it, edgernn page says that it is not there.
BUILT_PAGE := $(if $(shell command -v npm),$(PAGE)/index.html)

install: $(VENV)/installed $(BUILT_PAGE) ## create .venv with everything, at pinned versions

demo: $(VENV)/installed-demo ## install what the demo needs, and run it
	@$(BIN)/edgernn demo

picture: $(VENV)/installed-demo ## run the demo, and draw it as docs/demo.svg
	@$(BIN)/edgernn demo --picture docs/demo.svg

$(WEB)/node_modules/installed: $(WEB)/package.json $(WEB)/package-lock.json
	cd $(WEB) && npm ci --silent
	@touch $@

$(PAGE)/index.html: $(WEB)/node_modules/installed $(wildcard $(WEB)/src/*.ts $(WEB)/app/*)
	node $(WEB)/app/build.mjs $(PAGE)

web: $(PAGE)/index.html ## build the page for browsers, which takes Node.js 20 or later

wheel: $(BIN)/pip $(BUILT_PAGE) ## build the wheel into dist/
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls -s -h dist/*.whl

test: install ## the tests, the fast ones first
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not matrix and not cross'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow and not matrix and not cross'

test-matrix: install ## every task and every kind of matrix, on every target and at every precision
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m matrix

$(DEVICE)/installed: pyproject.toml constraints.txt $(VENV)/installed $(shell find edgernn -name '*.py')
	rm -rf $(DEVICE) && $(PYTHON) -m venv $(DEVICE)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(DEVICE)/wheel .
	$(DEVICE)/bin/python -m pip install --quiet -c constraints.txt $(DEVICE)/wheel/*.whl pytest hypothesis onnx pillow soxr
	@touch $@

test-device: $(DEVICE)/installed ## the device tests, on the wheel, where there is no torch
	cd tests && ../$(DEVICE)/bin/python -m pytest device

cross: install ## the C target, the apps and the runtime on other processors; .ci/compilers installs the compilers and emulators (Debian)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cross

CONFORMANCE = PYTHONPATH=.:tests OMP_NUM_THREADS=1 $(BIN)/python tests/web/conformance.py

test-web: install $(PAGE)/index.html ## the runtime in TypeScript and the page, in Node and browsers; .ci/browsers installs these (Debian)
	$(CONFORMANCE) write build/web
	cd $(WEB) && npm test
	$(CONFORMANCE) check build/web

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

bench: install ## measure the speed of steps and training relative to bare onnxruntime and torch
	$(BIN)/python benchmarks/speed.py

clean: ## remove what was built
	rm -rf $(VENV) $(DEVICE) dist build site $(PAGE) $(WEB)/node_modules $(WEB)/dist

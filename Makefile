# make run: install and run the main job · make test: what CI checks · the rest: make help
PYTHON ?= python3
BIN := .venv/bin
COMPILER := .venv/compiler
INSTALLED := .venv/installed
TOOLS := .venv/tools
BUILT := build/built
NATIVE := build/native
KERNELS := $(wildcard quarantion/kernels/[!_]*.py quarantion/kernels/parts/[!_]*.p*)
NOTEBOOKS = $$(find nbs -name '*.ipynb' -not -path '*/.*' -not -path '*/cuda/*' | sort) # those of a GPU run nowhere else
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYTHONDONTWRITEBYTECODE =
MAKEFLAGS += --no-print-directory

.PHONY: help run test soak latest bench fuzz memcheck lab install tools native build notebooks wasm docs lock clean

run: ## install what the library needs, and run the main job on the digits (ARGS='--policy int4')
	@$(MAKE) -j2 install native
	@$(BIN)/quarantion run $(ARGS)

test: ## everything that CI checks, in stages (ARGS='docs browser' for some of them)
	@$(PYTHON) tools/check.py $(ARGS)

soak: build $(TOOLS) ## the long forms of tests that have a short one in `make test`: an hour or more
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -m soak $(ARGS)
	@$(MAKE) latest

latest: build $(TOOLS) ## the tests of NIR with the newest simulators, beside the pinned ones; what fails is a warning
	@OMP_NUM_THREADS=1 $(BIN)/python tools/latest.py

bench: build ## install the peers, and measure every benchmark (ARGS=--quick for less)
	@$(BIN)/python -m pip install -qq --no-deps hnswlib==0.8.0 # compiled, by tools of its own
	@$(BIN)/python -m pip install -qq -c requirements.lock -c requirements-dev.lock --no-build-isolation -e '.[ask,bench,text]'
	@$(BIN)/python -m pip install -qq --no-compile --no-deps -r requirements-peers.lock
	@for b in $$($(BIN)/python -c 'from quarantion.cli import BENCHES; print(*BENCHES)'); do $(BIN)/quarantion bench $$b $(ARGS) || exit 1; done

fuzz: build ## readers of files, with bytes that search for what was not tried (ARGS='npy --seconds 600')
	@$(BIN)/python -m pip install -qq atheris
	@$(BIN)/python tools/fuzz.py $(ARGS)

memcheck: build $(TOOLS) ## the kernel tests, with kernels that watch every read and write
	@$(BIN)/python tools/memcheck.py

lab: build $(TOOLS) ## JupyterLab on a copy of the tutorials
	@$(BIN)/quarantion lab

install: $(INSTALLED) ## .venv with what the library needs, in the versions of requirements.lock
	@:

tools: $(TOOLS) ## and what work on it needs, in those of requirements-dev.lock
	@:

native: $(NATIVE) ## compile the kernels for this processor, and install the package in .venv
	@:

build: $(INSTALLED) $(BUILT) ## the same for every level of x86-64
	@:

notebooks: build $(TOOLS) ## export and execute every notebook, store its outputs, clean it
	@$(BIN)/nbdev_export
	@$(MAKE) build
	@echo $(NOTEBOOKS) | IN_TEST=1 OMP_NUM_THREADS=1 xargs -n1 -P2 sh -c 'echo $$0; $(BIN)/exec_nb $$0 --dest $$0 --exc_stop || exit 255'
	@$(BIN)/nbdev_clean

wasm: build ## compile the runtime that reads any network in a browser (clang and lld)
	@$(BIN)/python -c 'from quarantion.export.wasm import build; build()'

docs: build $(TOOLS) ## the site in _docs, and README.md from nbs/index.ipynb
	@$(BIN)/python tools/docs.py

lock: build $(TOOLS) ## write requirements.lock and requirements-dev.lock from .venv
	@$(BIN)/python tools/lock.py

clean: ## remove what was built, but not .venv and runs
	@rm -rf build dist _docs _proc *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find quarantion -name '*.so' -delete
	@find nbs quarantion tests tools \( -name __pycache__ -o -name .hypothesis \) -prune -exec rm -rf {} +

help:
	@sed -n 's/^\([a-z]*\):.* ## /\1\t/p' Makefile | while IFS='	' read -r a b; do printf '  make %-10s %s\n' "$$a" "$$b"; done

$(COMPILER): requirements.lock
	@$(PYTHON) tools/python.py
	@echo 'Installing into .venv (some minutes the first time)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --no-compile -c requirements.lock cython setuptools wheel
	@touch $@

# modules become bytecode when they are first imported, as most never are
$(INSTALLED): $(COMPILER)
	@$(BIN)/python -m pip install -qq --no-compile -r requirements.lock
	@touch $@

$(TOOLS): requirements-dev.lock requirements-peers.lock $(INSTALLED)
	@echo 'Installing what tests and docs need'
	@$(BIN)/python -m pip install -qq --no-compile -r requirements-dev.lock
	@$(BIN)/python -m pip install -qq --no-compile --no-deps -r requirements-peers.lock
	@touch $@

$(NATIVE): $(COMPILER) pyproject.toml setup.py settings.ini $(KERNELS)
	@echo 'Compiling the kernels for this processor'
	@QUARANTION_BUILD=native $(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@mkdir -p $(@D) && touch $@

$(BUILT): $(COMPILER) pyproject.toml setup.py settings.ini $(KERNELS)
	@echo 'Compiling the kernels'
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@mkdir -p $(@D) && touch $(NATIVE) $@

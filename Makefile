# What a contributor does again and again; `make` alone lists it. Everything happens in the virtual environment $(VENV).
VENV ?= .venv
PYTHON ?= python3
BIN := $(abspath $(VENV))/bin
C_FILES := $(wildcard src/*.[ch] src/*/*.[ch] tests/c/*.[ch] tools/*.[ch])
ENGINE_TESTS := $(addprefix tests/test_,layers.py options.py stream.py rows.py kernels.py)

.DEFAULT_GOAL := help
.PHONY: help docs build test bench format lint asan clean fetch

help:
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

build: $(BIN)/python ## compile the engine and install the checkout with what its tests need
	$(BIN)/pip install -e ".[test]"

test: build ## build, then run every test that needs nothing more (the others say why they skip)
	$(BIN)/python -m pytest tests

bench: build ## measure rnnrt beside onnxruntime, torch and keras, as far as they are installed
	$(BIN)/python tools/bench_peers.py

format: $(BIN)/python ## lay out the Python and C code: ruff format, clang-format
	$(BIN)/pip install --quiet -r tools/lint.txt
	$(BIN)/ruff format . && $(BIN)/clang-format -i $(C_FILES)

lint: $(BIN)/python ## what CI holds the code to: ruff's rules, the layout of both languages
	$(BIN)/pip install --quiet -r tools/lint.txt
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/clang-format --dry-run --Werror $(C_FILES)

docs: build ## build the pages of docs/ as HTML in docs/_build; a warning is an error
	$(BIN)/pip install --quiet -r tools/docs.txt
	$(BIN)/sphinx-build -W --keep-going -n -q docs docs/_build && echo docs/_build/index.html

asan: build ## run the engine's tests on a build with the address and undefined-behaviour sanitizers
	rm -rf build
	RNNRT_SANITIZE=1 $(BIN)/pip install --no-deps --target build/asan .
	cd build && LD_PRELOAD=$$($${CC:-cc} -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
		PYTHONPATH=$(abspath build/asan) $(BIN)/python -m pytest $(abspath $(ENGINE_TESTS))

clean: ## remove everything that was built; models and the virtual environment stay
	rm -rf build dist docs/_build *.egg-info rnnrt/_engine.c rnnrt/*.so rnnrt/lib rnnrt/include .pytest_cache .ruff_cache .hypothesis .benchmarks
	find rnnrt tests tools -name __pycache__ -type d -exec rm -rf {} +

fetch: build ## fetch the published networks that tests/test_real_models.py runs
	$(BIN)/python tools/fetch_models.py

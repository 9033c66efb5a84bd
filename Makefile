# make demo    set up .venv and grade exercise 01's solution: the report lands in out/report.html
# make test    set up .venv and run lint, format, types and tests
# make help    the rest

VENV := .venv
BIN := $(VENV)/bin
OUT := out
# `make PYTHON=/path/to/python3` picks the interpreter; else the first of these that is new enough.
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
PIP := $(BIN)/python -m pip --disable-pip-version-check
INPUTS := pyproject.toml constraints.txt
NOT_INSTALLED := echo "pip could not install the grader; it says why above. It needs the network, the first time."; exit 1
EXERCISE := exercises/01_simple_grouped_gemm

# Hundreds of processes are started by the tests; none should compile the same modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help demo test test-gpu lint format bench clean

help:
	@echo "make demo      grade exercise 01's solution and write $(OUT)/report.html"
	@echo "make test      lint, format, types, tests"
	@echo "make test-gpu  the tests that need an NVIDIA GPU"
	@echo "make lint      lint, format and types alone"
	@echo "make format    rewrite the code in the project's format"
	@echo "make bench     how long grading takes, part by part"
	@echo "make clean     remove what the other targets made, $(VENV) included"

demo: $(VENV)/installed
	@mkdir -p $(OUT)
	$(BIN)/grade run 1 $(EXERCISE)/solution.cu --html $(OUT)/report.html --json $(OUT)/result.json
	@echo "The report: $(CURDIR)/$(OUT)/report.html (the same as JSON: $(OUT)/result.json)"

test: lint
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

test-gpu: $(VENV)/installed-test
	$(BIN)/pytest -m gpu

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-test
	$(BIN)/pytest benchmarks/bench_grade.py --benchmark-only

clean:
	rm -rf $(VENV) $(OUT) dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: an install that is up to date asks nothing of the network.
$(VENV)/installed: $(INPUTS) | $(VENV)/made
	@echo "Installing the grader into $(VENV) ..."
	@$(PIP) install --quiet --editable . --constraint constraints.txt || { $(NOT_INSTALLED); }
	@touch $@

$(VENV)/installed-test: $(INPUTS) | $(VENV)/made
	@echo "Installing the grader and its test tools into $(VENV) ..."
	@$(PIP) install --quiet --editable '.[test]' --constraint constraints.txt || { $(NOT_INSTALLED); }
	@touch $(VENV)/installed $@

# A .venv that is there already is used as it is.
$(VENV)/made:
	@$(BIN)/python -c '' 2>/dev/null || { \
	    for candidate in $(PYTHONS); do \
	        $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	        $$candidate -m venv --clear $(VENV) && break; \
	        rm -rf $(VENV); \
	        echo "$$candidate could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv"; \
	        exit 1; \
	    done; \
	    test -d $(VENV) || { \
	        echo "No Python 3.11 or newer among: $(PYTHONS). Install one, or name it: make demo PYTHON=/path/to/python3"; \
	        exit 1; \
	    }; \
	}
	@touch $@

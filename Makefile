# Everything a user needs: each target sets up .venv first if it is missing or not current.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.current
TEST_WORKERS ?= 2

# glibc otherwise gives large temporaries back to the system on every call; one thread a process keeps results the same.
export MALLOC_MMAP_THRESHOLD_ = 268435456
export MALLOC_TRIM_THRESHOLD_ = 1073741824
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: setup demo closure test ui bench lint clean help

help:
	@echo "make demo     run the whole lineage on the demo campaign (sets up .venv first)"
	@echo "make test     run the tests            make lint   ruff, mypy, import contracts"
	@echo "make ui       Dagster and MLflow UIs   make bench  the benchmark table"
	@echo "make closure  completeness against 10,000 true lenses of a simulated sky, after make demo"
	@echo "make setup    only set up .venv        make clean  remove .venv and what the demo wrote"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt deploy/setup.sh
	@PYTHON="$(PYTHON)" sh deploy/setup.sh

demo: $(STAMP)
	@$(BIN)/python -m lens_assets.cli --campaign demo run

closure: $(STAMP)
	@$(BIN)/python -m lens_assets.cli --campaign demo closure $(CLOSURE_ARGUMENTS)

test: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGUMENTS)

ui: $(STAMP)
	@$(BIN)/python -m lens_assets.cli --campaign "$(or $(LENS_CAMPAIGN),demo)" ui $(UI_ARGUMENTS)

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

lint: $(STAMP)
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports

clean:
	rm -rf .venv .lens .pytest_cache .mypy_cache .ruff_cache .import_linter_cache lens_assets.egg-info

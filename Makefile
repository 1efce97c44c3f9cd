# Everything runs in .venv with the versions of requirements.lock. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
OUTPUTS := outputs
PRESET ?= embedded
COCO ?=
DRY ?=
REAL := $(if $(COCO),--coco $(COCO))
UV := $(BIN)/uv

.DEFAULT_GOAL := help
.PHONY: help env figures paper published report results notebooks small-clip test lint format bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env: .venv/.installed ## make .venv and install the locked packages (a few minutes, once)

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; try make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || { echo "[env] making .venv"; $(PYTHON) -m venv .venv; }
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check uv
	@echo "[env] installing the packages of requirements.lock into .venv (PyTorch is the large one)"
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -c 'import sysconfig, pathlib; pathlib.Path(sysconfig.get_path("purelib"), "repository.pth").write_text(f"{pathlib.Path.cwd()}\n")'
	@touch $@
	@echo "[env] ready"

figures: env ## regenerate every figure into outputs/ (COCO=DIR: real photographs and captions), and report.html
	@$(BIN)/python -m util figures --preset $(PRESET) $(REAL)

paper: env ## run everything at the paper's settings into outputs/paper/, resumable (DRY=1: only say what it takes; COCO=DIR)
	@$(BIN)/python -m util paper $(if $(filter-out 0 no,$(DRY)),--dry-run) $(REAL)

published: env ## fetch the authors' eight embedding files (11 MB) into the cache
	@$(BIN)/python -m util published

report: env ## rebuild outputs/report.html from the records in outputs/
	@$(BIN)/python -m util report

results: env ## copy the small records into the folders' results/ and regenerate the README tables
	@$(BIN)/python -m util results

notebooks: env ## execute the notebooks on the records in outputs/
	@$(BIN)/python -m util notebooks

small-clip: env ## train the embedded model again (about 6 to 10 minutes on 2 cores)
	@$(BIN)/python -m util train-small-clip

test: env ## run all tests (offline)
	@echo "[test] the whole suite, offline, a process for each core"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

lint: env ## check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: env ## mend style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: env ## measure speed and memory against the released procedures
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python benchmarks/page.py
	@$(BIN)/python benchmarks/gap.py
	@$(BIN)/python benchmarks/intervals.py

lock: env ## resolve requirements.lock again from pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --extra dev --no-header --no-annotate pyproject.toml -o requirements.lock

clean: ## remove outputs/ (but outputs/own/ and outputs/paper/) and caches, keep .venv
	-find $(OUTPUTS) -mindepth 1 -maxdepth 1 -not -name paper -not -name own -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# The index of what people do here. Set-up happens by itself, and again when the lock changes.
#
#   make study                                        the quickstart preset
#   make study PRESET=tiny-imagenet-10 DATA=FOLDER    another preset on your data
#
# Variables, passed on as options: PRESET DATA STORAGE NAME WORKERS TRIALS, RUNS for pictures

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
STUDY := $(VENV)/bin/study
UV := $(VENV)/bin/uv

# Images often set it; every process would then compile torch, SQLAlchemy and Optuna anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

STUDY_NAME = $(or $(NAME),$(PRESET))
PLACE = $(if $(STORAGE),--storage '$(STORAGE)') $(if $(STUDY_NAME),--name '$(STUDY_NAME)')
JOIN = $(PLACE) $(if $(DATA),--data '$(DATA)')
BEGIN = $(JOIN) $(if $(PRESET),--preset '$(PRESET)') \
	$(if $(WORKERS),--workers '$(WORKERS)') $(if $(TRIALS),--trials '$(TRIALS)')

# So that the commands it suggests are those of this Makefile.
study final worker status watch metrics dashboard tensorboard report: export STUDY_CALLED_BY := make

.DEFAULT_GOAL := help
.PHONY: help setup study final worker status watch metrics dashboard tensorboard report \
	test test-slow check format lock bench bench-storage protocol pictures clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: PRESET DATA STORAGE NAME WORKERS TRIALS RUNS"

setup: $(READY)  ## Create .venv from requirements.lock

$(READY): requirements.lock setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed: make PYTHON=python3.11"; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	test -x $(UV) || $(VENV)/bin/python -m pip install --quiet uv
	$(UV) pip sync --quiet --python $(VENV)/bin/python requirements.lock
	$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	@touch $@

study: $(READY)  ## Create or resume a study and run it until its budget is done
	$(STUDY) run $(BEGIN)

final: $(READY)  ## Confirm the winner with fresh seeds, train it for long, test it once
	$(STUDY) confirm $(JOIN)
	$(STUDY) final $(JOIN)

worker: $(READY)  ## Join a study as one more worker
	$(STUDY) worker $(JOIN)

status: $(READY)  ## Show trials by state, ETA and the best trial
	$(STUDY) status $(PLACE)

watch: $(READY)  ## Refresh the status until the study is done
	$(STUDY) status --watch $(PLACE)

metrics: $(READY)  ## Serve metrics for Prometheus
	$(STUDY) metrics $(PLACE)

dashboard: $(READY)  ## Serve optuna-dashboard, read-only
	$(STUDY) dashboard $(PLACE)

tensorboard: $(READY)  ## Serve TensorBoard
	$(STUDY) tensorboard $(PLACE)

report: $(READY)  ## Write the report of the study
	$(STUDY) report $(PLACE)

test: $(READY)  ## Run the tests, in a few minutes
	$(VENV)/bin/pytest -q -n auto

test-slow: $(READY)  ## Run the tests that take longer
	$(VENV)/bin/pytest -q -m "slow and not gpu" -n auto --dist loadfile

check: $(READY)  ## Check format, lint, types and layers
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(READY)  ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(READY)  ## Compile requirements.lock from setup.cfg
	$(UV) pip compile setup.cfg --extra dev --universal --python-version 3.11 \
		--generate-hashes --quiet --output-file requirements.lock

bench: $(READY)  ## Measure training speed beside torchvision's ResNet-18
	$(VENV)/bin/python -m benchmarks.training_speed

bench-storage: $(READY)  ## Measure claims and epoch reports beside Optuna's plain storages
	$(VENV)/bin/python -W ignore -m benchmarks.storage_throughput

protocol: $(READY)  ## Repeat the reference's studies on ten classes of DATA; resumes
	$(VENV)/bin/python -m benchmarks.protocol --data '$(or $(DATA),zh-plus/tiny-imagenet)'

pictures: $(READY)  ## Take the documents' pictures, of the finished study NAME in STORAGE and RUNS
	$(VENV)/bin/python -m benchmarks.take_pictures \
		--storage '$(STORAGE)' --runs '$(or $(RUNS),runs)' --name '$(NAME)'

clean:  ## Remove the environment and caches; runs/ stays
	rm -rf $(VENV) .cache .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache build *.egg-info

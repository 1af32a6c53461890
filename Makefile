# Every target works from nothing: it makes the environment that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: setup demo test check peers faults bench compose-test pin-images dashboards stages clean

setup: $(STAMP)

# torch first and pinned, so that nothing else decides which build of it comes. TORCH_OPTIONS goes to
# pip, e.g. the index of the CPU builds.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Lineament needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_OPTIONS) torch==$(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[workers,embedded,traces,dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/lineament run examples/demo.yaml --data .lineament --report report

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

# Environments of the projects that Lineament is compared with, one for each list of packages in
# tests/peers; the tests find them by LINEAMENT_PEERS.
PEERS_DIR := $(abspath $(or $(LINEAMENT_PEERS),.peers))
PEERS ?= $(patsubst tests/peers/requirements-%.txt,%,$(wildcard tests/peers/requirements-*.txt))
peers: $(PEERS:%=$(PEERS_DIR)/%/.ready)
	@echo "export LINEAMENT_PEERS=$(PEERS_DIR)"

$(PEERS_DIR)/%/.ready: tests/peers/requirements-%.txt constraints.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_OPTIONS) torch==$(TORCH)
	echo torch==$(TORCH) > $(@D)/torch.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $(@D)/torch.txt -r $<
	$(@D)/bin/python -m pip uninstall --quiet --yes torchvision 2>/dev/null # some bring one for another torch
	@touch $@

# ROUNDS of every fault; the moments follow from SEED.
ROUNDS ?= 4
SEED ?= 0
faults: $(STAMP)
	$(BIN)/python -m tests.faults --rounds $(ROUNDS) --seed $(SEED)

bench: $(STAMP)
	for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# Builds the images, brings the stack up with Compose, runs the demo through it and kills a worker.
compose-test: $(STAMP)
	$(BIN)/python -m tests.containers.compose_test

# Digests for the tags of images.env, from the registries.
pin-images: $(STAMP)
	$(BIN)/python compose/pin_images.py

dashboards: $(STAMP)
	$(BIN)/python -m observability.dashboards

# docs/stages.md, from the table of stage kinds.
stages: $(STAMP)
	$(BIN)/python -m shared.stages

clean:
	rm -rf $(VENV) .peers .lineament report .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

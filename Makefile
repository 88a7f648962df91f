# Everything goes through .venv, which is made again only when pyproject.toml or constraints.txt changed.
PYTHON ?= python3
RECIPE ?= recipes/light_r1_32b.yaml
LAUNCH ?=
ARGS   ?=
BIN    := .venv/bin
READY  := .venv/.ready
STAGES := base sft-stage1 difficulty sft-stage2 questions dpo dpo-untagged merge grpo evaluate

# One thread for each of the small tensors of the tests: where other work runs, more only wait for each other.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint plan $(STAGES)

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 14
	@echo "$(STAGES)" | sed 's/^/stages:       /'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(READY) ## Install into .venv

demo: OMP_NUM_THREADS = 2
demo: $(READY) ## The whole curriculum on the embedded tiny default, then its report
	HF_HUB_OFFLINE=1 $(BIN)/python -m light_r1.run recipes/tiny.yaml $(ARGS)

test: $(READY) ## All tests that take seconds
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(READY) ## The tests that take minutes
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow $(ARGS)

lint: $(READY) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

plan: $(READY) ## What RECIPE would run, and what is done already
	$(BIN)/python -m light_r1.run $(RECIPE) --plan $(ARGS)

$(STAGES): $(READY) ## One stage of RECIPE
	$(BIN)/accelerate launch $(LAUNCH) -m light_r1.run $(RECIPE) --stage $@ $(ARGS)

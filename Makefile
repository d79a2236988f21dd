# The only front door. `make` lists what can be done; every target sets up what it needs by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# tools/bootstrap.sh writes the directory of a good enough cargo there.
WITH_CARGO = PATH="$$(cat $(VENV)/cargo-directory):$$PATH"
PYTHON_CODE := sipshard workers supervisor tests loadtest tools docs/policies
RUST_SOURCES := $(shell find crates -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
FUZZ_SECONDS ?= 60
BENCH_ARGUMENTS ?=

.PHONY: help
help: ## List the targets
	@echo "sipshard: SIP registrar and proxy. Usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(VENV)/stamp-build ## Build everything; leaves the command at .venv/bin/sipshard

.PHONY: run
run: build ## Serve on 127.0.0.1:5060 as sipshard.toml says; ends with Ctrl-C
	@exec $(BIN)/sipshard run -c sipshard.toml

.PHONY: test
test: build $(VENV)/stamp-dev $(VENV)/stamp-browser ## Run all tests, the fast ones first (under 15 minutes)
	@tools/bootstrap.sh sipp baresip iproute2
	$(WITH_CARGO) cargo test --workspace --quiet
	$(BIN)/python -m pytest tests/unit
	$(WITH_CARGO) $(BIN)/python -m pytest tests/typing tests/packaging
	$(BIN)/python -m pytest tests/integration

.PHONY: check
check: build $(VENV)/stamp-dev ## Check format, lints, types, layers and documents; warnings are errors
	@tools/bootstrap.sh rust-lints
	$(WITH_CARGO) cargo fmt --all --check
	$(WITH_CARGO) cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/mypy
	MYPYPATH=. $(BIN)/python -m mypy.stubtest sipshard._rust --concise
	$(BIN)/lint-imports
	$(BIN)/python tools/config_reference.py --check
	$(BIN)/python tools/document_links.py
	$(BIN)/python tools/rfc_page.py

.PHONY: bench
bench: build $(VENV)/stamp-dev ## Weigh idle TLS connections, then compare CPU and memory with Kamailio (about 15 minutes)
	@tools/bootstrap.sh sipp kamailio
	@failed=0; \
	$(BIN)/python -m loadtest.idle_connections || failed=1; \
	$(BIN)/python -m loadtest.compare $(BENCH_ARGUMENTS) || failed=1; \
	exit $$failed

.PHONY: fuzz
fuzz: $(VENV)/cargo-directory ## Fuzz the parsers, FUZZ_SECONDS (60) for each target
	@tools/bootstrap.sh c++
	$(WITH_CARGO) tools/fuzz.sh $(FUZZ_SECONDS)

.PHONY: wheel
wheel: $(VENV)/stamp-python ## Build the wheel into dist/
	$(WITH_CARGO) $(BIN)/maturin build --release --locked --out dist

.PHONY: chores
chores: build $(VENV)/stamp-dev ## Format the code and generate the configuration reference anew
	@tools/bootstrap.sh rust-lints
	$(WITH_CARGO) cargo fmt --all
	$(BIN)/ruff format $(PYTHON_CODE)
	$(BIN)/ruff check --fix $(PYTHON_CODE)
	$(BIN)/python tools/config_reference.py

# Stamps: what is built once and only again when its inputs change.

$(VENV)/cargo-directory: tools/bootstrap.sh Cargo.toml
	@tools/bootstrap.sh base

$(VENV)/stamp-python: $(VENV)/cargo-directory pyproject.toml
	@tools/bootstrap.sh packages maturin
	@touch $@

$(VENV)/stamp-dev: $(VENV)/stamp-python pyproject.toml
	@tools/bootstrap.sh packages --group dev
	@touch $@

# The phones of the tests that live in a browser.
$(VENV)/stamp-browser: $(VENV)/cargo-directory tests/browser/package-lock.json tools/bootstrap.sh
	@tools/bootstrap.sh browser
	@touch $@

# An editable installation: the Python sources are used in place, only Rust needs a build.
$(VENV)/stamp-build: $(VENV)/stamp-python $(RUST_SOURCES)
	@echo "building (the first time takes minutes)"
	@PIP_QUIET=1 VIRTUAL_ENV="$(abspath $(VENV))" $(WITH_CARGO) $(BIN)/maturin develop --release --locked --quiet
	@touch $@

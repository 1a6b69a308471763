# `make` alone lists all targets.

CARGO ?= cargo
PORT  ?= 7070

TARGET := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help run ctl examples test attack fuzz test-loom test-systemd test-windows check-targets bench lint fmt doc deny check clean

help: ## Lists these targets
	@echo "make TARGET:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Runs a pre-forking server on PORT (7070) and shows its scoreboard
	$(CARGO) build --release --package examples --example board
	@exec $(TARGET)/release/examples/board $(PORT)

ctl: ## Builds the operator's command, optimised: target/release/daemonctl
	$(CARGO) build --release --package daemonctl

examples: ## Builds all examples, optimised, into target/release/examples/
	$(CARGO) build --release --package examples --examples

test: ## Runs all tests, including those in the documentation
	$(CARGO) test --workspace

attack: ## Attacks daemons at random for MINUTES (10), by several children at once; SEED repeats a run
	MINUTES=$(or $(MINUTES),10) $(if $(SEED),SEED=$(SEED)) $(CARGO) test --package live-tests --test live -- \
		attacks:: --nocapture --test-threads=1

fuzz: ## Runs the fuzz targets for SECONDS (60) each, or only T=name (needs a C++ compiler)
	.ci/fuzz $(or $(SECONDS),60) $(T)

test-loom: ## Tests the scoreboard and the claims with loom, which tries many orders of memory accesses
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom \
		$(CARGO) test --release --package daemon-core --test loom

test-systemd: ## Tests the service under a real systemd, in namespaces (needs root or sudo)
	.ci/test-systemd

test-windows: ## Tests the service under wine's service manager (installs wine)
	.ci/test-windows

check-targets: ## Type-checks everything for FreeBSD and macOS
	.ci/check-targets

bench: ## Runs all benchmarks, or only B=name; writes the results to target/bench/
	$(CARGO) build --release --package bench
	@exec $(TARGET)/release/bench $(B)

lint: ## Checks formatting and clippy, with warnings denied
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## Formats the code
	$(CARGO) fmt --all

doc: ## Builds the documentation, with warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny: ## Checks the dependencies with cargo-deny (installs cargo-deny)
	.ci/run deny

check: ## Runs all checks, as CI does
	.ci/run

clean: ## Removes the build output
	$(CARGO) clean

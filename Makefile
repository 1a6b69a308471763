# What there is to do here. `make` alone lists it.

CARGO ?= cargo
PORT  ?= 7070

TARGET := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help run ctl examples test test-loom test-systemd test-windows check-targets bench lint fmt doc deny check clean

help: ## Lists these targets
	@echo "make TARGET:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Runs a pre-forking server and shows its scoreboard; talk to it on PORT (7070)
	$(CARGO) build --release --package examples --example board
	@exec $(TARGET)/release/examples/board $(PORT)

ctl: ## Builds the operator's command, optimised: target/release/daemonctl
	$(CARGO) build --release --package daemonctl

examples: ## Builds all examples, optimised, into target/release/examples/
	$(CARGO) build --release --package examples --examples

test: ## Passes all tests, those in the documentation too
	$(CARGO) test --workspace

test-loom: ## Tests the scoreboard under every order of its memory accesses
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom \
		$(CARGO) test --release --package daemon-core --test loom

test-systemd: ## Tests the service under a real systemd, in namespaces of its own (wants root or sudo)
	.ci/test-systemd

test-windows: ## Tests the service under wine's service manager (installs wine and a linker)
	.ci/test-windows

check-targets: ## Type-checks everything for FreeBSD and macOS
	.ci/check-targets

bench: ## Runs all benchmarks, or the one of B=name; results in target/bench/
	$(CARGO) build --release --package bench
	@exec $(TARGET)/release/bench $(B)

lint: ## Checks the format, and clippy's advice with warnings denied
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## Formats the code
	$(CARGO) fmt --all

doc: ## Builds the documentation, with warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny: ## Checks dependencies: licences, bans, sources, advisories (installs cargo-deny if missing)
	.ci/run deny

check: ## All that a change must pass
	.ci/run

clean: ## Removes what was built
	$(CARGO) clean

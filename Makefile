# What can be done here. `make` alone builds the program.

CARGO ?= cargo
# Profile of the program that the scenarios run: release, or dev, which has its
# assertions on.
PROFILE ?= release
# Scenarios wait more than they compute.
SCENARIOS_AT_ONCE ?= 4
# Seconds of kills, and restarts under a storm of connects, in `make chaos`.
CHAOS_SECONDS ?= 180
CHAOS_RESTARTS ?= 200

target := $(or $(CARGO_TARGET_DIR),target)
program := $(abspath $(target))/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/pgskein

.PHONY: all build run test scenarios check fmt-check clippy unit sizes chaos bench fuzz setup clean

all: build

## build: the program, target/release/pgskein
build:
	$(CARGO) build --quiet --profile $(PROFILE) --package pgskein-pooler

## run: the pooler on port 6432 in front of a throw-away PostgreSQL
run:
	@scripts/setup.sh run
	@scripts/run.sh

## test: all checks and unit tests, then the scenarios
test:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory scenarios

## scenarios: the real program in front of a real PostgreSQL; ONLY=name picks some
scenarios: build
	PGSKEIN=$(program) $(CARGO) test --quiet --package pgskein-tests --test scenarios -- \
	  --test-threads $(SCENARIOS_AT_ONCE) $(ONLY)

## check: format, lints, unit tests with generated files, file sizes
check: fmt-check clippy sizes unit

fmt-check:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --quiet --workspace --all-targets -- --deny warnings

unit:
	$(CARGO) test --quiet --workspace --lib --bins

sizes:
	@scripts/check-sizes.sh

## chaos: kills and restarts for some minutes; CHAOS_SECONDS, CHAOS_RESTARTS
chaos:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory build
	PGSKEIN=$(program) PGSKEIN_CHAOS_SECONDS=$(CHAOS_SECONDS) \
	  PGSKEIN_STORM_RESTARTS=$(CHAOS_RESTARTS) $(CARGO) test --quiet \
	  --package pgskein-tests --test scenarios -- --nocapture --test-threads 1 chaos:: storm::

## bench: side by side with PgBouncer; writes doc/benchmarks.md
bench:
	@scripts/setup.sh bench
	@$(MAKE) --no-print-directory build PROFILE=release
	@scripts/bench.sh

## fuzz: a minute for each parser
fuzz:
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh

## setup: installs what the other commands need, on Debian
setup:
	@scripts/setup.sh test
	@scripts/setup.sh bench

clean:
	$(CARGO) clean
	rm -rf "$${TMPDIR:-/tmp}"/pgskein-template-*

# What there is to do here. `make` alone lists it.

.PHONY: help dev test lint specs fuzz bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

dev: ## start a private Postgres with sample data, and Twinport in front of it
	@scripts/setup.sh dev
	@echo 'building: some minutes the first time' >&2
	@cargo build --release --locked -p twinport-ctl
	@cargo run --release --locked -q -p twinport-ctl --bin proxyctl -- dev $(ARGS)

test: ## install what is missing, then run all that continuous integration runs
	bash .ci/run

lint: ## formatting, clippy, documentation
	bash .ci/steps fmt clippy docs

specs: ## MongoDB's specs and all of PyMongo's tests; the results go to docs/mongo-specs.md
	scripts/setup.sh test && scripts/setup-drivers.sh
	TWINPORT_PYMONGO=all TWINPORT_PYMONGO_REPORT=$(CURDIR)/docs/mongo-specs.md \
		cargo test -p twinport-integration --locked --test pymongo -- --nocapture

fuzz: ## every fuzz target for FUZZ_SECONDS each (600)
	bash .ci/steps fuzz

bench: ## measure Twinport against a direct connection and other poolers
	cargo run --release -p twinport-benches $(ARGS)

# `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo
# Where rustup puts cargo, for shells that have not heard of it.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help build release demo test check clean setup

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## debug build
	$(CARGO) build --locked

release: ## build as for a router, for this machine
	$(CARGO) build --locked --release

demo: ## show it all in network namespaces, on any Debian, as root
	@tests/demo/run.sh

setup: ## install what the tests need (Debian, as root)
	@tests/setup.sh

check: ## formatting, lints and unit tests: fast, no root
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --lib

test: setup ## everything: check, integration, namespaces, shipped configuration (as root)
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked
	$(CARGO) run --locked --quiet -- check uci/upnpd

clean: ## remove everything built
	$(CARGO) clean

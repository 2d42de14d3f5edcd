#!/usr/bin/env bash
# Builds the release binary that the packages carry, for one architecture.
#
#   packaging/build.sh [amd64|arm64]      says the binary's path on its last line
#
# With cargo-zigbuild and zig the binary runs from glibc 2.28 on, whatever this machine has:
#   cargo install --locked cargo-zigbuild cargo-auditable
#   python3 -m venv .venv-zig && .venv-zig/bin/pip install ziglang    (and its bin in PATH)
# Without them it is built for this machine's glibc, and the package's Depends says so.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=packaging/common.sh
. packaging/common.sh

arch=${1:-$(host_arch)}
target=$(target_of "$arch")
into=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# Not by `--version`, which not every version of theirs takes.
has() { command -v "cargo-$1" >/dev/null; }

command=(cargo)
if has auditable; then
    command+=(auditable)
else
    say "cargo-auditable is missing: the binary will not carry its list of crates"
fi
if has zigbuild && { command -v zig >/dev/null || command -v python-zig >/dev/null || python3 -c 'import ziglang' 2>/dev/null; }; then
    command+=(zigbuild --target "$target.$OLDEST_GLIBC")
elif [ "$arch" = "$(host_arch)" ]; then
    say "cargo-zigbuild or zig is missing: the binary will want this machine's glibc"
    command+=(build --target "$target")
elif command -v cross >/dev/null; then
    command=(cross build --target "$target")
else
    die "for $arch this needs cargo-zigbuild and zig, or cross; see the head of this script"
fi

# The same sources give the same binary, wherever they lie.
RUSTFLAGS="--remap-path-prefix=$PWD=/andon --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export RUSTFLAGS CARGO_INCREMENTAL=0
say "${command[*]} --release --locked --bin andon"
"${command[@]}" --release --locked --bin andon >&2

binary=$into/$target/release/andon
if ! runs_on_oldest "$binary"; then
    say "this binary wants glibc $(highest GLIBC "$binary"); packages are meant for $OLDEST_GLIBC"
fi
echo "$binary"

# Sourced by the scripts beside it: what they share.
# shellcheck shell=bash

# The oldest glibc that packages are made for: Debian 10, Ubuntu 20.04, RHEL 8.
# shellcheck disable=SC2034 # used where this file is sourced
OLDEST_GLIBC=2.28

say() { echo "$(basename "$0" .sh): $*"; }
die() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }

# Debian's name of an architecture -> the compiler's target.
target_of() {
    case $1 in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        *) die "no package for '$1'; amd64 and arm64 are built" ;;
    esac
}

host_arch() {
    case $(uname -m) in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        *) uname -m ;;
    esac
}

# Highest version of a family of symbols (GLIBC, GLIBCXX) that an ELF file wants; readelf reads
# every architecture.
highest() {
    LC_ALL=C readelf --version-info --wide "$2" |
        { grep -oE "Name: $1_[0-9.]+" || true; } | sed "s/.*_//" | sort -Vu | tail -n 1
}

# Fails when an ELF file wants a newer glibc than OLDEST_GLIBC.
runs_on_oldest() {
    local want
    want=$(highest GLIBC "$1")
    [ -n "$want" ] || die "$1 names no glibc version: is it a dynamic Linux binary?"
    [ "$(printf '%s\n%s\n' "$want" "$OLDEST_GLIBC" | sort -V | tail -n 1)" = "$OLDEST_GLIBC" ]
}

#!/bin/sh
# Runs the interop tests: the built daemon against Debian's mosquitto and libmodbus, PyPI's pymodbus.
#
#   ANDON_BIN=target/release/andon ORT_DYLIB_PATH=…/libonnxruntime.so interop/run.sh [pytest arguments]
#
# Needs mosquitto, libfaketime, libmodbus with a C compiler, python3 (3.11 or newer) and its venv:
#   apt-get install mosquitto faketime gcc libc6-dev pkg-config libmodbus-dev python3-venv
# Its Python packages go into .venv-interop, once.
set -eu

die() { echo "interop: $*" >&2; exit 1; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$here")
venv=$root/.venv-interop
PATH=$PATH:/usr/sbin:/usr/local/sbin
export PATH

: "${ANDON_BIN:=$root/target/release/andon}"
: "${ORT_DYLIB_PATH:=$root/vendor/onnxruntime/lib/libonnxruntime.so}"
export ANDON_BIN ORT_DYLIB_PATH
[ -x "$ANDON_BIN" ] || die "there is no daemon at $ANDON_BIN; run make interop, or set ANDON_BIN"
[ -e "$ORT_DYLIB_PATH" ] || die "there is no ONNX Runtime at $ORT_DYLIB_PATH; run tools/fetch-runtime.sh"
command -v mosquitto >/dev/null || die "mosquitto is missing; install it: apt-get install mosquitto"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "python3 is older than 3.11"

if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    echo "interop: installing the test's Python packages into .venv-interop (once)"
    python3 -m venv --clear "$venv" || die "python3 cannot make a venv; install it: apt-get install python3-venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi

# -s: which data was used and what was measured is part of the result.
exec "$venv/bin/python" -m pytest -p no:cacheprovider -s -q "$here" "$@"

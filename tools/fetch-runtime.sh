#!/bin/sh
# Fetches ONNX Runtime's shared library, pinned by hash, into vendor/onnxruntime/lib/.
#
#   tools/fetch-runtime.sh                  for this machine
#   tools/fetch-runtime.sh --arch aarch64 --into DIR
#                                           for another one (packages, cross builds)
#   tools/fetch-runtime.sh --wheel FILE     from a wheel that was carried here by hand
#
# The library comes out of the official onnxruntime wheel on PyPI; nothing is installed
# into any Python. Needs python3 and its pip (Debian, Ubuntu: apt-get install python3-pip),
# glibc 2.28 or newer to run, and the network the first time only.
set -eu

version=1.31.1
sha256_x86_64=1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536
sha256_aarch64=0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc

say() { echo "fetch-runtime: $*"; }
die() { echo "fetch-runtime: $*" >&2; exit 1; }

arch=$(uname -m)
into=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/vendor/onnxruntime
wheel=
while [ $# -gt 0 ]; do
    case $1 in
        -h|--help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
        --arch|--into|--wheel) [ $# -ge 2 ] || die "$1 wants a value" ;;
        *) die "unknown argument '$1'; see $0 --help" ;;
    esac
    case $1 in
        --arch) arch=$2 ;;
        --into) into=$2 ;;
        --wheel) wheel=$2 ;;
    esac
    shift 2
done

case $arch in
    x86_64|amd64) arch=x86_64; sha256=$sha256_x86_64 ;;
    aarch64|arm64) arch=aarch64; sha256=$sha256_aarch64 ;;
    *) die "no pinned library for '$arch'; expected x86_64 or aarch64" ;;
esac

lib=$into/lib
file=libonnxruntime.so.$version
stamp=$lib/.fetched

command -v python3 >/dev/null 2>&1 || die "python3 is missing; install it: apt-get install python3-pip"

sum() { python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"; }

# The stamp ends with the library's own hash, so a damaged or swapped file is fetched anew.
if [ -f "$stamp" ] && [ -f "$lib/$file" ] && [ -e "$lib/libonnxruntime.so" ] &&
    [ "$(cat "$stamp")" = "onnxruntime $version $arch $sha256 $(sum "$lib/$file")" ]; then
    say "ONNX Runtime $version ($arch) is already in $lib"
    exit 0
fi

mkdir -p "$into"
work=$(mktemp -d "$into/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

if [ -z "$wheel" ]; then
    python3 -m pip --version >/dev/null 2>&1 ||
        die "python3 has no pip; install it: apt-get install python3-pip (or pass --wheel FILE)"
    say "downloading the onnxruntime $version wheel for $arch (about 23 MB)"
    echo "onnxruntime==$version --hash=sha256:$sha256" >"$work/requirements.txt"
    # Always the cp312 wheel, whatever python3 is here: the library inside does not depend on it.
    PIP_REQUIRE_VIRTUALENV=0 python3 -m pip download --quiet --disable-pip-version-check \
        --require-hashes --no-deps --only-binary=:all: \
        --platform "manylinux_2_28_$arch" --implementation cp --python-version 3.12 \
        --dest "$work" --requirement "$work/requirements.txt" ||
        die "pip could not download it (its reason stands above). Offline? Fetch the wheel
  onnxruntime-$version-cp312-cp312-manylinux_2_28_$arch.whl on another machine and run
  $0 --arch $arch --wheel FILE"
    wheel=$(echo "$work"/onnxruntime-*.whl)
fi

[ -f "$wheel" ] || die "no such file: $wheel"
got=$(sum "$wheel")
[ "$got" = "$sha256" ] || die "$wheel is not the pinned wheel for $arch: expected sha256 $sha256, got $got"

python3 - "$wheel" "$file" "$work/lib" <<'PYTHON'
import os, shutil, sys, zipfile

wheel, library, into = sys.argv[1:]
os.makedirs(into)
with zipfile.ZipFile(wheel) as z:
    for name in (f"capi/{library}", "LICENSE", "ThirdPartyNotices.txt"):
        with z.open(f"onnxruntime/{name}") as src, open(os.path.join(into, os.path.basename(name)), "wb") as dst:
            shutil.copyfileobj(src, dst)
            os.fsync(dst.fileno())
PYTHON
chmod 755 "$work/lib" "$work/lib/$file"
ln -s "$file" "$work/lib/libonnxruntime.so"
echo "onnxruntime $version $arch $sha256 $(sum "$work/lib/$file")" >"$work/lib/.fetched"

rm -rf "$lib"
mv "$work/lib" "$lib"
say "ONNX Runtime $version ($arch) is in $lib (library, licence, third-party notices)"

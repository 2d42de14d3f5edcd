#!/bin/sh
# Times the shipped models on a GPU against the CPU, and says how far the answers differ.
#
#   ORT_DYLIB_PATH=FOLDER/libonnxruntime.so tools/gpu-check.sh [MODEL FOLDER ...]
#
# DEVICE (cuda), BATCH (1,16,64), ANDON_BIN (target/release/andon). Needs an NVIDIA GPU with its driver and
# the GPU build of ONNX Runtime; docs/gpu.md says where from. Exits 2 where the box cannot.
set -eu

die() { echo "gpu-check: $*" >&2; exit 2; }

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
: "${ANDON_BIN:=$root/target/release/andon}" "${DEVICE:=cuda}" "${BATCH:=1,16,64}"
: "${ORT_DYLIB_PATH:=$root/vendor/onnxruntime/lib/libonnxruntime.so}"
export ORT_DYLIB_PATH

command -v nvidia-smi >/dev/null 2>&1 || die "this box has no GPU that could be used: nvidia-smi is missing (it comes with NVIDIA's driver)"
gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1) ||
    die "nvidia-smi finds no GPU: $gpu"
[ -x "$ANDON_BIN" ] || die "there is no daemon at $ANDON_BIN; run make build, or set ANDON_BIN"
[ -e "$ORT_DYLIB_PATH" ] || die "there is no ONNX Runtime at $ORT_DYLIB_PATH; docs/gpu.md says where the GPU build is from"
provider=$(dirname -- "$(readlink -f -- "$ORT_DYLIB_PATH")")/libonnxruntime_providers_$DEVICE.so
[ -e "$provider" ] || die "$ORT_DYLIB_PATH is not the GPU build: $(basename -- "$provider") does not lie beside it; docs/gpu.md"
missing=$(ldd "$provider" 2>/dev/null | awk '/not found/ {print $1}' | grep -v '^libonnxruntime_providers_shared' | tr '\n' ' ' || true)
[ -z "$missing" ] || die "$(basename -- "$provider") lacks $missing: CUDA or cuDNN is not where the loader looks (LD_LIBRARY_PATH)"

echo "device, driver, memory: $gpu"
echo "processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
echo "runtime: $(basename -- "$(readlink -f -- "$ORT_DYLIB_PATH")")"
[ $# -gt 0 ] || set -- "$root"/models/*/
failed=0
for model; do
    [ -d "$model" ] || die "$model: no such folder"
    for device in cpu "$DEVICE"; do
        echo
        "$ANDON_BIN" bench inference --model "$model" --device "$device" --batch "$BATCH" || failed=1
    done
done
[ "$failed" = 0 ] || { echo "gpu-check: a model did not run on its device; the reason stands above" >&2; exit 1; }

#!/usr/bin/env bash
# Makes a container image of a package.
#
#   packaging/image.sh PACKAGE
#
# ENGINE=docker     instead of podman, or what is there
# BASE=IMAGE        another Debian or Ubuntu than bookworm-slim
# TAG=…             default: andon:<the package's version>
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

package=$(realpath "${1:?which package?}")
engine=${ENGINE:-$(command -v podman || command -v docker || true)}
[ -n "$engine" ] || { echo "image: neither podman nor docker is here" >&2; exit 1; }
version=$(dpkg-deb --field "$package" Version)
tag=${TAG:-andon:$version}
arguments=(--build-arg "PACKAGE=$(basename "$package")")
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
# The package alone is sent to the engine.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$package" "$context/"
# The package's dependencies come over the host's network; `docker` format knows health checks.
format=()
case $(basename "$engine") in podman|buildah) format=(--format docker) ;; esac
"$engine" build "${format[@]}" --network host --tag "$tag" "${arguments[@]}" --file "$here/Containerfile" "$context"
"$engine" tag "$tag" andon:latest
echo "image: $tag"

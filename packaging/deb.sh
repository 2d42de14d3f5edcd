#!/usr/bin/env bash
# Makes the Debian package.
#
#   packaging/deb.sh [amd64|arm64]
#
# ANDON_BIN=FILE    takes this binary instead of building one (packaging/build.sh)
# DEB_VERSION=…     another version than Cargo.toml's; DEB_MAINTAINER='Name <address>'
# Man pages and completions are asked from the binary; for another architecture than this
# machine's from ANDON_HOST_BIN, a binary that runs here, or they are left out.
# Needs dpkg-deb, readelf (binutils), python3 3.11 and its pip. The same commit gives the same package.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=packaging/common.sh
. packaging/common.sh

arch=${1:-$(host_arch)}
target=$(target_of "$arch")
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/deb
version=${DEB_VERSION:-$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)-1}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}
export SOURCE_DATE_EPOCH
umask 022

binary=${ANDON_BIN:-}
[ -n "$binary" ] || binary=$(packaging/build.sh "$arch" | tee /dev/stderr | tail -n 1)
[ -x "$binary" ] || die "no such binary: $binary"

runtime=$out/onnxruntime-$arch
tools/fetch-runtime.sh --arch "$arch" --into "$runtime"
library=$(realpath "$runtime/lib/libonnxruntime.so")

root=$out/root-$arch
rm -rf "$root"
doc=$root/usr/share/doc/andon
install -d "$root/DEBIAN" "$doc/examples/drop-ins" "$doc/onnxruntime"

# The binary without line tables, but with the names that a backtrace prints.
install -D -m 0755 "$binary" "$root/usr/bin/andon"
strip="strip"
[ "$arch" = "$(host_arch)" ] || strip=$(target_of "$arch" | cut -d- -f1)-linux-gnu-strip
if command -v "$strip" >/dev/null; then
    "$strip" --strip-debug "$root/usr/bin/andon"
else
    say "$strip is missing: the binary keeps its line tables"
fi

install -D -m 0644 "$library" "$root/usr/lib/andon/$(basename "$library")"
ln -s "$(basename "$library")" "$root/usr/lib/andon/libonnxruntime.so"
install -D -m 0644 systemd/andon.service "$root/usr/lib/systemd/system/andon.service"
install -D -m 0644 packaging/andon.toml "$root/etc/andon/andon.toml"
for file in models/*/*/*; do
    install -D -m 0644 "$file" "$root/usr/share/andon/$file"
done

install -m 0644 packaging/debian/copyright "$doc/copyright"
install -m 0644 README.md ARCHITECTURE.md docs/*.md "$doc/"
[ ! -f SECURITY.md ] || install -m 0644 SECURITY.md "$doc/"
for file in docs/asyncapi.json docs/schema/*.json; do
    install -D -m 0644 "$file" "$doc/${file#docs/}"
done
install -m 0644 config/* "$doc/examples/"
install -m 0644 systemd/drop-ins/*.conf "$doc/examples/drop-ins/"
install -m 0644 "$runtime/lib/LICENSE" "$doc/onnxruntime/"
gzip -9n <"$runtime/lib/ThirdPartyNotices.txt" >"$doc/onnxruntime/ThirdPartyNotices.txt.gz"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
maintainer=${DEB_MAINTAINER:-The Andon authors <andon@localhost>}
gzip -9n >"$doc/changelog.Debian.gz" <<LOG
andon ($version) stable; urgency=medium

  * See changelog.gz.

 -- $maintainer  $(date -u -R --date="@$SOURCE_DATE_EPOCH")
LOG
packaging/sbom.py "$target" "$library" >"$doc/sbom.cdx.json"

# What the binary can say about its own use, where it can.
host=${ANDON_HOST_BIN:-}
[ -n "$host" ] || [ "$arch" != "$(host_arch)" ] || host=$binary
speaks() { [ -n "$host" ] && "$host" "$1" --help >/dev/null 2>&1; }
if speaks completions; then
    completions=$root/usr/share/bash-completion/completions
    install -d "$completions" "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
    "$host" completions bash >"$completions/andon"
    "$host" completions zsh >"$root/usr/share/zsh/vendor-completions/_andon"
    "$host" completions fish >"$root/usr/share/fish/vendor_completions.d/andon.fish"
else
    say "no binary here offers \`completions\`; the package goes without"
fi
if speaks man; then
    "$host" man --dir "$root/usr/share/man/man1"
    gzip -9n "$root"/usr/share/man/man1/*.1
else
    say "no binary here offers \`man\`; the package goes without a man page"
fi

# What it needs: the newest symbols that its two files ask for.
needed() { LC_ALL=C readelf --dynamic --wide "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u; }
glibc=$({ highest GLIBC "$root/usr/bin/andon"; highest GLIBC "$library"; } | sort -V | tail -n 1)
depends="libc6 (>= $glibc), adduser"
for name in $(needed "$root/usr/bin/andon" "$library"); do
    case $name in
        libc.so.*|libm.so.*|libdl.so.*|librt.so.*|libpthread.so.*|ld-linux*) ;;
        libstdc++.so.6) depends+=", libstdc++6 (>= 8)" ;;
        libgcc_s.so.1) depends+=", libgcc-s1 | libgcc1" ;;
        libonnxruntime*) ;;
        *) die "$name is needed, and no package is known for it" ;;
    esac
done

find "$root" -mindepth 1 -type d -exec chmod 0755 {} +
cat >"$root/DEBIAN/control" <<CONTROL
Package: andon
Version: $version
Architecture: $arch
Section: net
Priority: optional
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends
Recommends: systemd, procps
Suggests: mosquitto
Description: shop-floor prediction at the edge: MQTT and Modbus in, alerts out
 Andon listens to the machines of a production line over MQTT and Modbus, keeps
 what they say in a local buffer, asks ONNX models on the box whether a part
 will be bad or a machine will fail, and publishes alerts over MQTT.
 .
 ONNX Runtime comes along in /usr/lib/andon.
CONTROL
echo /etc/andon/andon.toml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 0755 "packaging/debian/$script" "$root/DEBIAN/$script"
done
install -D -m 0644 packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/andon"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

package=$out/andon_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >&2
say "needs $depends"
if ! runs_on_oldest "$root/usr/bin/andon"; then
    say "made for this machine's glibc: it does not install on systems older than glibc $glibc"
fi
echo "$package"

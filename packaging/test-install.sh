#!/usr/bin/env bash
# Installs the package in a clean Debian, uses it as the box owner does, upgrades, removes and
# purges it.
#
#   packaging/test-install.sh PACKAGE      SUITE=bullseye for another Debian than bookworm
#
# A package for another architecture is tried in emulation, slowly: Debian's qemu-user-static with binfmt_misc.
# Needs root, debootstrap and Debian's mirror. The clean tree is kept beside the package; all
# else happens in a copy of it, in a network and process tree of its own that end with the test.
set -euo pipefail

package=$(realpath "${1:?which package?}")
suite=${SUITE:-bookworm}
arch=$(dpkg-deb --field "$package" Architecture)
clean=$(dirname "$package")/clean-$suite-$arch.tar
# Seconds that anything may take.
patience=30
[ "$arch" = "$(dpkg --print-architecture)" ] || patience=300
step() { echo "deb-test: $*"; }

if [ "${2:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "deb-test: needs root, for chroot and debootstrap" >&2; exit 1; }
    if [ ! -f "$clean" ]; then
        step "making a clean $suite ($arch), once"
        debootstrap --arch="$arch" --variant=minbase --include=mosquitto,mosquitto-clients \
            "$suite" "$clean.tree" >"$clean.log" 2>&1 || { tail "$clean.log" >&2; exit 1; }
        tar -C "$clean.tree" -cf "$clean.part" .
        rm -rf "$clean.tree"
        mv "$clean.part" "$clean"
    fi
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    tar -C "$root" -xpf "$clean"
    # Dependencies come over the network; everything that runs later has none.
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" apt-get update -qq
    chroot "$root" apt-get install -y -qq --no-install-recommends --download-only adduser libstdc++6 libgcc-s1 >/dev/null
    mkdir "$root/packages"
    cp "$package" "$root/packages/first.deb"
    unshare --net --mount --pid --fork --kill-child "$0" "$package" inside "$root"
    exit
fi

root=${3:?}
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ip link set lo up

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# An emulator has a thread of its own in each process, and andon sets this itself only while there is one.
[ "$arch" = "$(dpkg --print-architecture)" ] || export ORT_DISABLE_TELEMETRY=1
in_root() { chroot "$root" "$@"; }
fail() {
    echo "deb-test: FAILED: $*" >&2
    tail -n 20 "$root"/packages/*.log >&2 || true
    exit 1
}
as_andon() { chroot --userspec=andon:andon "$root" /bin/sh -c 'cd /var/lib/andon && exec "$@"' sh "$@"; }

# Waits for a condition.
await() {
    local what=$1 tries=$((patience * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "$what did not come"
        sleep 0.2
    done
}

start() {
    # Not through a function: the signals of `stop` are for the daemon itself.
    chroot --userspec=andon:andon "$root" /bin/sh -c 'cd /var/lib/andon && exec andon run' >"$root/packages/daemon.log" 2>&1 &
    daemon=$!
    await "readiness" ready
}
stop() {
    kill -TERM "$daemon"
    wait "$daemon" || fail "the daemon did not end cleanly"
}
# says WORDS COMMAND...; not a pipe into `grep -q`, which ends before its writer has.
says() {
    local words=$1 said
    shift
    said=$("$@") && grep -q -- "$words" <<<"$said"
}
ready() { says '"state": *"online"' in_root andon status --json; }
publish() {
    in_root mosquitto_pub -h 127.0.0.1 -q 1 -t plant/spindle-1/telemetry -m "{\"ts\": $(date +%s%3N), \"values\": {\"vibration\": $1}}"
}
seen() { says "$1" in_root andon tags --json; }
in_history() { says vibration-high in_root andon history --json; }

step "install"
in_root apt-get install -y -qq --no-install-recommends /packages/first.deb >"$root/packages/apt.log" 2>&1 || fail "apt-get install"
in_root andon --version
in_root getent passwd andon >/dev/null || fail "there is no user"
[ "$(in_root stat -c %U:%a /var/lib/andon)" = andon:750 ] || fail "/var/lib/andon is not andon's"
as_andon /usr/bin/andon check || fail "the shipped configuration is not good"
if in_root ldd /usr/bin/andon /usr/lib/andon/libonnxruntime.so | grep "not found"; then fail "libraries are missing"; fi

step "run, with the configuration as shipped and a real broker"
in_root mosquitto -p 1883 >"$root/packages/mosquitto.log" 2>&1 &
await "the broker" publish 1
start
publish_until_seen() { publish 1.5 && seen spindle-1; }
await "the first reading" publish_until_seen
says '"online"' in_root mosquitto_sub -h 127.0.0.1 -C 1 -W "$patience" -t plant/andon/status || fail "no status message"
stop

step "a rule and a model of the box owner's own"
sed -i 's/^name = "box"/name = "plant7"/' "$root/etc/andon/andon.toml"
cat >>"$root/etc/andon/andon.toml" <<'TOML'

[[prediction]]
name = "bearing"
model = "spindle-anomaly"
assets = ["spindle-*"]

[[rule]]
name = "vibration-high"
assets = ["spindle-*"]
tag = "vibration"
when = "above"
limit = 5.0
alert = { severity = 800 }
TOML
cp "$root/etc/andon/andon.toml" "$root/packages/edited.toml"
as_andon /usr/bin/andon check || fail "the edited configuration is not good"
start
in_root mosquitto_sub -h 127.0.0.1 -C 1 -W "$patience" -t 'plant/andon/spindle-1/alert/vibration-high' >"$root/packages/alert.json" &
alert=$!
published() { publish 9.5 && [ -s "$root/packages/alert.json" ]; }
await "the alert" published
wait "$alert"
grep -q '"active"' "$root/packages/alert.json" || fail "the alert is not active"
await "the alert's history" in_history
stop

step "upgrade, to a package with another configuration"
mkdir "$root/packages/next"
dpkg-deb -R "$root/packages/first.deb" "$root/packages/next"
sed -i 's/^Version: .*/&+next/' "$root/packages/next/DEBIAN/control"
echo '# A later version says something else here.' >>"$root/packages/next/etc/andon/andon.toml"
dpkg-deb --root-owner-group -Znone --build "$root/packages/next" "$root/packages/next.deb" >/dev/null
in_root dpkg --force-confdef --force-confold -i /packages/next.deb >>"$root/packages/apt.log" 2>&1 || fail "upgrade"
says '^Version: .*+next$' in_root dpkg -s andon || fail "the version did not change"
cmp "$root/etc/andon/andon.toml" "$root/packages/edited.toml" || fail "the upgrade changed the configuration"
[ -f "$root/etc/andon/andon.toml.dpkg-dist" ] || fail "the new configuration is not beside the old"
start
in_history || fail "the upgrade lost the history"
stop

step "remove: the program goes, configuration and buffer stay"
in_root apt-get remove -y -qq andon >>"$root/packages/apt.log" 2>&1 || fail "remove"
if [ -e "$root/usr/bin/andon" ] || [ -e "$root/usr/lib/andon" ]; then fail "the program is still there"; fi
cmp "$root/etc/andon/andon.toml" "$root/packages/edited.toml" || fail "remove took the configuration"
[ -s "$root/var/lib/andon/andon.db" ] || fail "remove took the buffer"

step "install again: what stayed is used"
in_root dpkg --force-confold -i /packages/first.deb >>"$root/packages/apt.log" 2>&1 || fail "second install"
start
in_history || fail "the second installation does not see the history"
stop

step "purge: nothing stays"
in_root apt-get purge -y -qq andon >>"$root/packages/apt.log" 2>&1 || fail "purge"
for path in /etc/andon /var/lib/andon /usr/share/andon /usr/share/doc/andon /usr/lib/systemd/system/andon.service; do
    [ ! -e "$root$path" ] || fail "purge left $path"
done
step "passed ($suite, $arch)"

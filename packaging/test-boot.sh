#!/usr/bin/env bash
# Boots a Debian with the package in a virtual machine, and puts its unit to the test under a real
# systemd: sandbox, watchdog, restarts, credentials, serial line.
#
#   packaging/test-boot.sh PACKAGE      SUITE=trixie for another Debian than bookworm
#
# Needs root, debootstrap, qemu-system-x86, e2fsprogs and Debian's mirror. It emulates, which
# works everywhere; ACCEL=kvm is quicker where that works.
# The base tree is kept beside the package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

package=$(realpath "${1:?which package?}")
suite=${SUITE:-bookworm}
base=$(dirname "$package")/boot-$suite.tar
include=systemd,systemd-sysv,udev,dbus,adduser,procps,libstdc++6,libgcc-s1,mosquitto,mosquitto-clients,initramfs-tools,linux-image-cloud-amd64
step() { echo "boot-test: $*"; }

[ "$(id -u)" = 0 ] || { echo "boot-test: needs root" >&2; exit 1; }
if [ ! -f "$base" ]; then
    step "making a bootable $suite, once"
    debootstrap --variant=minbase --include="$include" "$suite" "$base.tree" >"$base.log" 2>&1 || { tail "$base.log" >&2; exit 1; }
    tar -C "$base.tree" -cf "$base.part" .
    rm -rf "$base.tree"
    mv "$base.part" "$base"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir "$root"
tar -C "$root" -xpf "$base"
cp "$package" "$root/first.deb"
chroot "$root" dpkg -i /first.deb >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2; exit 1; }
rm "$root/first.deb"
install -m 0755 "$here/boot/guest.sh" "$root/usr/local/sbin/guest"
install -m 0644 "$here/boot/guest.service" "$root/etc/systemd/system/guest.service"
chroot "$root" systemctl --quiet enable guest.service
chroot "$root" systemctl --quiet disable mosquitto.service
# A login on the console would hang up on the test.
chroot "$root" systemctl --quiet mask serial-getty@ttyS0.service
kernel=$(echo "$root"/boot/vmlinuz-*)
initrd=$(echo "$root"/boot/initrd.img-*)
truncate -s 2G "$work/disk"
mke2fs -q -t ext4 -d "$root" "$work/disk"

accelerate=(-accel tcg -cpu max)
[ "${ACCEL:-tcg}" = tcg ] || accelerate=(-accel "$ACCEL" -cpu host)
step "booting"
# no_timer_check: on a busy machine the emulated timer is late, and the kernel would give up.
timeout 1500 qemu-system-x86_64 "${accelerate[@]}" -m 2048 -smp 2 -display none -no-reboot -nic none \
    -kernel "$kernel" -initrd "$initrd" -append "root=/dev/vda rw console=ttyS0 panic=-1 no_timer_check" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
    -serial "file:$work/console" -serial null </dev/null || true
tr -d '\r' <"$work/console" | sed -n 's/^.*guest: /boot-test: /p'
if ! grep -q "guest: passed" "$work/console"; then
    tail -n 60 "$work/console" >&2
    echo "boot-test: FAILED" >&2
    exit 1
fi

#!/usr/bin/env bash
# Runs the image as docs/operations.md says, with everything taken from it that it does not need,
# against a broker on this machine.
#
#   packaging/test-image.sh [IMAGE]
#
# Needs podman or docker (ENGINE), mosquitto and its clients, and ports 18830 and 9187 of loopback.
set -euo pipefail

image=${1:-andon:latest}
engine=${ENGINE:-$(command -v podman || command -v docker || true)}
PATH=$PATH:/usr/sbin
step() { echo "image-test: $*"; }
fail() {
    echo "image-test: FAILED: $*" >&2
    "$engine" logs andon-test >&2 || true
    exit 1
}
work=$(mktemp -d)
broker=
finish() {
    "$engine" rm --force --volumes andon-test >/dev/null 2>&1 || true
    "$engine" volume rm --force andon-test >/dev/null 2>&1 || true
    [ -z "$broker" ] || kill "$broker"
    rm -rf "$work"
}
trap finish EXIT

await() {
    local what=$1 tries=150
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "$what did not come"
        sleep 0.2
    done
}
says() {
    local words=$1 said
    shift
    said=$("$@") && grep -q -- "$words" <<<"$said"
}
publish() {
    mosquitto_pub -h 127.0.0.1 -p 18830 -q 1 -t plant/spindle-1/telemetry -m "{\"ts\": $(date +%s%3N), \"values\": {\"vibration\": $1}}"
}
inside() { "$engine" exec andon-test andon "$@"; }
run() {
    "$engine" run --detach --name andon-test --network host --read-only --cap-drop all \
        --security-opt no-new-privileges --memory 1g --pids-limit 256 \
        --volume andon-test:/var/lib/andon --volume "$work:/etc/andon:ro" "$image" >/dev/null
    await "readiness" says '"state": *"online"' inside status --json
}

step "the image: $("$engine" run --rm --network none "$image" --version | head -n 1)"
"$engine" run --rm --network none --entrypoint cat "$image" /etc/andon/andon.toml |
    sed 's|mqtt://127.0.0.1:1883|mqtt://127.0.0.1:18830|' >"$work/andon.toml"
cat >>"$work/andon.toml" <<'TOML'

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
chmod 0755 "$work"
mosquitto -p 18830 >"$work/mosquitto.log" 2>&1 &
broker=$!
await "the broker" publish 1

step "run: read-only, no capabilities, a user of its own"
run
[ "$("$engine" exec andon-test id -u)" = 990 ] || fail "it runs as $("$engine" exec andon-test id)"
! "$engine" exec andon-test sh -c ': >/usr/bin/x' 2>/dev/null || fail "it can write outside of its volume"
mosquitto_sub -h 127.0.0.1 -p 18830 -C 1 -W 60 -t plant/andon/spindle-1/alert/vibration-high >"$work/alert" &
subscriber=$!
alerted() { publish 9.5 && [ -s "$work/alert" ]; }
await "the alert" alerted
wait "$subscriber"
grep -q '"active"' "$work/alert" || fail "the alert is not active"

step "stop: drained; another container on the same volume remembers"
"$engine" stop --time 10 andon-test >/dev/null
[ "$("$engine" inspect --format '{{.State.ExitCode}}' andon-test)" = 0 ] || fail "the stop was not clean"
"$engine" rm andon-test >/dev/null
run
await "the history" says vibration-high inside history --json
step "passed"

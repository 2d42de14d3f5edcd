#!/bin/bash
# Runs inside the virtual machine of test-boot.sh.
set -euo pipefail

config=/etc/andon/andon.toml
drop_ins=/etc/systemd/system/andon.service.d
say() { echo "guest: $*"; }
# entries MATCHES...: how many of the journal's entries have these fields.
entries() { journalctl -q --no-pager -o json "$@" | wc -l; }
fail() {
    say "FAILED: $*"
    { andon status; journalctl --no-pager -q -n 40 -u andon -u mosquitto; } 2>&1 | sed 's/^/guest:   /' || true
    exit 1
}
# says WORDS COMMAND...; not a pipe into `grep -q`, which ends before its writer has.
says() {
    local words=$1 said
    shift
    said=$("$@") && grep -q -- "$words" <<<"$said"
}
property() { systemctl show -P "$1" andon; }
# await SECONDS WHAT COMMAND...
await() {
    local tries=$(($1 * 5)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "$what did not come"
        sleep 0.2
    done
}
active() { [ "$(property ActiveState)" = active ]; }
restarted() { active && [ "$(property NRestarts)" -ge "$1" ]; }
publish() {
    mosquitto_pub -h 127.0.0.1 "${login[@]}" -q 1 -t plant/spindle-1/telemetry -m "{\"ts\": $(date +%s%3N), \"values\": {\"vibration\": $1}}"
}
drop_in() {
    mkdir -p "$drop_ins"
    cat >"$drop_ins/$1.conf"
    systemctl daemon-reload
}
login=()

say "$(systemctl --version | head -n 1), $(uname -r), $(andon -V)"
mosquitto -p 1883 2>/dev/null &
broker=$!

say "enable and start, as shipped"
systemctl --quiet enable --now andon || fail "start"
active || fail "not active"
[ "$(property WatchdogUSec)" = 30s ] || fail "no watchdog"

say "the journal: fields, not only text"
[ "$(entries -u andon SYSLOG_IDENTIFIER=andon ANDON_TARGET=andon::cli::run PRIORITY=6)" -ge 1 ] || fail "the log has no fields"
says 'andon::cli::run: Andon is running. http="http://127.0.0.1:9187' journalctl -q -u andon -o cat || fail "the text lacks the fields"

say "a forbidden system call kills from here on: the filter must hold all that is needed"
drop_in strict <<'UNIT'
[Service]
SystemCallErrorNumber=kill
UNIT
cat >>"$config" <<'TOML'

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
systemctl restart andon || fail "restart with a model"
mosquitto_sub -h 127.0.0.1 -C 1 -W 60 -t plant/andon/spindle-1/alert/vibration-high >/run/alert &
subscriber=$!
alerted() { publish 9.5 && [ -s /run/alert ]; }
await 60 "the alert" alerted
wait "$subscriber"
grep -q '"active"' /run/alert || fail "the alert is not active"
says spindle-1 andon tags --json || fail "no reading"
[ "$(property NRestarts)" = 0 ] || fail "it was restarted"

say "the sandbox, as the kernel sees it"
pid=$(property MainPID)
status=/proc/$pid/status
for line in "NoNewPrivs:.1" "Seccomp:.2" "CapEff:.0000000000000000" "CapBnd:.0000000000000000"; do
    grep -q "^$line" "$status" || fail "$line in $status"
done
[ "$(stat -c %U "/proc/$pid")" = andon ] || fail "it runs as $(stat -c %U "/proc/$pid")"
for place in pid mnt user ipc; do
    [ "$(readlink "/proc/$pid/ns/$place")" != "$(readlink "/proc/1/ns/$place")" ] || [ "$place" = pid ] || fail "$place is the host's"
done
! nsenter -t "$pid" -m sh -c ': >/etc/andon/x' 2>/dev/null || fail "it can write /etc"
! nsenter -t "$pid" -m test -e /dev/vda || fail "it sees the disk"
say "$(systemd-analyze security --no-pager andon | sed -n 's/.*\(Overall exposure.*\)/\1/p')"

say "who did what, in the journal: over HTTP, over MQTT, by a command"
andon alerts ack spindle-1 vibration-high --by 'R. Meyer' >/dev/null || fail "acknowledge"
audit=(-u andon ANDON_TARGET=audit)
[ "$(entries "${audit[@]}" ANDON_ACTION=acknowledge 'ANDON_BY=R. Meyer' ANDON_OUTCOME=done ANDON_OBJECT=spindle-1/vibration-high)" = 1 ] || fail "no audit of the acknowledgement"
mosquitto_pub -h 127.0.0.1 -q 1 -t plant/andon/spindle-1/label/bearing -m 'no label'
labelled() { [ "$(entries "${audit[@]}" ANDON_ACTION=label ANDON_OUTCOME=refused PRIORITY=4)" = 1 ]; }
await 30 "the audit of a label" labelled
cp -r /usr/share/andon/models/spindle-anomaly /run/spindle-anomaly
andon model add "$(echo /run/spindle-anomaly/*)" --by admin 2>/dev/null && fail "a version was added over itself"
added() { [ "$(entries -t andon ANDON_TARGET=audit ANDON_ACTION=add ANDON_BY=admin ANDON_OUTCOME=refused _UID=0)" = 1 ]; }
await 30 "the audit of a command" added

say "killed: it comes back and remembers"
kill -KILL "$pid"
await 30 "the restart" restarted 1
says vibration-high andon history --json || fail "the history is gone"

say "stopped in its tracks: the watchdog ends it"
kill -STOP "$(property MainPID)"
await 90 "the watchdog's restart" restarted 2
says "[Ww]atchdog timeout" journalctl -q -u andon || fail "the journal does not name the watchdog"

say "a wrong configuration: it waits, and comes back when that is mended"
cp "$config" /run/good.toml
echo 'wrong = true' >>"$config"
systemctl restart andon 2>/dev/null && fail "it started with a wrong configuration"
says "andon.toml:.*error" journalctl -q -u andon || fail "the journal does not name the line"
cp /run/good.toml "$config"
await 60 "the start" active

say "a broker with a password, from a credential that only root can read"
kill "$broker"
wait "$broker" || true
install -d -m 0700 /etc/andon/secret
(umask 077 && head -c 18 /dev/urandom | base64 >/etc/andon/secret/mqtt.password)
password=$(cat /etc/andon/secret/mqtt.password)
mosquitto_passwd -b -c /etc/mosquitto/passwords andon "$password"
chown mosquitto /etc/mosquitto/passwords
printf 'listener 1883 127.0.0.1\nallow_anonymous false\npassword_file /etc/mosquitto/passwords\n' >/run/mosquitto.conf
mosquitto -c /run/mosquitto.conf 2>/dev/null &
drop_in credential <<'UNIT'
[Service]
LoadCredential=mqtt.password:/etc/andon/secret/mqtt.password
UNIT
sed -i 's|^url = .*|&\nusername = "andon"\npassword_file = "/run/credentials/andon.service/mqtt.password"|' "$config"
systemctl restart andon || fail "restart with a credential"
login=(-u andon -P "$password")
online() { says '"online"' mosquitto_sub -h 127.0.0.1 "${login[@]}" -C 1 -W 5 -t plant/andon/status; }
await 60 "the status over the guarded broker" online

say "a serial line, with its drop-in"
cp /usr/share/doc/andon/examples/drop-ins/serial.conf "$drop_ins/"
systemctl daemon-reload
cat >>"$config" <<'TOML'

[[modbus]]
asset = "oven-1"
address = "rtu:///dev/ttyS1"
unit = 1
interval = "1s"
[[modbus.register]]
tag = "temperature"
address = "holding:0"
TOML
systemctl restart andon || fail "restart with a serial line"
line_open() { says /dev/ttyS1 readlink "/proc/$(property MainPID)"/fd/*; }
await 30 "the open serial line" line_open
! nsenter -t "$(property MainPID)" -m -S "$(id -u andon)" sh -c ': </dev/vda' 2>/dev/null || fail "it can read the disk"

says "Error in cpuinfo" journalctl -q -u andon && fail "the runtime cannot see the processor"

say "reload: it takes the signal and goes on"
pid=$(property MainPID)
systemctl reload andon || fail "reload"
sleep 2
active || fail "reload ended it"
[ "$(property MainPID)" = "$pid" ] || fail "reload restarted it"
changed=(-u andon ANDON_TARGET=audit ANDON_ACTION=reload 'ANDON_DETAIL=1 settings have changed, 0 need a restart')
before=$(entries "${changed[@]}")
sed -i 's/^limit = 5.0/limit = 6.0/' "$config"
systemctl reload andon || fail "reload of a change"
reloaded() { [ "$(entries "${changed[@]}")" -gt "$before" ]; }
await 30 "the audit of the reload" reloaded
[ "$(entries -u andon ANDON_TARGET=audit ANDON_ACTION=reload 'ANDON_FROM=signal SIGHUP')" -ge 1 ] || fail "the signal is not in the audit"
wrong=(-u andon ANDON_TARGET=audit ANDON_ACTION=reload ANDON_OUTCOME=refused PRIORITY=4)
refusals=$(entries "${wrong[@]}")
echo 'wrong = true' >>"$config"
systemctl reload andon || fail "reload of a wrong file"
refused() { [ "$(entries "${wrong[@]}")" -gt "$refusals" ]; }
await 30 "the refusal of a wrong file" refused
[ "$(property MainPID)" = "$pid" ] || fail "a wrong file ended it"
sed -i '$d' "$config"

say "HTTP on a socket in the unit's own folder"
sed -i 's|^listen = .*|listen = "unix:/run/andon/http.sock"|' "$config"
systemctl restart andon || fail "restart with a socket"
on_socket() { says '"state": *"online"' andon status --json; }
await 60 "an answer on the socket" on_socket
[ "$(stat -c %U:%G:%a:%F /run/andon/http.sock)" = andon:andon:660:socket ] || fail "the socket is $(stat -c %U:%G:%a:%F /run/andon/http.sock)"
[ "$(stat -c %U:%a /run/andon)" = andon:750 ] || fail "/run/andon is $(stat -c %U:%a /run/andon)"
! setpriv --reuid=nobody --clear-groups andon status --url unix:/run/andon/http.sock >/dev/null 2>&1 || fail "anybody may use the socket"
andon alerts ack spindle-1 vibration-high --by nobody >/dev/null 2>&1 || true
on_audit() { [ "$(entries -u andon ANDON_TARGET=audit ANDON_ACTION=acknowledge 'ANDON_FROM=http user 0 without token')" = 1 ]; }
await 30 "the user's number in the audit" on_audit

say "stop: drained, in time, no failure"
systemctl stop andon
[ "$(property Result)" = success ] || fail "the stop was $(property Result)"
says SIGSYS journalctl -q -u andon && fail "a system call was forbidden"
says "status=31" journalctl -q -u andon && fail "a system call was forbidden"
say "passed"

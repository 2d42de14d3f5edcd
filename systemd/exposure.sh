#!/usr/bin/env bash
# Holds the unit's exposure (`systemd-analyze security`) and that of its drop-ins below a limit,
# and refuses settings that systemd does not know.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v systemd-analyze >/dev/null; then
    echo "exposure: SKIPPED, systemd-analyze is missing (apt-get install systemd)"
    [ -z "${CI:-}" ]
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
units=$work/etc/systemd/system

# score LIMIT [DROP-IN...]
score() {
    local limit=$1 name=andon.service drop_in
    shift
    rm -rf "$units"
    mkdir -p "$units/andon.service.d"
    cp andon.service "$units/"
    for drop_in in "$@"; do
        cp "drop-ins/$drop_in" "$units/andon.service.d/"
        name+=" with $drop_in"
    done
    local said found
    said=$(systemd-analyze security --no-pager --root="$work" --offline=true andon.service 2>"$work/complaints")
    # systemd before 254 ignores these two, as the unit says.
    if grep -vE "'Restart(Steps|MaxDelaySec)'" "$work/complaints" >&2; then
        echo "exposure: systemd does not take $name as it stands" >&2
        return 1
    fi
    found=$(sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p' <<<"$said")
    if ! awk -v found="$found" -v limit="$limit" 'BEGIN { exit !(found != "" && found + 0 <= limit + 0) }'; then
        grep -F '✗' <<<"$said" >&2 || true
        echo "exposure: $name scores ${found:-nothing}, at most $limit is allowed" >&2
        return 1
    fi
    echo "exposure: $name scores $found (limit $limit)"
}

score 1.2
score 1.4 serial.conf
score 1.5 gpu.conf

"""NAB's machine temperature through mosquitto: the failure raises an alert."""

import csv
import json
import math
import random
from datetime import datetime, timezone

import rig

SERIES = "realKnownCause/machine_temperature_system_failure.csv"
TOPIC = "plant/line1/{asset}/telemetry"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000


def load():
    """(what it is, [(ms, value)], labelled windows in ms)"""
    folder = rig.SHARED / "nab"
    if not folder.is_dir():
        folder = rig.SHARED / "data" / "nab"
    try:
        with open(folder / SERIES.split("/")[1], newline="") as f:
            rows = [(at(r["timestamp"]), float(r["value"])) for r in csv.DictReader(f)]
        windows = json.loads((folder / "combined_windows.json").read_text())[SERIES]
        return f"NAB's {SERIES}", rows, [(at(a), at(b)) for a, b in windows]
    except FileNotFoundError:
        return "a generated stand-in (NAB is not here)", *stand_in()


def stand_in():
    """Forty days at 5 minutes: a machine that warms and cools by the day and fails on day 30."""
    draw = random.Random(1)
    start, step = at("2024-01-01"), 300_000
    rows, drift = [], 0.0
    for i in range(40 * 288):
        drift = 0.98 * drift + draw.gauss(0, 0.8)
        day = i / 288
        value = 85 + 8 * math.sin(2 * math.pi * day) + drift
        if 30 <= day < 31:
            value -= 60 * math.sin(math.pi * (day - 30))
        rows.append((start + i * step, round(value, 4)))
    return rows, [(start + int(29.5 * 288) * step, start + int(31.5 * 288) * step)]


def raises(rows, limit, clear):
    """The rule in Python: below `limit` until back above `clear`."""
    on, times = False, []
    for t, v in rows:
        if not on and v <= limit:
            on = True
            times.append(t)
        elif on and v > clear:
            on = False
    return times


def test_a_failing_machine_raises_an_alert_before_or_within_a_labelled_failure(start, broker, tmp_path):
    what, rows, windows = load()
    # Limits from the first 15 % alone, NAB's own probation period (it holds one labelled
    # window, a planned shutdown): what the machine has never shown, by a standard deviation.
    seen = [v for _, v in rows[:int(0.15 * len(rows))]]
    mean = sum(seen) / len(seen)
    clear = min(seen)
    limit = clear - math.sqrt(sum((v - mean) ** 2 for v in seen) / len(seen))

    events = start(rig.Subscriber(broker, "acme/plant7/+/alert/+/event"))
    andon = start(rig.Andon(tmp_path, f"""
[site]
name = "interop"

[broker.plant]
url = "mqtt://127.0.0.1:{broker.port}"

[publish]
broker = "plant"
prefix = "acme/plant7"

[[mqtt]]
broker = "plant"
topic = "{TOPIC}"
payload = "json"
time = "ts"
values = "values"

[[rule]]
name = "too-cold"
assets = ["machine-1"]
tag = "temperature"
when = "below"
limit = {limit}
alert = {{ clear = {clear} }}

[store]
path = "{tmp_path}/andon.db"
commit_interval = "50ms"
retain_age = "36500d"

[http]
listen = "{{http}}"
""")).start()

    feed = start(rig.Publisher(broker))
    for t, value in rows:
        feed.json(TOPIC.format(asset="machine-1"), {"ts": round(t), "values": {"temperature": value}})
    feed.flush()
    ledger = andon.settled(len(rows))
    rig.assert_balanced(ledger)
    assert ledger["stored"] + ledger["rejected"] == len(rows), ledger

    expected = raises(rows, limit, clear)
    assert expected, "the series holds no failure below the limit"
    topic = "acme/plant7/machine-1/alert/too-cold/event"
    rig.wait_for("the alerts have come", lambda: len(rig.raised(events.bodies(topic))) >= len(expected))
    andon.stop()

    times = sorted(rig.millis(d["raised_at"]) for d in rig.raised(events.bodies(topic)))
    inside = [t for t in times if any(a <= t <= b for a, b in windows)]
    found = [any(a <= t <= b for t in times) for a, b in windows]
    print(f"\nNAB: {what}, {len(rows)} rows, limit {limit:.1f} degF from the first 15 %: {len(times)} alerts, "
          f"{len(inside)} in labelled windows, {len(times) - len(inside)} outside; windows found: {found}")
    assert any(t <= b for t in times for _, b in windows), times
    assert inside
    assert times == expected

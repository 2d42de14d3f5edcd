"""Compares what the daemon kept and said with what the plant noted."""

import calendar
import re
import time
from collections import Counter, defaultdict

from plant import ASSETS, HALF

# A Modbus reading has no acknowledgement: this long before a kill it may be lost, not longer.
MODBUS_GRACE = 1.0


def millis(stamp):
    whole, fraction = re.fullmatch(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d+))?Z", stamp).groups()
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 1000 + round(float(f"0.{fraction or 0}") * 1000)


def raised(events):
    """Steps to active by (asset, raised at) -> alert ids; messages dedup by their id."""
    found, texts, faults = defaultdict(set), {}, []
    for body in events:
        data = {k: v for k, v in body["data"].items() if k != "historical"}
        if texts.setdefault(body["id"], data) != data:
            faults.append(f"alert message {body['id']} says two things")
        if data["state"] == "active" and data["previous_state"] != "active":
            found[data["asset"], millis(data["raised_at"])].add(body["id"])
    return found, faults


def expected(plant):
    """(asset, milliseconds) of each step up that was acknowledged whole."""
    steps = set()
    for asset in ASSETS:
        for n in range(HALF, plant.next[asset], 2 * HALF):
            if all((asset, m) in plant.acked for m in range(n, n + HALF)):
                steps.add((asset, plant.sent[asset, n]))
    return steps


def alerts(plant):
    """(lost, double, other faults)"""
    found, faults = raised(plant.events)
    starts = {(asset, ms) for (asset, n), ms in plant.sent.items() if n % (2 * HALF) == HALF}
    lost = sorted(expected(plant) - found.keys())
    double = sorted(key for key, ids in found.items() if len(ids) > 1)
    faults += [f"alert {key} was raised out of nothing" for key in found.keys() - starts]
    return lost, double, faults


def samples(plant, rows, kills, since=0):
    """(lost, double, other faults); rows are (asset, tag, milliseconds, value).

    What was sent before `since`, in milliseconds, may have been deleted for its age.
    """
    stored, readings, late, faults = Counter(), [], [], []
    for asset, tag, ms, value in rows:
        if tag == "n":
            key = (asset, int(value))
            stored[key] += 1
            if plant.sent.get(key) != ms:
                faults.append(f"{key} is stored at {ms}, not {plant.sent.get(key)}")
        elif tag == "count" and value is None:
            # The answer came too late for the daemon: stored as missing, at the wall clock's time.
            late.append(ms / 1000 - time.time() + time.monotonic())
        elif tag == "count":
            readings.append(int(value))
    acked = {key for key in plant.acked if plant.sent[key] > since}
    lost = sorted(acked - stored.keys())
    double = sorted(key for key, count in stored.items() if count > 1)
    loads = Counter((asset, ms) for asset, tag, ms, value in rows if tag == "load" and value in (0, 100))
    times = {(asset, plant.sent[asset, n]) for asset, n in acked}
    faults += [f"the load of {key} is missing" for key in sorted(times - loads.keys())[:5]]
    if readings != sorted(set(readings)):
        faults.append("Modbus readings are out of order or stored twice")
    known = set(readings)
    for value, at in plant.polls:
        excused = any(at <= kill <= at + MODBUS_GRACE for kill in kills) or any(
            abs(miss - at) <= 2 * MODBUS_GRACE for miss in late)
        if value not in known and not excused:
            faults.append(f"Modbus reading {value} is lost")
    return lost, double, faults

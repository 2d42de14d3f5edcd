"""The box's clock is stepped under a running daemon (libfaketime); the machine keeps the right time."""

import csv
import glob
import os
import subprocess
import time

import pytest

import rig

SILENCE = 4
HOUR = 3600

CONFIG = """
[site]
name = "interop"
[broker.plant]
url = "mqtt://127.0.0.1:{port}"
client_id = "andon-clock"
[publish]
broker = "plant"
prefix = "acme"
[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/telemetry"
payload = "json"
time = "ts"
values = "values"
[[rule]]
name = "quiet"
assets = ["mill"]
tag = "load"
when = "silent"
for = "{silence}s"
[store]
path = "{db}"
commit_interval = "50ms"
[http]
listen = "{{http}}"
"""


class Clock:
    """Of the daemon alone: the steady clock goes on."""

    def __init__(self, folder):
        found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        assert found, "libfaketime is missing: apt-get install faketime"
        self.file = folder / "clock"
        self.step(0)
        self.env = {"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": str(self.file),
                    "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}

    def step(self, seconds):
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)


class Mill:
    def __init__(self, broker):
        self.out, self.sent = rig.Publisher(broker), 0

    def speaks(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.out.json("plant/mill/telemetry", {"ts": int(time.time() * 1000), "values": {"load": self.sent}})
            self.sent += 1
            time.sleep(0.1)
        self.out.flush()
        return time.monotonic()


def stored(andon, file):
    subprocess.run([os.environ["ANDON_BIN"], "export", "--config", andon.config, "--out", file], check=True)
    return sorted(float(row["value"]) for row in csv.DictReader(file.open()))


@pytest.mark.parametrize("step", [-HOUR, HOUR, -365 * 24 * HOUR])
def test_a_stepped_clock_costs_no_sample_and_tells_no_silence_too_early_or_too_late(start, broker, tmp_path, step):
    clock = Clock(tmp_path)
    events = start(rig.Subscriber(broker, "acme/mill/alert/quiet/event"))
    config = CONFIG.format(port=broker.port, silence=SILENCE, db=tmp_path / "andon.db")
    andon = start(rig.Andon(tmp_path, config, **clock.env)).start()
    mill = Mill(broker)
    told = lambda: list({event["id"]: event["data"] for event in events.bodies("acme/mill/alert/quiet/event")}.values())

    mill.speaks(1)
    clock.step(step)
    heard = mill.speaks(1.5 * SILENCE)
    assert told() == [], "the mill has not been silent"
    rig.wait_for("the silence", told, 3 * SILENCE)
    waited = time.monotonic() - heard
    assert SILENCE - 0.5 < waited < SILENCE + 2, f"told after {waited:.1f} s"
    assert told()[0]["state"] == "active"
    assert told()[0]["clock_doubted"], "the clock has jumped"

    # The next life begins with this clock, and with what a broker repeats.
    andon.kill()
    andon.start()
    heard = mill.speaks(1)
    rig.wait_for("the end of the silence, and another", lambda: len(told()) == 3, 3 * SILENCE)
    waited = time.monotonic() - heard
    assert SILENCE - 0.5 < waited < SILENCE + 2, f"told after {waited:.1f} s"
    assert [data["state"] for data in told()] == ["active", "cleared", "active"]
    assert all(data["clock_doubted"] for data in told()), "a restart makes no time right"
    clock.step(0)
    mill.speaks(1)
    rig.wait_for("the end of the silence", lambda: len(told()) == 4)
    assert told()[3]["state"] == "cleared" and not told()[3]["clock_doubted"], "the right time is back"
    andon.kill()
    andon.start()
    mill.speaks(0.5)
    ledger = andon.settled(5)
    rig.assert_balanced(ledger)
    assert ledger["shed"] == 0
    andon.stop()
    assert stored(andon, tmp_path / "all.csv") == [float(n) for n in range(mill.sent)], "each reading once"


FLOOD = """
[[rule]]
name = "hot"
assets = ["press-*"]
tag = "load"
when = "above"
limit = 50.0
[flood]
burst = 5
per_second = 20
"""


def test_a_flood_is_summed_up_before_and_after_a_step_back(start, broker, tmp_path):
    clock = Clock(tmp_path)
    topic = "acme/andon/alert/alert-flood/event"
    events = start(rig.Subscriber(broker, topic))
    config = CONFIG.format(port=broker.port, silence=SILENCE, db=tmp_path / "andon.db") + FLOOD
    andon = start(rig.Andon(tmp_path, config, **clock.env)).start()
    feed = rig.Publisher(broker)
    told = lambda: [state for _, state in dict.fromkeys((e["id"], e["data"]["state"]) for e in events.bodies(topic))]

    def flood(load):
        for press in range(60):
            feed.json(f"plant/press-{press}/telemetry", {"ts": int(time.time() * 1000), "values": {"load": load}})

    flood(90)
    rig.wait_for("the flood and its end", lambda: told() == ["active", "cleared"])
    clock.step(-HOUR)
    flood(10)
    rig.wait_for("the next one", lambda: told() == ["active", "cleared", "active", "cleared"])
    andon.stop()

"""A bad network and bad neighbours: nothing is lost, nothing comes twice, nothing grows."""

import csv
import os
import re
import subprocess
import time

import pytest

import rig
from flood import Flood
from relay import Relay

CONFIG = """
[site]
name = "interop"
[broker.plant]
url = "mqtt://127.0.0.1:{port}"
client_id = "andon-interop"
max_payload = "64KiB"
[publish]
broker = "plant"
prefix = "site"
[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/values"
payload = "json"
time = "ts"
values = "values"
[[rule]]
name = "hot"
assets = ["press-*"]
tag = "temperature"
when = "above"
limit = 50.0
[store]
path = "{folder}/andon.db"
commit_interval = "50ms"
[http]
listen = "{{http}}"
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_wire_that_breaks_in_mid_packet_loses_nothing_and_stores_nothing_twice(seed, start, broker, tmp_path):
    relay = start(Relay(broker, seed))
    events = start(rig.Subscriber(broker, "site/+/alert/+/event"))
    andon = start(rig.Andon(tmp_path, CONFIG.format(port=relay.port, folder=tmp_path))).start()
    feed = start(rig.Publisher(broker))
    relay.foul = True
    begin = int(time.time() * 1000) - 2 * 3_600_000
    rows, half = 0, 40
    # On until the wire has broken often enough, whatever the machine's pace.
    while rows < 4000 or relay.broken < 5:
        assert rows < 40_000, f"only {relay.broken} links broken"
        for value in (20, 90):
            for _ in range(half):
                feed.json("plant/press-1/values", {"ts": begin + rows * 100, "values": {"temperature": value}})
                rows += 1
        time.sleep(0.05)  # the load's pace
    feed.flush()
    relay.foul = False
    raises = rows // half // 2

    def told():
        return {d["alert_id"] for d in rig.raised(events.bodies("site/+/alert/+/event"))}

    rig.wait_for(f"{raises} alerts", lambda: len(told()) >= raises, 60)
    rig.wait_for("all is stored", lambda: andon.ledger()["stored"] >= rows, 60)
    ledger = andon.settled(0)
    rig.assert_balanced(ledger)
    andon.stop()
    out = tmp_path / "out.csv"
    subprocess.run([os.environ["ANDON_BIN"], "export", "--config", str(andon.config), "--out", str(out)], check=True, cwd=rig.ROOT)
    with open(out) as file:
        times = [rig.millis(row["time"]) for row in csv.DictReader(file) if row["asset"] == "press-1"]
    print(f"\nWire, seed {seed}: {relay.broken} links broken, {len(times)} stored of {rows}, "
          f"{ledger['rejected']} told apart as repeats, {len(told())} alerts of {raises}")
    assert sorted(times) == [begin + i * 100 for i in range(rows)]
    assert len(told()) == raises


@pytest.fixture
def plant(start, broker, tmp_path):
    """The daemon, and a machine of which it has stored a reading."""
    andon = start(rig.Andon(tmp_path, CONFIG.format(port=broker.port, folder=tmp_path))).start()
    feed = start(rig.Publisher(broker))
    good_one(andon, feed)
    return andon, feed


def rejected(andon):
    found = re.findall(r'^andon_samples_rejected_total\{reason="(\w+)"\} (\d+)', andon._get("/metrics"), re.M)
    return {reason: int(count) for reason, count in found if int(count)}


def good_one(andon, feed, before=0):
    """Seconds from a good reading's publication until it is stored."""
    begun = time.monotonic()
    feed.json("plant/press-1/values", {"ts": int(time.time() * 1000), "values": {"temperature": 20}})
    rig.wait_for("the good reading is stored", lambda: andon.ledger()["stored"] > before, 30)
    return time.monotonic() - begun


def test_fault_05_a_million_unreadable_messages_and_the_next_good_one_is_used(plant, start, broker, tmp_path):
    andon, feed = plant
    usual = andon.memory()
    flood = start(Flood(broker))
    count, begun = 1_000_000, time.monotonic()
    flood.publish(b"plant/press-1/values", (b'{"ts":%d,"values":{"t":' % i for i in range(count)))
    rig.wait_for("all are looked at", lambda: andon.ledger()["rejected"] >= count, 120)
    seconds = time.monotonic() - begun
    wait = good_one(andon, feed, andon.ledger()["stored"])
    ledger = andon.settled(0)
    rig.assert_balanced(ledger)
    disk = sum(f.stat().st_size for f in tmp_path.glob("andon.db*")) / 2**20
    now = andon.memory()
    print(f"\nA million bad messages in {seconds:.0f} s, the next good one stored after {wait * 1000:.0f} ms, "
          f"memory {usual:.0f} to {now:.0f} MiB, {disk:.1f} MiB on disk, {ledger}")
    assert wait < 2
    assert now < usual + 30
    assert disk < 100
    andon.stop()


HOSTILE = {
    "nesting": b"[" * 60_000,
    "nested objects": b'{"a":' * 12_000,
    "one huge array": b"[" + b",".join([b"1"] * 30_000) + b"]",
    "many keys": b'{"values":{' + b",".join(b'"k%d":1' % i for i in range(5_000)) + b"}}",
    "one key again and again": b'{"values":{' + b",".join([b'"k":1'] * 10_000) + b"}}",
    "NaN": b'{"values":{"a":NaN,"b":Infinity,"c":-Infinity}}',
    "invalid UTF-8": b'{"values":{"\xff\xfe":1}}' + b"\xc0" * 60_000,
    "a number without end": b'{"values":{"a":' + b"9" * 60_000 + b"}}",
    "a tiny exponent": b'{"values":{"a":1e-' + b"9" * 50_000 + b"}}",
    "escapes": b'{"values":{"' + b"\\u0000" * 9_000 + b'":1}}',
    "nothing": b"",
}


def test_fault_10_hostile_payloads_are_refused_in_bounded_time_and_memory(plant, start, broker):
    andon, feed = plant
    usual = andon.memory()
    flood = start(Flood(broker))
    slowest = {}
    for name, body in HOSTILE.items():
        begun = time.monotonic()
        flood.publish(b"plant/bad/values", [body] * 200)
        good_one(andon, feed, andon.ledger()["stored"])
        slowest[name] = time.monotonic() - begun
    now = andon.memory()
    worst = max(slowest, key=slowest.get)
    print(f"\n{len(HOSTILE)} kinds of hostile payloads, 200 of each: slowest {worst!r} {slowest[worst]:.2f} s, "
          f"memory {usual:.0f} to {now:.0f} MiB")
    assert slowest[worst] < 10
    assert now < usual + 60
    rig.assert_balanced(andon.settled(0))
    andon.stop()


def test_fault_09_what_is_far_over_the_limit_never_comes_and_the_link_stays(plant, start, broker):
    andon, feed = plant
    flood = start(Flood(broker))
    # Over the limit: counted. Over sixteen times the limit: the broker keeps it, as it was told at the connection.
    flood.publish(b"plant/press-1/values", [b"x" * 100_000])
    flood.publish(b"plant/press-1/values", [b"x" * 2_000_000] * 3)
    good_one(andon, feed, andon.ledger()["stored"])
    ledger = andon.settled(0)
    assert rejected(andon) == {"too_large": 1}
    log = andon.log.read_text()
    assert log.count("connected to the broker") <= 2, log
    rig.assert_balanced(ledger)
    print("\nPayloads over the limit: one counted, three kept by the broker, the link kept")
    andon.stop()

"""kill -9 under load, and a restart: no alert twice, none lost, and the ledger balances."""

import os
import re
import subprocess
import time

import numpy as np

import rig

MODELS = rig.ROOT / "tests" / "data" / "models"
ASSETS, TAGS, ROWS, LENGTH, HOP = 20, 10, 800, 64, 16
STEP_MS = 20
TOPIC = "plant/line1/{asset}/telemetry"
EVENTS = "acme/plant7/+/alert/wear/event"


def scores_of(rows):
    """Per asset, the score of each count window and the index of its last row."""
    ends = np.arange(LENGTH, ROWS + 1, HOP) - 1
    windows = np.stack([rows[:, e - LENGTH + 1:e + 1].transpose(0, 2, 1) for e in ends], 1)
    flat = np.ascontiguousarray(windows.reshape(-1, TAGS, LENGTH), np.float32)
    model = MODELS / "bench-conv1d" / "1.0.0" / "model.onnx"
    return rig.answers(model, flat, "probability").reshape(ASSETS, len(ends)), ends


def limit_in_a_gap(scores):
    """About 6 % of windows beyond it, and no score so near that rounding could decide."""
    order = np.sort(scores.ravel())
    around = range(int(0.92 * len(order)), int(0.96 * len(order)))
    i = max(around, key=lambda k: order[k + 1] - order[k])
    assert order[i + 1] - order[i] > 1e-4
    return float((order[i] + order[i + 1]) / 2)


def expected_raises(scores, ends, limit, start):
    """{(asset, raised at)} as an undisturbed daemon would have them."""
    result = set()
    for asset in range(ASSETS):
        on = False
        for score, end in zip(scores[asset], ends):
            if score >= limit and not on:
                result.add((f"machine-{asset}", start + int(end) * STEP_MS))
            on = score >= limit
    return result


def test_a_killed_daemon_raises_no_alert_twice_and_loses_none(start, broker, tmp_path):
    rows = np.round(np.random.default_rng(5).normal(size=(ASSETS, ROWS, TAGS)), 3)
    scores, ends = scores_of(rows)
    limit = limit_in_a_gap(scores)
    begin = int(time.time() * 1000) - ROWS * STEP_MS
    expected = expected_raises(scores, ends, limit, begin)

    events = start(rig.Subscriber(broker, EVENTS))
    andon = start(rig.Andon(tmp_path, f"""
[site]
name = "interop"

[broker.plant]
url = "mqtt://127.0.0.1:{broker.port}"
client_id = "andon-interop"

[publish]
broker = "plant"
prefix = "acme/plant7"

[[mqtt]]
broker = "plant"
topic = "{TOPIC}"
payload = "json"
time = "ts"
values = "values"

[[prediction]]
name = "wear"
model = "bench-conv1d"
assets = ["machine-*"]
alert = {{ raise = {limit} }}

[store]
path = "{tmp_path}/andon.db"
commit_interval = "50ms"

[runtime]
models = "{MODELS}"

[http]
listen = "{{http}}"
""")).start()

    feed = start(rig.Publisher(broker))

    def probe():
        # Once one of these is received, the subscription stands and nothing after it is lost.
        feed.json(TOPIC.format(asset="probe"), {"values": {"alive": 1}})
        return andon.ledger()["received"] > 0

    rig.wait_for("the subscription stands", probe)

    def publish(stop):
        for i in range(ROWS):
            for asset in range(ASSETS):
                values = {f"t{t}": rows[asset, i, t] for t in range(TAGS)}
                feed.json(TOPIC.format(asset=f"machine-{asset}"), {"ts": begin + i * STEP_MS, "values": values})
            if stop.wait(0.01):
                return

    load = rig.Background(publish)
    for share in (0.2, 0.5):
        rig.wait_for("enough alerts to kill it by",
                     lambda: len(rig.raised(events.bodies(EVENTS))) >= share * len(expected), 60)
        andon.kill()
        assert load.thread.is_alive(), "the kill came after the load"
        andon.start()
    load.join()
    feed.flush()

    def found():
        return [(d["asset"], rig.millis(d["raised_at"])) for d in rig.raised(events.bodies(EVENTS))]

    rig.wait_for(f"{len(expected)} alerts", lambda: len(set(found())) >= len(expected), 60)
    ledger = andon.settled(0)
    rig.assert_balanced(ledger)
    andon.stop()

    alerts, repeated = raised_once(events.bodies(EVENTS))
    print(f"\nRestart: 2 kills, {len(alerts)} alerts of {len(expected)} expected, "
          f"{repeated} messages repeated, ledger of the last run {ledger}")
    assert set(found()) == expected


class Demo:
    """`andon demo` as the plant and the broker of another daemon."""

    def __init__(self, folder):
        self.config = folder / "demo" / "andon.toml"
        self.log = open(folder / "demo.log", "wb")
        self.process = subprocess.Popen(
            [os.environ["ANDON_BIN"], "demo", "--dir", str(folder / "demo")],
            stdout=self.log, stderr=self.log, cwd=rig.ROOT)
        text = rig.wait_for("the demo's configuration", lambda: self.config.exists() and self.config.read_text())
        self.broker = rig.Broker(int(re.search(r'"mqtt://127\.0\.0\.1:(\d+)"', text)[1]))
        # Another box on the same line: its own name, topics, buffer and port.
        for own, other in (('name = "demo"', 'name = "second"'), ('prefix = "demo/line1"', 'prefix = "second"')):
            assert text.count(own) == 1, own
            text = text.replace(own, other)
        text = re.sub(r'(?m)^path = .*', f'path = "{folder}/second.db"', text)
        self.second = re.sub(r'(?m)^listen = .*', 'listen = "{http}"', text)

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


def test_a_daemon_killed_under_the_demo_s_load_repeats_no_alert(start, tmp_path):
    demo = start(Demo(tmp_path))
    topic = "second/+/alert/+/event"
    events = start(rig.Subscriber(demo.broker, topic))
    andon = start(rig.Andon(tmp_path, demo.second)).start()
    received = 0
    for alerts in (2, 5, 8):
        rig.wait_for(f"{alerts} alerts", lambda: len(rig.raised(events.bodies(topic))) >= alerts, 60)
        ledger = andon.ledger()
        rig.assert_balanced(ledger)
        received += ledger["received"]
        andon.kill()
        andon.start()
    rig.wait_for("alerts go on after the last kill", lambda: len(rig.raised(events.bodies(topic))) >= 10, 60)
    ledger = andon.ledger()
    rig.assert_balanced(ledger)
    andon.stop()
    alerts, repeated = raised_once(events.bodies(topic))
    print(f"\nDemo's load: 3 kills after {received} samples, {len(alerts)} alerts, none raised twice, "
          f"{repeated} messages repeated, ledger of the last run {ledger}")


def raised_once(messages):
    """The alerts' beginnings, none twice; and how many messages came again (at least once)."""
    by_id = {}
    for body in messages:
        # An id never says two things.
        told = {k: v for k, v in body["data"].items() if k != "historical"}
        assert by_id.setdefault(body["id"], told) == told
    alerts = rig.raised(messages)
    for what in ("alert_id",), ("asset", "prediction", "raised_at"):
        keys = [tuple(d[k] for k in what) for d in alerts]
        assert len(keys) == len(set(keys)), f"an alert was raised twice: {what}"
    return alerts, len(messages) - len(by_id)

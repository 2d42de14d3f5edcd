"""Several boxes on one broker: each asset has one box, no alert comes twice, a dead box's share is taken over."""

import hashlib
import json
import time
from collections import Counter

import rig

ASSETS = [f"press-{i}" for i in range(12)]
PREFIX = "acme/plant7"
CONFIG = """
[site]
name = "plant7"

[broker.plant]
url = "mqtt://127.0.0.1:{broker}"
client_id = "andon"

[publish]
broker = "plant"
prefix = "acme/plant7"
status_interval = "1s"

[[mqtt]]
broker = "plant"
topic = "{topic}"
payload = "json"
time = "ts"
values = "values"

[store]
path = "{folder}/andon.db"
commit_interval = "50ms"

[http]
listen = "{{http}}"
"""
RULE = """
[[rule]]
name = "hot"
assets = ["press-*"]
tag = "temperature"
when = "above"
limit = 80.0
alert = { clear = 70.0, severity = 800 }
"""


def share_of(asset, of):
    """As docs/scaling.md says, reckoned without the daemon."""
    return int.from_bytes(hashlib.sha256(asset.encode()).digest()[:8], "big") % of + 1


class Box(rig.Andon):
    def __init__(self, folder, broker, name, share, topic="plant/{{asset}}/telemetry", more=RULE):
        folder = folder / name
        folder.mkdir()
        text = CONFIG.format(broker=broker.port, folder=folder, topic=topic.replace("{{", "{").replace("}}", "}"))
        super().__init__(folder, share + text + more)
        self.name = name

    def status(self):
        return json.loads(self._get("/api/v1/status"))

    def share(self):
        return json.loads(self._get("/status"))["share"]

    def alerts(self):
        return {a["asset"]: a for a in json.loads(self._get("/api/v1/alerts"))}

    def take(self, before, after):
        """Other shares, by a change of the file; returns when they are in effect."""
        text = self.config.read_text()
        assert f"take = {before}" in text
        self.config.write_text(text.replace(f"take = {before}", f"take = {after}"))
        rig.wait_for(f"{self.name} takes {after}", lambda: self.share()["take"] == after)


def split(name, take):
    return f'[share]\nbox = "{name}"\nof = 2\ntake = {take}\n'


class Plant:
    def __init__(self, start, broker):
        self.publisher = start(rig.Publisher(broker))
        self.ts = int(time.time() * 1000) - 3_600_000
        self.sent = Counter()

    def send(self, temperature, assets=ASSETS):
        self.ts += 1000
        for asset in assets:
            self.publisher.json(f"plant/{asset}/telemetry", {"ts": self.ts, "values": {"temperature": temperature}})
            self.sent[asset] += 1
        self.publisher.flush()


def retained(start, broker, filter=f"{PREFIX}/+/alert/+"):
    """What somebody sees who subscribes now, by topic."""
    view = start(rig.Subscriber(broker, filter))
    # What is retained comes before what is published after the subscription was confirmed.
    marker = start(rig.Publisher(broker))
    topic = filter.replace("+", "marker")
    marker.json(topic, {})
    marker.flush()
    rig.wait_for("the marker", lambda: view.bodies(topic))
    return {t: body for t, body in view.seen if t != topic}


def raises(events):
    return Counter(d["asset"] for d in rig.raised([body for _, body in events.seen]))


def test_two_boxes_split_a_site_and_one_takes_the_others_share_over(start, broker, tmp_path):
    first = [a for a in ASSETS if share_of(a, 2) == 1]
    second = [a for a in ASSETS if share_of(a, 2) == 2]
    assert first and second, "the names fall into both shares"
    events = start(rig.Subscriber(broker, f"{PREFIX}/+/alert/+/event"))
    plant = Plant(start, broker)
    a = start(Box(tmp_path, broker, "a", split("a", [1]))).start()
    b = start(Box(tmp_path, broker, "b", split("b", [2]))).start()

    # Each asset has one box, and the other has left it alone.
    plant.send(60.0)
    plant.send(90.0)
    rig.wait_for("every alert is told", lambda: len(raises(events)) == len(ASSETS))
    assert a.settled(2 * len(first))["stored"] == 2 * len(first)
    assert b.settled(2 * len(second))["stored"] == 2 * len(second)
    assert (a.share()["foreign"], b.share()["foreign"]) == (2 * len(second), 2 * len(first))
    assert set(a.alerts()) == set(first) and set(b.alerts()) == set(second)
    assert raises(events) == Counter(ASSETS), "one raise an asset"
    rig.wait_for("both boxes are whole", lambda: all(x.share()["orphaned"] == [] for x in (a, b)))
    assert a.share()["contested"] == b.share()["contested"] == []
    statuses = retained(start, broker, f"{PREFIX}/status/+")
    assert {t: s["data"]["state"] for t, s in statuses.items()} == {
        f"{PREFIX}/status/a": "online", f"{PREFIX}/status/b": "online"}

    # A person has seen one of the first box's alerts; only its box answers.
    seen = first[0]
    desk = start(rig.Publisher(broker))
    desk.json(f"{PREFIX}/{seen}/alert/hot/command", {"action": "acknowledge", "by": "R. Meyer"})
    desk.flush()
    rig.wait_for("it is acknowledged", lambda: a.alerts()[seen]["state"] == "acknowledged")
    rig.wait_for("and told", lambda: any(
        body["data"]["state"] == "acknowledged" for _, body in events.seen if body["data"]["asset"] == seen))
    before = {t: body["data"]["alert_id"] for t, body in retained(start, broker).items()}
    assert len(before) == len(ASSETS)

    # The first box dies. The second one notices, and takes its share by a change of its file.
    a.kill()
    rig.wait_for("the share is missed", lambda: b.share()["orphaned"] == [1])
    plant.send(91.0, second)
    b.take([2], [2, 1])
    assert set(b.alerts()) == set(ASSETS), "what stood at the broker is known at once"
    assert b.alerts()[seen]["acknowledged_by"] == "R. Meyer"
    plant.send(92.0)
    b.settled(plant.sent[second[0]] * len(second) + len(first))
    assert raises(events) == Counter(ASSETS), "what stands is not raised again"
    after = {t: body["data"]["alert_id"] for t, body in retained(start, broker).items()}
    assert after == before, "and keeps its id"

    # What is over ends, whoever has raised it; what was acknowledged leaves nothing behind.
    plant.send(60.0)
    left = {f"{PREFIX}/{asset}/alert/hot" for asset in ASSETS if asset != seen}
    rig.wait_for("all have cleared", lambda: sum(a["state"] == "cleared" for a in b.alerts().values()) == len(left))
    rig.wait_for("the retained states say so", lambda: {
        t: body["data"]["state"] for t, body in retained(start, broker).items()} == dict.fromkeys(left, "cleared"))

    # The first box comes back, without a share; the heir lets go, then the other takes. Nobody is told anything.
    told = {body["id"] for _, body in events.seen}
    a.config.write_text(a.config.read_text().replace("take = [1]", "take = []"))
    a.start()
    assert a.alerts() == {}, "what it knew is another box's"
    b.take([2, 1], [2])
    assert set(b.alerts()) == set(second)
    a.take([], [1])
    rig.wait_for("it has its alerts again", lambda: set(a.alerts()) == set(first) - {seen})
    plant.send(61.0)
    a.settled(len(first))
    # What it had told and not seen confirmed may come again, under the same id.
    assert {body["id"] for _, body in events.seen} == told
    plant.send(95.0, [first[1]])
    rig.wait_for("a new alert", lambda: raises(events)[first[1]] == 2)
    assert retained(start, broker)[f"{PREFIX}/{first[1]}/alert/hot"]["data"]["alert_id"] != before[f"{PREFIX}/{first[1]}/alert/hot"]

    # A share that two boxes take is told by both.
    b.take([2], [2, 1])
    rig.wait_for("both tell", lambda: a.share()["contested"] == b.share()["contested"] == [1])
    b.take([2, 1], [2])
    rig.wait_for("and no longer", lambda: a.share()["contested"] == b.share()["contested"] == [])
    for box in (a, b):
        rig.assert_balanced(box.ledger())
        box.stop()
    offline = retained(start, broker, f"{PREFIX}/status/+")
    assert [s["data"]["state"] for s in offline.values()] == ["offline"] * 2


def test_a_shared_subscription_deals_each_message_out_once(start, broker, tmp_path):
    """For history alone: a broker like this one deals out without looking at the asset."""
    plant = Plant(start, broker)
    boxes = []
    for name in "ab":
        config = f'client_id = "andon-{name}"'
        box = Box(tmp_path, broker, name, "", "$share/history/plant/{{asset}}/telemetry", more="")
        text = box.config.read_text().replace('client_id = "andon"', config).replace(PREFIX, f"{PREFIX}/{name}")
        box.config.write_text(text)
        boxes.append(start(box).start())
    for turn in range(50):
        plant.send(60.0 + turn)
    total = 50 * len(ASSETS)
    rig.wait_for("all is stored", lambda: sum(box.ledger()["stored"] for box in boxes) >= total)
    stored = [box.settled(0)["stored"] for box in boxes]
    assert sum(stored) == total and min(stored) > 0, stored
    print(f"\nof {total} messages the boxes stored {stored}")
    for box in boxes:
        box.stop()

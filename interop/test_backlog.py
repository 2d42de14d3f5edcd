"""A link that was away: how soon it is back, how soon alerts come, how fast the backlog drains, and that fresh alerts do not
wait behind it. The figures are those that docs/durability.md states."""

import time

import pytest
import rig
from relay import Relay

ASSETS, AWAY = 10, 15
TICK = 0.1
# An asset crosses its limit and comes back in so many ticks: five events a second in all.
PERIOD = 40
EVENTS = "acme/plant7/+/alert/hot/event"
RECONNECTED, FIRST_ALERT, TIMES, FRESH = 5.0, 1.0, 20, 1.0


class Alerts(rig.Subscriber):
    """With the moment at which each came."""

    def __init__(self, broker):
        self.came = {}
        super().__init__(broker, EVENTS)

    def _keep(self, client, userdata, message):
        before = len(self.seen)
        super()._keep(client, userdata, message)
        for _, body in self.seen[before:]:
            self.came.setdefault(body["id"], (time.time(), body))

    def told(self):
        """(when it came, when it happened, in seconds)"""
        return sorted((came, rig.millis(body["time"]) / 1000) for came, body in list(self.came.values()))


def plant(start, tmp_path):
    """Two brokers, a link to each, a daemon between them and ten machines that speak all the time."""
    data = start(rig.Mosquitto(tmp_path))
    (tmp_path / "up").mkdir()
    upstream = start(rig.Mosquitto(tmp_path / "up"))
    links = {"data": start(Relay(data)), "upstream": start(Relay(upstream))}
    alerts = start(Alerts(upstream))
    andon = start(rig.Andon(tmp_path, f"""
[site]
name = "interop"
[broker.data]
url = "mqtt://127.0.0.1:{links['data'].port}"
client_id = "andon-backlog"
[broker.upstream]
url = "mqtt://127.0.0.1:{links['upstream'].port}"
[publish]
broker = "upstream"
prefix = "acme/plant7"
[[mqtt]]
broker = "data"
topic = "plant/{{asset}}/telemetry"
payload = "json"
time = "ts"
values = "values"
[[rule]]
name = "hot"
assets = ["press-*"]
tag = "t0"
when = "above"
limit = 50.0
[store]
path = "{tmp_path}/andon.db"
commit_interval = "100ms"
[http]
listen = "{{http}}"
""")).start()
    feed = start(rig.Publisher(data))

    def speak(stop):
        began = time.time()
        for tick in range(1_000_000):
            for asset in range(ASSETS):
                hot = (tick + asset * PERIOD // ASSETS) % PERIOD < PERIOD // 2
                values = {f"t{tag}": (90.0 if hot else 10.0) + tag for tag in range(10)}
                feed.json(f"plant/press-{asset}/telemetry", {"ts": int(time.time() * 1000), "values": values})
            if stop.wait(max(0.0, began + (tick + 1) * TICK - time.time())):
                return

    work = rig.Background(speak)

    class Silence:
        def close(self):
            work.stop.set()
            work.join()

    start(Silence())
    rig.wait_for("alerts come", lambda: len(alerts.told()) > 5)
    return links, alerts, andon


@pytest.mark.parametrize("which", ["data", "upstream"])
def test_a_backlog_drains_fast_and_fresh_alerts_do_not_wait_for_it(start, tmp_path, which):
    links, alerts, andon = plant(start, tmp_path)
    link = links[which]
    cut = time.time()
    link.cut()
    # The plant goes on meanwhile: this long is what is measured, not a wait for luck.
    time.sleep(AWAY)
    mended = time.time()
    link.mend()
    back = rig.wait_for("the link is back", lambda: link.linked)
    rig.wait_for("fresh alerts come for ten seconds", lambda: any(at > back + 10 for _, at in alerts.told()))

    told = alerts.told()
    missed = [(came, at) for came, at in told if cut + 1 < at < mended - 1]
    fresh = sorted(came - at for came, at in told if back + 0.2 < at < back + 9)
    after = [came for came, _ in told if came > back]
    drained = max(came for came, _ in missed) - back
    p99 = fresh[min(len(fresh) - 1, len(fresh) * 99 // 100)]
    print(f"\nBacklog, link to {which} away for {AWAY} s: connected {back - mended:.2f} s after it was mended, first alert "
          f"{(min(after) - back) * 1000:.0f} ms after that; {len(missed)} alert events of that time told within {drained:.2f} s, "
          f"{AWAY / drained:.0f} times as fast as they came; {len(fresh)} fresh ones meanwhile and after, p99 {p99 * 1000:.0f} ms")
    assert back - mended < RECONNECTED
    assert min(after) - back < FIRST_ALERT
    # Five a second, each told.
    assert len(missed) >= (AWAY - 2) * ASSETS * 2 / (PERIOD * TICK) * 0.9
    assert AWAY / drained > TIMES
    assert len(fresh) > 20 and p99 < FRESH
    rig.assert_balanced(andon.settled(0))
    andon.stop()

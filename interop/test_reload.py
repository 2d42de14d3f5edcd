"""The configuration changes while the daemon runs: only what differs is touched, nothing is lost."""

import asyncio
import json
import re
import signal
import time

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

import rig

MODELS = rig.ROOT / "tests" / "data" / "models"
LENGTH = 64
TAGS = 10
CONFIG = """
[site]
name = "interop"

[broker.plant]
url = "mqtt://127.0.0.1:{broker}"
client_id = "andon-interop"

[publish]
broker = "plant"
prefix = "acme/plant7"
status_interval = "1h"

[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/telemetry"
payload = "json"
time = "ts"
values = "values"

[[modbus]]
asset = "press-a"
address = "tcp://127.0.0.1:{device_a}"
interval = "50ms"
register = [{{ tag = "pressure", address = "holding:0" }}]

[[prediction]]
name = "wear"
model = "bench-conv1d"
assets = ["machine-*"]
alert = {{ raise = 0.9 }}

[[rule]]
name = "hot"
assets = ["oven-*"]
tag = "temperature"
when = "above"
limit = 80.0

[store]
path = "{folder}/andon.db"
commit_interval = "50ms"

[runtime]
models = "{models}"

[http]
listen = "{{http}}"
"""
DEVICE_B = """
[[modbus]]
asset = "press-b"
address = "tcp://127.0.0.1:{device_b}"
interval = "50ms"
register = [{{ tag = "pressure", address = "holding:1" }}]
"""


class Device:
    """A Modbus/TCP server with one register, that counts who connects."""

    def __init__(self):
        self.port = rig.free_port()
        self.listening = False
        device = SimDevice(1, [SimData(0, values=[7] * 10, datatype=DataType.REGISTERS)])

        async def serve(stop):
            server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
            await server.serve_forever(background=True)
            self.listening = True
            while not stop.is_set():
                await asyncio.sleep(0.02)
            await server.shutdown()

        self.thread = rig.Background(lambda stop: asyncio.run(serve(stop)))
        rig.wait_for("pymodbus listens", lambda: self.listening or self.thread.error)

    def close(self):
        self.thread.stop.set()
        self.thread.join(10)


class Daemon(rig.Andon):
    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self._get("/metrics") or "", re.M)
        return float(found[1]) if found else 0.0

    def connects(self, source):
        return self.metric(f'andon_source_connects_total{{source="{source}"}}')

    def messages(self, source):
        return self.metric(f'andon_source_messages_total{{source="{source}"}}')

    def reloads(self):
        return sum(self.metric(f'andon_config_reloads_total{{result="{r}"}}') for r in ("applied", "refused", "unchanged"))

    def status(self):
        return json.loads(self._get("/api/v1/status"))

    def rewrite(self, *changes):
        """Writes the changed file and waits until it has been read; the seconds that took."""
        text = self.config.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        before, begin = self.reloads(), time.monotonic()
        # At once, as editors do: a file that is read half written counts as a refusal, and the test would go on too early.
        written = self.config.with_suffix(".new")
        written.write_text(text)
        written.replace(self.config)
        rig.wait_for("the file is read again", lambda: self.reloads() > before, 10)
        return time.monotonic() - begin


def configured(start, broker, tmp_path):
    device = start(Device())
    text = CONFIG.format(broker=broker.port, device_a=device.port, folder=tmp_path, models=MODELS)
    return start(Daemon(tmp_path, text))


def send(machine, asset, n, values):
    machine.json(f"plant/{asset}/telemetry", {"ts": 1_700_000_000_000 + n * 1000, "values": values})


def test_only_what_differs_is_touched(start, broker, tmp_path):
    events = start(rig.Subscriber(broker, "acme/plant7/+/alert/+/event"))
    states = start(rig.Subscriber(broker, "acme/plant7/status"))
    andon = configured(start, broker, tmp_path).start()
    machine = start(rig.Publisher(broker))
    took = {}

    def heard(asset, rule, state):
        def condition():
            bodies = events.bodies(f"acme/plant7/{asset}/alert/{rule}/event")
            return next((b["data"] for b in bodies if b["data"]["state"] == state), None)

        return rig.wait_for(f"{asset} {rule} {state}", condition)

    # Half a window, an alert, and a machine that goes on speaking through every reload.
    row = {f"t{n}": 0.1 for n in range(TAGS)}
    for n in range(LENGTH // 2):
        send(machine, "machine-1", n, row)
    send(machine, "oven-1", 1, {"temperature": 90.0})
    first = heard("oven-1", "hot", "active")
    sent, steady = [0], start(rig.Publisher(broker))

    def speak(stop):
        while not stop.is_set():
            sent[0] += 1
            send(steady, "steady", sent[0], {"count": float(sent[0])})
            time.sleep(0.002)

    talk = rig.Background(speak)

    took["a device is added"] = andon.rewrite(("[store]", DEVICE_B.format(device_b=start(Device()).port) + "[store]"))
    rig.wait_for("the new device answers", lambda: andon.messages("modbus:press-b") > 3)
    assert andon.connects("modbus:press-a") == 1 and andon.connects("mqtt:plant") == 1

    more = ', { tag = "flow", address = "holding:2" }]'
    took["a tag is added"] = andon.rewrite(('"holding:1" }]', '"holding:1" }' + more))
    rig.wait_for("the new tag speaks", lambda: "flow" in andon._get("/api/v1/tags"))
    assert andon.connects("modbus:press-a") == 1

    # The alert stands: it is over only when a reading says so, and it is still the same one.
    took["a threshold"] = andon.rewrite(("limit = 80.0", "limit = 95.0"), ("raise = 0.9", "raise = 0.95"))
    assert andon.status()["alerts"]["active"] == 1
    send(machine, "oven-1", 2, {"temperature": 91.0})
    assert heard("oven-1", "hot", "cleared")["alert_id"] == first["alert_id"]

    # The second half closes the window that the first had begun.
    assert andon.metric("andon_windows_total") == 0
    for n in range(LENGTH // 2, LENGTH):
        send(machine, "machine-1", n, row)
    rig.wait_for("the window closes", lambda: andon.metric("andon_windows_total") == 1)

    topic = '\n[[mqtt]]\nbroker = "plant"\ntopic = "other/{asset}/telemetry"\npayload = "json"\nvalues = "values"\n'
    took["a topic"] = andon.rewrite(("\n[[modbus]]\nasset = \"press-a\"", topic + "\n[[modbus]]\nasset = \"press-a\""))

    def through(asset):
        machine.json(f"other/{asset}/telemetry", {"values": {"x": 1.0}})
        return any(t["asset"] == asset for t in json.loads(andon._get("/api/v1/tags")))

    rig.wait_for("the new topic is heard", lambda: through("new"))
    took["a topic is gone"] = andon.rewrite((topic, ""))
    time.sleep(0.2)
    machine.flush()
    before = andon.ledger()["rejected"]
    machine.json("other/late/telemetry", {"values": {"x": 1.0}})
    machine.flush()
    assert andon.connects("mqtt:plant") == 1 and andon.connects("modbus:press-a") == 1

    took["a bad file"] = andon.rewrite(("limit = 95.0", 'limit = "warm"'))
    status = andon.status()["config"]
    assert status["state"] == "refused" and "andon.toml:" in status["errors"][0], status
    rig.wait_for("the status topic says so", lambda: any(
        b["data"].get("config", {}).get("state") == "refused" for b in states.bodies("acme/plant7/status")))
    assert "andon.toml:" in andon._get("/health"), "the board has no banner"
    took["a good one"] = andon.rewrite(('limit = "warm"', "limit = 95.0"))
    assert andon.status()["config"] == {**status, "state": "current", "errors": []}

    took["what needs a restart"] = andon.rewrite(("commit_interval = \"50ms\"", 'commit_interval = "60ms"'), ("limit = 95.0", "limit = 70.0"))
    status = andon.status()["config"]
    assert status["state"] == "needs_restart" and status["restart"] == ["store.commit_interval"]
    send(machine, "oven-1", 3, {"temperature": 75.0})
    rig.wait_for("the rest is in effect", lambda: andon.status()["alerts"]["active"] == 1)

    talk.stop.set()
    talk.join()
    steady.flush()
    assert andon.connects("mqtt:plant") == 1 and andon.connects("modbus:press-a") == 1
    assert andon.ledger()["rejected"] == before
    span = "from=2023-11-01T00:00:00Z&to=2024-06-01T00:00:00Z"
    stored = f"/api/v1/samples?asset=steady&tag=count&{span}"
    rig.wait_for(f"all {sent[0]} readings are stored", lambda: json.loads(andon._get(stored))["samples"] == sent[0])
    for name, seconds in took.items():
        print(f"  {name}: {seconds * 1000:.0f} ms from the write to the report")
    assert max(took.values()) < 1.0, took
    andon.stop()


def test_a_file_cut_at_every_byte_never_takes_the_daemon_down(start, broker, tmp_path):
    andon = configured(start, broker, tmp_path).start()
    machine = start(rig.Publisher(broker))
    whole = andon.config.read_bytes()
    for end in range(len(whole)):
        before = andon.reloads()
        andon.config.write_bytes(whole[:end])
        andon.process.send_signal(signal.SIGHUP)
        rig.wait_for(f"the first {end} bytes are read", lambda: andon.reloads() > before, 10)
        assert andon.process.poll() is None, f"cut at {end}: {andon.log.read_text()[-3000:]}"
    andon.config.write_bytes(whole)
    andon.process.send_signal(signal.SIGHUP)
    rig.wait_for("the whole file is in effect", lambda: andon.status()["config"]["state"] == "current")

    def raised():
        send(machine, "oven-1", int(time.time()) - 1_700_000_000, {"temperature": 90.0})
        return andon.status()["alerts"]["active"] == 1

    rig.wait_for("the rule works", raised)
    andon.stop()

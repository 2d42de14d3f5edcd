"""The rights that config/mosquitto.acl gives, with mosquitto: enough for the box, and too little for anybody else."""

import json
import subprocess
import time

import paho.mqtt.client as mqtt
import pytest

import rig
from flood import Flood

PREFIX = "acme/plant7/line1"
COMMAND = f"{PREFIX}/press-1/alert/hot/command"


class Guarded(rig.Mosquitto):
    """Knows its users by password, and asks the shipped ACL what they may."""

    USERS = ("box-line1", "machines-line1", "screen", "desk", "stranger")

    def __init__(self, folder):
        passwords, rights = folder / "passwords", folder / "andon.acl"
        passwords.write_text("".join(f"{user}:{user} secret\n" for user in self.USERS))
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
        rights.write_text((rig.ROOT / "config" / "mosquitto.acl").read_text())
        for file in (passwords, rights):
            file.chmod(0o600)
        super().__init__(folder, ("user root", f"password_file {passwords}", f"acl_file {rights}", "allow_anonymous false"))

    def as_user(self, user):
        return User(self, user)

    def client(self):
        return self.as_user("screen").client()


class User:
    def __init__(self, broker, name):
        self.broker, self.name = broker, name

    def client(self):
        c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        c.username_pw_set(self.name, f"{self.name} secret")
        c.connect("127.0.0.1", self.broker.port)
        c.loop_start()
        rig.wait_for(f"{self.name} is connected", c.is_connected)
        return c


def publish(client, topic, body, seconds=10):
    """The reason code of the PUBACK: 0 or 16 is taken, 135 is not authorised."""
    codes = []
    client.on_publish = lambda _c, _u, mid, code, _p: codes.append((mid, code.value))
    sent = client.publish(topic, body, qos=1)
    return rig.wait_for("the broker's answer", lambda: [str(code) for mid, code in codes if mid == sent.mid], seconds)[0]


@pytest.fixture
def plant(start, tmp_path):
    broker = start(Guarded(tmp_path))
    secret = tmp_path / "mqtt.password"
    secret.write_text("box-line1 secret\n")
    secret.chmod(0o600)
    andon = start(rig.Andon(tmp_path, f"""
[broker.plant]
url = "mqtt://127.0.0.1:{broker.port}"
username = "box-line1"
password_file = "{secret}"
[publish]
broker = "plant"
prefix = "{PREFIX}"
[[mqtt]]
broker = "plant"
topic = "plant/line1/{{asset}}/{{tag}}"
payload = "number"
[[rule]]
name = "hot"
assets = ["*"]
tag = "heat"
when = "above"
limit = 50.0
[store]
path = "{tmp_path}/andon.db"
commit_interval = "50ms"
[http]
listen = "{{http}}"
""")).start()
    rig.wait_for("the source is connected", lambda: json.loads(andon._get("/status"))["sources"][0]["connected"])
    subscriber = start(rig.Subscriber(broker.as_user("screen"), "acme/#"))
    machines = broker.as_user("machines-line1").client()
    assert publish(machines, "plant/line1/press-1/heat", "99") == "0"
    rig.wait_for("the alert", lambda: subscriber.bodies(f"{PREFIX}/+/alert/hot/event"))
    yield broker, andon, subscriber
    machines.disconnect()
    machines.loop_stop()


def states(subscriber):
    return [body["data"]["state"] for body in subscriber.bodies(f"{PREFIX}/press-1/alert/hot/event")]


def alerts(andon):
    return [alert["state"] for alert in json.loads(andon._get("/api/v1/alerts"))]


def test_the_box_works_under_its_rights_and_the_desk_acknowledges(plant):
    broker, andon, subscriber = plant
    assert states(subscriber) == ["active"]
    desk = broker.as_user("desk").client()
    assert publish(desk, COMMAND, json.dumps({"action": "acknowledge", "by": "the desk"})) in ("0", "16")
    rig.wait_for("the acknowledgement", lambda: "acknowledged" in states(subscriber))
    assert alerts(andon) == ["acknowledged"]
    assert 'andon_alert_messages_refused_total 0' in andon._get("/metrics")
    andon.stop()
    log = andon.log.read_text()
    assert "the desk" in log and f"mqtt plant {COMMAND}" in log, "the audit names the claim and the topic"


@pytest.mark.parametrize("user", ["machines-line1", "screen", "stranger"])
def test_hostile_clients_without_the_right_send_no_command(plant, user):
    broker, andon, subscriber = plant
    client = broker.as_user(user).client()
    body = json.dumps({"action": "acknowledge", "by": "nobody"})
    assert publish(client, COMMAND, body) == "135"
    # The desk's own comes after it in the box's order.
    desk = broker.as_user("desk").client()
    publish(desk, COMMAND, json.dumps({"action": "shelve", "by": "the desk", "for": "1h"}))
    rig.wait_for("the desk's command", lambda: "shelved" in states(subscriber))
    assert "acknowledged" not in states(subscriber)
    assert "nobody" not in andon.log.read_text()


@pytest.mark.parametrize("user", ["machines-line1", "screen", "desk", "stranger"])
def test_hostile_clients_say_nothing_in_the_box_s_name(plant, user):
    broker, _andon, subscriber = plant
    client = broker.as_user(user).client()
    for topic in ("status", "press-1/alert/hot", "press-1/alert/hot/event", "press-2/alert/hot/event"):
        assert publish(client, f"{PREFIX}/{topic}", '{"forged": true}') == "135", topic
    assert not any("forged" in body for _, body in subscriber.seen)


def test_the_box_may_publish_nowhere_else(plant):
    broker, *_ = plant
    box = broker.as_user("box-line1").client()
    for topic in ("plant/line1/press-1/heat", "acme/plant7/line2/status", "acme/plant7/line10/x", "$SYS/x"):
        assert publish(box, topic, "1") == "135", topic
    assert publish(box, f"{PREFIX}/test", "1") in ("0", "16")


def told_within(plant, machine):
    """Seconds from a reading over the limit to its alert, on a machine that was well."""
    broker, *_ = plant
    machines = broker.as_user("machines-line1").client()
    alert = rig.Subscriber(broker.as_user("screen"), f"{PREFIX}/{machine}/alert/hot/event")
    begun = time.monotonic()
    publish(machines, f"plant/line1/{machine}/heat", "99")
    rig.wait_for("its alert", lambda: alert.seen)
    took = time.monotonic() - begun
    alert.close()
    machines.disconnect()
    machines.loop_stop()
    return took


def test_hostile_storm_of_a_client_without_the_right_does_not_reach_the_box(plant):
    broker, andon, _subscriber = plant
    before = andon.ledger()
    thrown_out = 0
    for topic in (b"plant/line1/press-1/heat", COMMAND.encode(), f"{PREFIX}/status".encode()):
        for _ in range(40):
            storm = Flood(broker, "stranger")
            try:
                storm.publish(topic, [b"1"] * 500)
            except ConnectionError:
                # It may also throw out who goes on asking.
                thrown_out += 1
            storm.close()
    print(f"\nA storm without the right: 60,000 messages, thrown out {thrown_out} of 120 times")
    assert andon.ledger() == before
    assert told_within(plant, "press-2") < 2
    assert alerts(andon) == ["active", "active"]
    andon.stop()


def test_hostile_storm_of_commands_by_one_who_has_the_right_is_bounded_and_holds_up_no_alert(plant, start):
    broker, andon, everything = plant
    # It would hear the storm too, and be slower at that than the box.
    everything.close()
    usual = andon.memory()
    storm = start(Flood(broker, "desk"))
    body = b'{"action":"acknowledge","by":"the desk","comment":"' + b"x" * 500 + b'","alert_id":"no such alert"}'
    storm.publish(COMMAND.encode(), [body] * 20_000)
    assert told_within(plant, "press-2") < 5
    assert alerts(andon).count("active") == 2, "none of them named a standing alert"
    assert "the command is for alert no such alert" in andon.log.read_text()
    now = andon.memory()
    print(f"\nA storm of 20,000 commands: memory {usual:.0f} to {now:.0f} MiB")
    assert now < usual + 30
    andon.stop()

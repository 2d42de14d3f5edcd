"""MQTT over TLS with mosquitto, certificates at both ends: what works, and every way in which it must not."""

import json
import ssl
import time

import paho.mqtt.client as mqtt
import pytest

import rig
from certificates import Authority


class Secure(rig.Mosquitto):
    """Asks every client for a certificate of the authority."""

    def __init__(self, folder, authority, *lines):
        self.authority = authority
        self.lines = (
            f"cafile {authority.file}", f"certfile {folder / 'broker.pem'}", f"keyfile {folder / 'broker.key'}",
            # As root it would leave root, and then be kept from the test's files.
            "require_certificate true", "user root", *lines)
        super().__init__(folder, self.lines)

    def client(self):
        c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        folder = self.authority.folder
        c.tls_set(str(self.authority.file), str(folder / "test.pem"), str(folder / "test.key"), cert_reqs=ssl.CERT_REQUIRED)
        c.connect("localhost", self.port)
        c.loop_start()
        rig.wait_for("the test's client is connected", c.is_connected)
        return c


def config(folder, port, **tls):
    given = {"ca_file": folder / "plant-ca.pem", "cert_file": folder / "box.pem", "key_file": folder / "box.key"} | tls
    lines = ", ".join(f"{key} = {json.dumps(str(value))}" for key, value in given.items())
    return f"""
[broker.plant]
url = "mqtts://localhost:{port}"
tls = {{ {lines} }}
[publish]
broker = "plant"
prefix = "acme"
[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/{{tag}}"
payload = "number"
[[rule]]
name = "hot"
assets = ["*"]
tag = "heat"
when = "above"
limit = 50.0
[store]
path = "{folder}/andon.db"
commit_interval = "50ms"
[http]
listen = "{{http}}"
"""


def source(andon):
    return json.loads(andon._get("/status"))["sources"][0]


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path)
    for name in ("broker", "box", "test"):
        made.issue(name)
    return made


def alert(subscriber, publisher, asset):
    publisher.client.publish(f"plant/{asset}/heat", "99", qos=1).wait_for_publish(10)
    return rig.wait_for("the alert", lambda: [b for b in subscriber.bodies("acme/+/alert/hot/event") if b["data"]["asset"] == asset])


def test_both_ends_show_certificates_and_new_ones_are_taken_while_running(start, tmp_path, authority):
    broker = start(Secure(tmp_path, authority))
    andon = start(rig.Andon(tmp_path, config(tmp_path, broker.port, min_version="1.3"))).start()
    subscriber, publisher = start(rig.Subscriber(broker, "acme/#")), start(rig.Publisher(broker))
    rig.wait_for("the source is connected", lambda: source(andon)["connected"])
    alert(subscriber, publisher, "press-1")
    connects = source(andon)["connects"]
    authority.issue("box")
    rig.wait_for("a link with the new certificate", lambda: source(andon)["connects"] > connects)
    rig.wait_for("the source is connected", lambda: source(andon)["connected"])
    alert(subscriber, publisher, "press-2")
    assert "certificate files were exchanged" in andon.log.read_text()
    # Half an exchange: the key of another certificate. The link stays, and the log says why.
    (tmp_path / "box.key").write_bytes((tmp_path / "test.key").read_bytes())
    rig.wait_for("a word on the wrong key", lambda: "this is not the key of" in andon.log.read_text())
    alert(subscriber, publisher, "press-3")
    andon.stop()


REFUSED = {
    "expired": (dict(begins=-9, ends=-1), {}, "has expired"),
    "not yet valid": (dict(begins=1, ends=9), {}, "not valid yet"),
    "another name": (dict(host="elsewhere"), {}, "localhost"),
    "wrong name expected": ({}, {"server_name": "elsewhere"}, "elsewhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broker_that_cannot_prove_itself_gets_no_data(start, tmp_path, authority, case):
    broker_is, tls, words = REFUSED[case]
    authority.issue("broker", **broker_is)
    broker = start(Secure(tmp_path, authority))
    andon = start(rig.Andon(tmp_path, config(tmp_path, broker.port, **tls))).start("/healthz")
    rig.wait_for(f"the error says {words!r}", lambda: words in (source(andon)["last_error"] or ""))
    assert not source(andon)["connected"]


def test_a_broker_of_another_authority_gets_no_data(start, tmp_path, authority):
    other = Authority(tmp_path, "other")
    other.issue("broker")
    broker = start(Secure(tmp_path, authority))
    andon = start(rig.Andon(tmp_path, config(tmp_path, broker.port))).start("/healthz")
    rig.wait_for("the error", lambda: "no authority in" in (source(andon)["last_error"] or ""))
    assert "plant-ca.pem" in source(andon)["last_error"]


def test_a_revoked_broker_gets_no_data(start, tmp_path, authority):
    crl = authority.revoke(authority.issue("broker"))
    broker = start(Secure(tmp_path, authority))
    andon = start(rig.Andon(tmp_path, config(tmp_path, broker.port, crl_file=crl))).start("/healthz")
    rig.wait_for("the error", lambda: "revoked" in (source(andon)["last_error"] or ""))


def test_a_box_whose_certificate_is_revoked_or_old_is_told_so(start, tmp_path, authority):
    crl = authority.revoke(authority.issue("box"))
    broker = start(Secure(tmp_path, authority, f"crlfile {crl}"))
    andon = start(rig.Andon(tmp_path, config(tmp_path, broker.port))).start("/healthz")
    rig.wait_for("the error", lambda: "refuses this box" in (source(andon)["last_error"] or ""))
    assert "box.pem" in source(andon)["last_error"]
    authority.issue("box", begins=-9, ends=-1)
    rig.wait_for("the expired one is refused too", lambda: "Expired" in (source(andon)["last_error"] or ""))
    authority.issue("box")
    rig.wait_for("a good one is taken", lambda: source(andon)["connected"])


def test_certificates_near_their_end_are_told(start, tmp_path, authority):
    authority.issue("box", ends=20)
    broker = start(Secure(tmp_path, authority))
    andon = start(rig.Andon(tmp_path, config(tmp_path, broker.port))).start()
    page = andon._get("/metrics")
    line = next(l for l in page.splitlines() if l.startswith("andon_certificate_expiry_seconds") and "box.pem" in l)
    left = float(line.rsplit(" ", 1)[1]) - time.time()
    assert 19 < left / 86_400 < 20.1
    assert "CN=box" in andon.log.read_text()

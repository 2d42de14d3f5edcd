"""Operators' notes through mosquitto to the model that comes along."""

import rig

BODIES = [b"\xff\xfe", b"", b"x" * 5000, "Schichtübergabe ohne Vorkommnisse".encode(),
          "Hydraulikpumpe leckt stark, bitte prüfen".encode()]


def test_a_note_of_a_fault_raises_an_alert_that_shows_it_and_bad_bytes_change_nothing(start, broker, tmp_path):
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
topic = "plant/line1/{{asset}}/notes"
payload = "text"

[[prediction]]
name = "note"
model = "operator-note"
assets = ["press-*"]

[runtime]
models = "{rig.ROOT}/models"

[store]
path = "{tmp_path}/andon.db"

[http]
listen = "{{http}}"
""")).start()
    notes = start(rig.Publisher(broker))
    for body in BODIES:
        notes.last = notes.client.publish("plant/line1/press-1/notes", body, qos=1)
    notes.flush()

    def explained():
        bodies = events.bodies("acme/plant7/press-1/alert/note/event")
        return [body["data"] for body in bodies if body["data"]["explanation"] != "pending"]

    data = rig.wait_for("an alert with its reasons", explained)[0]
    assert data["note"] == BODIES[-1].decode()
    assert (data["label"], data["explanation"]) == ("fault", "words")
    assert {reason["tag"] for reason in data["contributions"]} == set("Hydraulikpumpe leckt stark bitte prüfen".split())
    metrics = andon._get("/metrics")
    for line in ('andon_texts_total{fate="shown"} 2', 'andon_samples_rejected_total{reason="unreadable"} 2',
                 'andon_samples_rejected_total{reason="too_large"} 1'):
        assert f"{line}\n" in metrics, metrics
    andon.stop()

"""Operators' notes through mosquitto to the model that comes along, the same over `/v2`, and from a server that runs it."""

import json
import shutil
import urllib.error
import urllib.request

import numpy as np
import onnxruntime
import pytest
import rig
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

MODEL = rig.ROOT / "models/operator-note/1.0.0"

BODIES = [b"\xff\xfe", b"", b"x" * 5000, "Schichtübergabe ohne Vorkommnisse".encode(),
          "Hydraulikpumpe leckt stark, bitte prüfen".encode()]

CONFIG = """
[site]
name = "interop"

[broker.plant]
url = "mqtt://127.0.0.1:{port}"

[publish]
broker = "plant"
prefix = "acme/plant7"
verdicts = true

[[mqtt]]
broker = "plant"
topic = "plant/line1/{{asset}}/notes"
payload = "text"

[[prediction]]
name = "note"
model = "operator-note"
assets = ["press-*"]

[runtime]
models = "{models}"

[store]
path = "{folder}/andon.db"

[http]
listen = "{{http}}"
"""


def test_a_note_of_a_fault_raises_an_alert_that_shows_it_and_bad_bytes_change_nothing(start, broker, tmp_path):
    events = start(rig.Subscriber(broker, "acme/plant7/+/alert/+/event"))
    andon = start(rig.Andon(tmp_path, CONFIG.format(
        port=broker.port, models=rig.ROOT / "models", folder=tmp_path))).start()
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


def notes():
    """The golden pair's, which stand as the card prepares them, and an empty one."""
    return json.loads((MODEL / "golden.json").read_text())["input"] + [""]


def expected(texts):
    session = onnxruntime.InferenceSession(MODEL / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"text": np.array(texts, object)})[0]


@pytest.mark.parametrize("way", ["http", "http-json", "grpc"])
def test_triton_s_client_sends_texts_and_gets_what_python_s_runtime_says(start, broker, tmp_path, way):
    andon = start(rig.Andon(tmp_path, CONFIG.format(
        port=broker.port, models=rig.ROOT / "models", folder=tmp_path))).start()
    texts = notes()
    kind = tritonclient.grpc if way == "grpc" else tritonclient.http
    client = start(kind.InferenceServerClient(andon.http))
    shape = client.get_model_metadata("operator-note")
    shape = shape["inputs"][0]["shape"] if way != "grpc" else [int(dim) for dim in shape.inputs[0].shape]

    def asked(values):
        values = np.array(values, object).reshape([-1] + shape[1:])
        tensor = kind.InferInput("text", list(values.shape), "BYTES")
        tensor.set_data_from_numpy(values, **({"binary_data": way == "http"} if way != "grpc" else {}))
        return client.infer("operator-note", [tensor]).as_numpy("probabilities")

    np.testing.assert_allclose(asked(texts), expected(texts), atol=1e-6)
    for text in texts:
        np.testing.assert_allclose(asked([text]), expected([text]), atol=1e-6)
    if way != "http-json":
        with pytest.raises(InferenceServerException, match="UTF-8"):
            asked([b"\xff\xfe"])
    np.testing.assert_allclose(asked(texts[:1]), expected(texts[:1]), atol=1e-6)
    andon.stop()


def test_json_that_holds_no_text_is_refused_and_the_model_answers_on(start, broker, tmp_path):
    """What Triton's client would not send."""
    andon = start(rig.Andon(tmp_path, CONFIG.format(
        port=broker.port, models=rig.ROOT / "models", folder=tmp_path))).start()

    def post(element):
        body = b'{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [' + element + b"]}]}"
        request = urllib.request.Request(f"http://{andon.http}/v2/models/operator-note/infer", body)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    for element, words in [(b'"\xff\xfe"', "JSON cannot be read: invalid unicode"), (b'"\\ud83d"', "JSON cannot be read"),
                           (b'"a\\u0000b"', "element 0 holds a zero byte"), (b"7", "numbers cannot be BYTES")]:
        code, answer = post(element)
        assert code == 400 and words in answer["error"], (element, code, answer)
    note = "öldruck zu niedrig, straße 3 steht"
    code, answer = post(json.dumps(note).encode())
    assert code == 200, answer
    np.testing.assert_allclose(answer["outputs"][0]["data"], expected([note])[0], atol=1e-6)
    andon.stop()


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_a_note_is_read_by_a_model_server(start, broker, tmp_path, way):
    far, near = tmp_path / "far", tmp_path / "near"
    far.mkdir()
    # The far one is only asked: another site's notes, which nobody writes.
    config = CONFIG.replace('name = "interop"', 'name = "far"').replace("plant/line1", "plant/line2").replace("acme/plant7", "acme/far")
    first = start(rig.Andon(far, config.format(port=broker.port, models=rig.ROOT / "models", folder=far))).start()
    folder = near / "models/operator-note/1.0.0"
    shutil.copytree(MODEL, folder)
    (folder / "model.onnx").unlink()
    card = "".join(line for line in (MODEL / "model.toml").read_text().splitlines(True) if not line.startswith("sha256"))
    url = f"{way}://{first.http}/v2/models/operator-note"
    (folder / "model.toml").write_text(f'{card}\n[runtime.remote]\nurl = "{url}"\n')
    events = start(rig.Subscriber(broker, "acme/plant7/+/alert/+/event"))
    verdicts = start(rig.Subscriber(broker, "acme/plant7/+/verdict/note"))
    second = start(rig.Andon(near, CONFIG.format(port=broker.port, models=near / "models", folder=near))).start()
    publisher = start(rig.Publisher(broker))
    publisher.last = publisher.client.publish("plant/line1/press-1/notes", BODIES[-1], qos=1)
    publisher.flush()

    def explained():
        bodies = events.bodies("acme/plant7/press-1/alert/note/event")
        return [body["data"] for body in bodies if body["data"]["explanation"] != "pending"]

    data = rig.wait_for("an alert with its reasons", explained)[0]
    assert (data["label"], data["explanation"], data["note"]) == ("fault", "words", BODIES[-1].decode())
    told = rig.wait_for("its verdict", lambda: verdicts.bodies("acme/plant7/press-1/verdict/note"))[0]["data"]
    assert told["model"]["device"] == f"remote {url}"
    score = expected([BODIES[-1].decode().lower()])[0][2]
    assert abs(told["score"] - score) < 1e-6
    second.stop()

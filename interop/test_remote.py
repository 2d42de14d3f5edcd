"""Models that a server runs: PyPI's MLServer, which no one here wrote, and a second Andon."""

import json
import shutil
import subprocess
import sys
import urllib.request

import pytest
import rig

VENV = rig.ROOT / ".venv-mlserver"
REQUIREMENTS = rig.ROOT / "interop/requirements-mlserver.txt"

RUNTIME = '''
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Root(MLModel):
    async def predict(self, payload):
        x = np.asarray(NumpyCodec.decode_input(payload.inputs[0]), dtype=np.float32)
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=self.version,
            outputs=[NumpyCodec.encode_output("root", np.sqrt(x))])
'''

CONFIG = """
[site]
name = "{site}"

[broker.plant]
url = "mqtt://127.0.0.1:{port}"

[publish]
broker = "plant"
prefix = "site"
verdicts = true

[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/telemetry"
payload = "json"
time = "ts"

[[prediction]]
name = "root"
model = "root"
assets = ["press-*"]
alert = {{ raise = 100.0 }}

[runtime]
models = "{models}"

[store]
path = "{folder}/andon.db"

[http]
listen = "{{http}}"
"""


class MLServer:
    """One model, `root`, which it describes no further; tensors as JSON."""

    def __init__(self, folder):
        if not VENV.exists() or (VENV / "installed.txt").read_text() != REQUIREMENTS.read_text():
            shutil.rmtree(VENV, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
            subprocess.run([str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps",
                            "--disable-pip-version-check", "-r", str(REQUIREMENTS)], check=True)
            (VENV / "installed.txt").write_text(REQUIREMENTS.read_text())
        folder.mkdir()
        self.port, self.grpc_port = rig.free_port(), rig.free_port()
        (folder / "root.py").write_text(RUNTIME)
        (folder / "model-settings.json").write_text(json.dumps({"name": "root", "implementation": "root.Root"}))
        (folder / "settings.json").write_text(json.dumps({
            "host": "127.0.0.1", "http_port": self.port, "grpc_port": self.grpc_port,
            "metrics_port": rig.free_port(), "parallel_workers": 0}))
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}/v2/models/root"
        self.urls = {"http": self.url, "grpc": f"grpc://127.0.0.1:{self.grpc_port}/v2/models/root"}
        self.process = None

    def start(self):
        log = open(self.folder / "mlserver.log", "ab")
        self.process = subprocess.Popen(
            [str(VENV / "bin/mlserver"), "start", "."], cwd=self.folder, stdout=log, stderr=log)

        def ready():
            assert self.process.poll() is None, (self.folder / "mlserver.log").read_text()
            try:
                return urllib.request.urlopen(self.url + "/ready", timeout=2).status == 200
            except OSError:
                return False

        rig.wait_for("MLServer is ready", ready, 60)
        return self

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None


def repository(folder, url, fallback):
    """The model that draws roots, at `url`."""
    source = rig.ROOT / "tests/data/models/root/1.0.0"
    target = folder / "root/1.0.0"
    shutil.copytree(source, target)
    card = (target / "model.toml").read_text()
    if not fallback:
        (target / "model.onnx").unlink()
        card = "".join(line for line in card.splitlines(True) if not line.startswith("sha256"))
    (target / "model.toml").write_text(
        card + f'\n[runtime.remote]\nurl = "{url}"\nfallback = {str(fallback).lower()}\n')
    return folder


def remote(andon):
    with urllib.request.urlopen(f"http://{andon.http}/status", timeout=5) as answer:
        return json.load(answer)["models"][0]["remote"]


@pytest.fixture
def plant(start, broker):
    return start(rig.Publisher(broker))


def ask(plant, second, value):
    plant.json("plant/press-1/telemetry", {"ts": second * 1000, "a": value})
    plant.flush()


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_mlserver_answers_goes_and_comes_back(start, broker, plant, tmp_path, way):
    server = start(MLServer(tmp_path / "mlserver")).start()
    models = repository(tmp_path / "models", server.urls[way], fallback=True)
    seen = start(rig.Subscriber(broker, "site/#"))
    config = CONFIG.format(site="near", port=broker.port, models=models, folder=tmp_path)
    andon = start(rig.Andon(tmp_path, config)).start()
    assert remote(andon)["breaker"] == "closed"

    def verdict(second, value):
        ask(plant, second, value)
        bodies = rig.wait_for("a verdict", lambda: [
            b for b in seen.bodies("site/press-1/verdict/root")
            if b["data"]["window"]["end"] == rig.stamp(second * 1000)])
        return bodies[0]["data"]["score"], bodies[0]["data"]["model"]["device"]

    now = 1_700_000_000
    assert verdict(now, 16.0) == (4.0, f"remote {server.urls[way]}")
    server.close()
    assert verdict(now + 1, 25.0) == (5.0, "cpu")
    assert remote(andon)["fallbacks"] == 1
    server.start()

    def back():
        second = now + 2 + back.asked
        back.asked += 1
        return verdict(second, 36.0)[1].startswith("remote")

    back.asked = 0
    rig.wait_for("MLServer answers again", back, 60)


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_a_second_andon_is_a_model_server(start, broker, plant, tmp_path, way):
    far, near = tmp_path / "far", tmp_path / "near"
    far.mkdir(), near.mkdir()
    shutil.copytree(rig.ROOT / "tests/data/models/root", far / "models/root")
    first = start(rig.Andon(far, CONFIG.format(site="far", port=broker.port, models=far / "models", folder=far))).start()
    url = f"{way}://{first.http}/v2/models/root"
    models = repository(near / "models", url, fallback=False)
    second = start(rig.Andon(near, CONFIG.format(site="near", port=broker.port, models=models, folder=near))).start()
    assert remote(second)["breaker"] == "closed"
    seen = start(rig.Subscriber(broker, "site/press-1/verdict/root"))
    ask(plant, 1_700_000_000, 49.0)

    def both():
        bodies = seen.bodies("site/press-1/verdict/root")
        return {b["data"]["model"]["device"]: b["data"]["score"] for b in bodies if "model" in b["data"]}

    answers = rig.wait_for("both answer", lambda: len(both()) == 2 and both())
    assert set(answers.values()) == {7.0}
    assert f"remote {url}" in answers

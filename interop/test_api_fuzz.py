"""The API against its own OpenAPI document, by schemathesis: made-up requests, good and bad."""

import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import rig
from test_pictures import grey

CONFIG = """
[site]
name = "plant7"
[broker.plant]
url = "mqtt://127.0.0.1:{port}"
[publish]
broker = "plant"
prefix = "acme/plant7"
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/telemetry"
payload = "json"
values = "values"
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/camera"
payload = "image"
[[prediction]]
name = "bright"
model = "brightness"
assets = ["press-*"]
[runtime]
models = "{models}"
[[rule]]
name = "hot"
assets = ["press-*"]
tag = "temperature"
when = "above"
limit = 80.0
[store]
path = "{db}"
[http]
listen = "{http}"
"""
# Streams end when their reader does.
ENDLESS = "/api/v1/events"


def test_the_api_is_what_its_document_says(start, broker, tmp_path):
    # A copy: the API removes models.
    models = shutil.copytree(rig.ROOT / "tests/data/models", tmp_path / "models")
    config = CONFIG.replace("{port}", str(broker.port)).replace("{db}", str(tmp_path / "andon.db")).replace("{models}", str(models))
    daemon = start(rig.Andon(tmp_path, config).start())
    publisher = start(rig.Publisher(broker))
    publisher.json("plant/press-1/telemetry", {"values": {"temperature": 91.0}})
    publisher.client.publish("plant/press-1/telemetry", b"not json", qos=1).wait_for_publish(10)
    publisher.client.publish("plant/press-1/camera", grey(60), qos=1).wait_for_publish(10)
    rig.wait_for("a picture is kept", lambda: "path" in (daemon._get("/api/v1/assets/press-1/snapshots") or ""))
    rig.wait_for("an alert stands", lambda: "press-1" in (daemon._get("/api/v1/alerts") or ""))

    command = [
        Path(sys.executable).parent / "schemathesis", "run", f"http://{daemon.http}/api/v1/openapi.json",
        # No schema can say that `from` lies before `to`, so some requests that it allows are refused.
        "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--exclude-path", ENDLESS, "--phases", "examples,coverage,fuzzing",
        "--max-examples", "40", "--request-timeout", "10", "--seed", "1", "--no-color",
        "--generation-database", "none", "--continue-on-failure",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-12000:] + run.stderr[-2000:]
    print("\n" + "\n".join(line for line in run.stdout.splitlines() if re.search(r"generated|Operations|Tested", line)))
    # It lives, and still tells the same.
    assert "press-1" in daemon._get("/api/v1/assets/" + urllib.parse.quote("press-1"))
    daemon.stop()

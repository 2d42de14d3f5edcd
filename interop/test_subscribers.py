"""The subscribers of docs/alerts.md, run as they stand there."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import rig
from test_board import plant  # noqa: F401

RUN = {"python": [sys.executable], "javascript": ["node"], "sh": ["sh"]}
NPM_MQTT = "mqtt@5.16.0"


def example(language):
    text = (rig.ROOT / "docs" / "alerts.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)
    assert len(blocks) == 1, f"{len(blocks)} examples in {language}"
    return blocks[0]


@pytest.mark.parametrize("language", RUN)
def test_the_subscriber_hears_every_transition(language, plant, broker, tmp_path):  # noqa: F811
    daemon, publisher, _ = plant
    if language == "sh" and not shutil.which("mosquitto_sub"):
        pytest.skip("mosquitto_sub is missing; install it: apt-get install mosquitto-clients")
    if language == "javascript":
        if not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("node and npm are missing")
        install = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", tmp_path, NPM_MQTT],
                                 capture_output=True, text=True, timeout=120)
        if install.returncode:
            pytest.skip(f"npm installs nothing here: {install.stderr[-300:]}")
    script = tmp_path / f"subscriber.{ {'python': 'py', 'javascript': 'js', 'sh': 'sh'}[language] }"
    script.write_text(example(language))
    heard = tmp_path / "heard"
    with open(heard, "wb") as out:
        process = subprocess.Popen([*RUN[language], script, "127.0.0.1", str(broker.port), "acme/plant7"],
                                   stdout=out, stderr=out, cwd=tmp_path, start_new_session=True,
                                   env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        def send(asset, value):
            publisher.json(f"plant/{asset}/telemetry", {"values": {"temperature": value}})
            publisher.flush()

        def listens():
            # Events are not retained: until one is heard, machines overheat in turn.
            listens.turn += 1
            send(f"press-warm{listens.turn}", 91.0)
            return b"press-warm" in heard.read_bytes()

        listens.turn = 0
        rig.wait_for("the subscriber listens", listens)
        send("press-1", 92.5)
        send("press-1", 60.0)
        rig.wait_for("both transitions are heard", lambda: heard.read_bytes().count(b"press-1") >= 2 and b"cleared" in heard.read_bytes())
        if language != "sh":
            lines = [line for line in heard.read_text().splitlines() if line.startswith("press-1 ")]
            assert [line.split(" ")[1:5] for line in lines] == [
                ["hot", "normal", "->", "active"], ["hot", "active", "->", "cleared"]], lines
            assert "press-1 is too hot: 92.5" in lines[0]
        else:
            assert "acme/plant7/press-1/alert/hot/event {" in heard.read_text()
    finally:
        # With what it has started: the shell's mosquitto_sub.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

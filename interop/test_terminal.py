"""`andon tail` and `andon top`, as a person has them: in a pipe and in a terminal."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time

import rig
from test_board import plant  # noqa: F401


def andon(daemon, *arguments, **more):
    command = [os.environ["ANDON_BIN"], *arguments, "--config", str(daemon.config)]
    return subprocess.Popen(command, text=True, **more)


def send(publisher, asset, value):
    publisher.json(f"plant/{asset}/telemetry", {"values": {"temperature": value}})
    publisher.flush()


def test_tail_tells_readings_and_alerts_as_they_come(plant, tmp_path):  # noqa: F811
    daemon, publisher, _ = plant
    send(publisher, "press-1", 60.5)
    rig.wait_for("the tag is known", lambda: "press-1" in daemon._get("/api/v1/tags"))
    every = ["--every", "100ms"]
    samples = andon(daemon, "tail", "samples", "--asset", "press-*", "--json", "--lines", "2", *every, stdout=subprocess.PIPE)
    assert json.loads(samples.stdout.readline())["value"] == 60.5
    with open(tmp_path / "verdicts", "w") as out, open(tmp_path / "alerts", "w") as more:
        verdicts = andon(daemon, "tail", "verdicts", "--lines", "2", *every, stdout=out)
        alerts = andon(daemon, "tail", "alerts", "--lines", "1", *every, stdout=more)
        # The past is no news: the tail has to stand before the alert comes.
        rig.wait_for("the rule's verdict is told", lambda: (tmp_path / "verdicts").read_text())
        time.sleep(1)
        send(publisher, "press-1", 93.25)
        assert json.loads(samples.stdout.readline())["value"] == 93.25
        assert [process.wait(20) for process in (samples, verdicts, alerts)] == [0, 0, 0]
    assert "hot  93.25" in (tmp_path / "verdicts").read_text()
    assert "press-1  hot  raised" in (tmp_path / "alerts").read_text()
    head = andon(daemon, "tail", *every, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert "press-1  temperature  93.25 degC  good" in head.stdout.readline()
    head.stdout.close()
    send(publisher, "press-1", 94.0)
    assert head.wait(20) == 0 and head.stderr.read() == "", "a closed pipe is no failure"


def test_top_draws_in_a_terminal_and_quits_on_q(plant):  # noqa: F811
    daemon, publisher, _ = plant
    send(publisher, "press-1", 91.0)
    rig.wait_for("the alert stands", lambda: "press-1" in daemon._get("/api/v1/alerts"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    before = termios.tcgetattr(theirs)
    top = andon(daemon, "top", "--every", "200ms", stdin=theirs, stdout=theirs, stderr=theirs)
    seen = ""
    end = time.monotonic() + 20
    while time.monotonic() < end and not ("/s" in seen and "too hot" in seen and "mqtt:plant" in seen):
        if select.select([ours], [], [], 0.2)[0]:
            seen += os.read(ours, 65536).decode(errors="replace")
    assert "\x1b[?1049h" in seen and "▲ active" in seen and "press-1 temperature" in seen, seen
    os.write(ours, b"q")
    while top.poll() is None and time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            seen += os.read(ours, 65536).decode(errors="replace")
    assert top.wait(1) == 0
    if select.select([ours], [], [], 0.2)[0]:
        seen += os.read(ours, 65536).decode(errors="replace")
    assert "\x1b[?1049l" in seen, seen[-200:]
    assert termios.tcgetattr(theirs) == before, "the terminal is as it was"
    plain = andon(daemon, "top", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    text = plain.communicate(timeout=20)[0]
    assert plain.returncode == 0 and "\x1b" not in text and "too hot" in text, text

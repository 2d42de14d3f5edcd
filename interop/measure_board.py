"""Figures of the board and the API with 100 assets of 10 tags at 1 Hz, one of them with a camera; prints one line each.

    ANDON_BIN=target/release/andon ORT_DYLIB_PATH=… .venv-interop/bin/python interop/measure_board.py

A viewer here does what the page's script does: it listens to the events, and asks for the page's body at each.
"""

import json
import os
import shutil
import socket
import statistics
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import rig
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from shots import surface
from test_board import CONFIG

ASSETS, TAGS, VIEWERS, SECONDS, REQUESTS = 100, 10, 10, 30, 2000
# As many as the page of an asset shows.
PICTURES = 12
CAMERA = f"""
[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/camera"
payload = "image"
[[prediction]]
name = "bright"
model = "brightness"
assets = ["press-007"]
[runtime]
models = "{rig.ROOT}/tests/data/models"
"""
TICK = os.sysconf("SC_CLK_TCK")


def speak(publisher, stop):
    """Every asset once a second, spread over the second."""
    began, number = time.monotonic(), 0
    while not stop.is_set():
        asset = number % ASSETS
        value = 60 + (number // ASSETS) % 10
        publisher.json(f"plant/press-{asset:03}/telemetry",
                       {"values": {"temperature": value, "sent": time.time(), **{f"t{n}": value + n for n in range(TAGS - 2)}}})
        number += 1
        time.sleep(max(0, began + number / ASSETS - time.monotonic()))


class Viewer:
    def __init__(self, daemon, page="/", asset=None):
        host, port = daemon.http.split(":")
        self.daemon, self.page, self.bytes, self.bodies, self.lags = daemon, page, 0, 0, []
        self.socket = socket.create_connection((host, int(port)), 10)
        query = f"?asset={asset}" if asset else ""
        self.socket.sendall(f"GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        lines = self.socket.makefile("rb")
        event = b""
        try:
            for line in lines:
                self.bytes += len(line)
                if line.startswith(b"event: "):
                    event = line[7:].strip()
                elif line.startswith(b"data: ") and event == b"assets":
                    request = urllib.request.Request(f"http://{self.daemon.http}{self.page}", headers={"x-andon-body": "1"})
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        self.bytes += len(answer.read())
                    self.bodies += 1
                elif line.startswith(b"data: ") and event == b"tags":
                    now = time.time()
                    self.lags += [now - tag["value"] for tag in json.loads(line[6:]) if tag["tag"] == "sent"]
        except (OSError, ValueError):
            return

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


def cpu(daemon):
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def share(daemon):
    """Per cent of one core."""
    before = cpu(daemon)
    time.sleep(SECONDS)
    return (cpu(daemon) - before) / SECONDS * 100


def requests(daemon):
    host, port = daemon.http.split(":")
    for path in ("/api/v1/assets", "/api/v1/assets/press-007", "/api/v1/tags?asset=press-007", "/api/v1/alerts", "/api/v1/status"):
        took = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
                answer.read()
            took.append((time.perf_counter() - began) * 1000)
            time.sleep(0.002)
        took.sort()
        print(f"GET {path}: p50 {took[REQUESTS // 2]:.2f} ms, p99 {took[REQUESTS * 99 // 100]:.2f} ms, slowest {took[-1]:.1f} ms")


def paint(daemon, folder):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        for path in ("/", "/assets/press-008", "/assets/press-007", "/history", "/health", "/config"):
            firsts, weights = [], []
            for _ in range(5):
                browser.execute_cdp_cmd("Network.clearBrowserCache", {})
                browser.get(f"http://{daemon.http}{path}")
                first, weight = rig.wait_for("it is painted", lambda: browser.execute_script(
                    "const paint = performance.getEntriesByName('first-contentful-paint')[0];"
                    "return document.readyState === 'complete' && paint && [paint.startTime, performance.getEntries()"
                    ".filter(e => !/events/.test(e.name)).reduce((sum, e) => sum + (e.transferSize || 0), 0)]"))
                firsts.append(first)
                weights.append(weight)
            print(f"{path}: first paint median {statistics.median(firsts):.0f} ms, slowest {max(firsts):.0f} ms; {max(weights) / 1000:.1f} kB")
    finally:
        browser.quit()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = rig.Mosquitto(folder)
        config = (CONFIG + CAMERA).replace("{port}", str(broker.port)).replace("{db}", str(folder / "andon.db"))
        daemon = rig.Andon(folder, config).start()
        publisher = rig.Publisher(broker)
        talk = rig.Background(lambda stop: speak(publisher, stop))
        try:
            rig.wait_for("all assets speak", lambda: len(json.loads(daemon._get("/api/v1/assets"))) == ASSETS)
            for number in range(PICTURES):
                publisher.client.publish("plant/press-007/camera", surface(number, 0), qos=1).wait_for_publish(10)
            rig.wait_for("the pictures are kept", lambda: (daemon._get("/api/v1/assets/press-007/snapshots") or "").count("path") == PICTURES)
            alone = share(daemon)
            viewers = [Viewer(daemon) for _ in range(VIEWERS)]
            time.sleep(2)
            watched = share(daemon)
            told = sum(viewer.bodies for viewer in viewers) / VIEWERS / (SECONDS + 2)
            for viewer in viewers:
                viewer.close()
            print(f"CPU of the daemon: {alone:.1f} % of a core without viewers, {watched:.1f} % with {VIEWERS}: "
                  f"{(watched - alone) / VIEWERS:.2f} % a viewer, {told:.2f} pages a second each")
            viewer = Viewer(daemon, "/assets/press-007", "press-*")
            time.sleep(SECONDS)
            viewer.close()
            lags = sorted(viewer.lags)
            print(f"All 1,000 tags to one viewer: {len(lags)} readings, newest {lags[0]:.2f} to {lags[-1]:.2f} s old, "
                  f"p99 {lags[len(lags) * 99 // 100]:.2f} s (a reading a second, told each second: up to 2 s is without delay)")
            requests(daemon)
            paint(daemon, folder)
            print(f"Memory {daemon.memory():.0f} MiB; {daemon.ledger()}")
        finally:
            talk.stop.set()
            talk.join()
            publisher.close()
            daemon.close()
            broker.close()


if __name__ == "__main__":
    main()

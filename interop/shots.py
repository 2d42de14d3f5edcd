"""Takes the pictures of docs/img: every page, light and dark, on a desktop and a tablet.

    ANDON_BIN=… ORT_DYLIB_PATH=… .venv-interop/bin/python interop/shots.py docs/img
"""

import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy
import rig
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from test_board import CONFIG
from test_pictures import encode

SIZES = {"desktop": (1440, 900), "tablet": (820, 1180)}
PAGES = {"line": "/", "asset": "/assets/press-2", "history": "/history", "models": "/models", "health": "/health", "config": "/config"}
# Means and spreads of machine-failure's training; mill-2 works harder than that.
MILL = {"air_temperature": (300, 2), "process_temperature": (310, 1.5), "rotational_speed": (1538, 176), "torque": (40, 10)}
MODEL = """
[[prediction]]
name = "failure"
model = "machine-failure"
assets = ["mill-*"]
[[prediction]]
name = "glare"
model = "brightness"
assets = ["press-*"]
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/camera"
payload = "image"
[drift]
frames = 600
[runtime]
models = "models"
"""
ASSETS = ["press-1", "press-2", "press-3", "mill-1", "mill-2", "oven-1"]


def mill(dice, asset):
    values = {tag: dice.gauss(*spread) for tag, spread in MILL.items()}
    values["torque"] *= 1.25 if asset == "mill-2" else 1
    values |= {"type": dice.choices([0, 1, 2], [6, 3, 1])[0], "tool_wear": dice.uniform(0, 220)}
    return {tag: round(value, 2) for tag, value in values.items()}


def surface(seed, glare):
    """A turned surface as a camera sees it, drawn: light from above, traces of the tool, and sometimes a lamp that dazzles."""
    dice = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:360, 0:576]
    grey = 0.1 + 0.3 * numpy.sin(numpy.pi * y / 360) ** 1.5 + 0.02 * numpy.sin(x / 3) + dice.normal(0, 0.02, y.shape)
    grey += dice.normal(0, 0.03, 576)[None, :]
    grey += glare * numpy.exp(-((x - dice.uniform(200, 380)) / 260) ** 2 - ((y - 160) / 220) ** 2)
    pixels = (numpy.clip(grey, 0, 1) * 255).astype(numpy.uint8)
    return encode(576, 360, numpy.repeat(pixels[:, :, None], 3, axis=2))


class Here(rig.Andon):
    """With its configuration in the working directory: no machine's paths are in the pictures."""

    def start(self, ready_when="/readyz"):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([os.environ["ANDON_BIN"], "run", "--config", self.config.name],
                                            stdout=log, stderr=log, cwd=self.config.parent)
        rig.wait_for("andon is ready", lambda: self._get(ready_when) is not None)
        return self


def main(target):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = rig.Mosquitto(folder)
        config = CONFIG.replace("{port}", str(broker.port)).replace("{db}", "andon.db")
        for model in ("models/machine-failure", "tests/data/models/brightness"):
            shutil.copytree(rig.ROOT / model, folder / "models" / Path(model).name)
        kept = folder / "models" / "machine-failure"
        daemon = Here(folder, MODEL + config.replace('values = "values"', 'time = "ts"\nvalues = "values"')).start()
        publisher = rig.Publisher(broker)
        try:
            # Two minutes of the past, one reading a second.
            candidate(daemon, kept)
            start, dice = time.time() - 120, random.Random(3)
            parts = []
            for second in range(120):
                for at, asset in enumerate(ASSETS):
                    hot = 0.3 * (second - 70) if asset == "press-2" and second > 70 else 0
                    values = {"temperature": round(62 + at + 4 * math.sin(second / 9 + at) + hot + 6 * (hot > 0), 2),
                              "pressure": round(118 + 3 * math.sin(second / 5 + at), 2)}
                    for part in range(5 if asset.startswith("mill") else 0):
                        at_ms = int((start + second) * 1000) + 1 + 190 * part
                        publisher.json(f"plant/{asset}/telemetry", {"ts": at_ms, "values": mill(dice, asset)})
                        parts.append((asset, at_ms))
                    publisher.json(f"plant/{asset}/telemetry", {"ts": int((start + second) * 1000), "values": values})
            publisher.flush()
            rig.wait_for("the alert stands", lambda: "press-2" in daemon._get("/api/v1/alerts"))
            for asset, at_ms in dice.sample(parts, 60):
                label = {"time": rig.stamp(at_ms), "label": "bad" if dice.random() < 0.1 else "good"}
                publisher.json(f"acme/plant7/{asset}/label/failure", label)
            publisher.flush()
            for number, glare in enumerate([0, 0, 0.1, 0, 0, 0.9, 0.2, 0]):
                publisher.client.publish("plant/press-2/camera", surface(number, glare), qos=1).wait_for_publish(10)
                rig.wait_for("it is kept", lambda: (daemon._get("/api/v1/assets/press-2/snapshots") or "").count("path") == number + 1)
            shots(daemon, target, folder)
        finally:
            publisher.close()
            daemon.close()
            broker.close()


def candidate(daemon, folder):
    """The same model under another number looks over its shoulder."""
    shutil.copytree(folder / "1.1.0", folder / "1.2.0")
    card = folder / "1.2.0" / "model.toml"
    card.write_text(card.read_text().replace('version = "1.1.0"', 'version = "1.2.0"'))
    request = urllib.request.Request(f"http://{daemon.http}/api/v1/models/machine-failure/shadow",
                                     b'{"version": "1.2.0", "by": "R. Meyer"}', {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=20).close()


def shots(daemon, target, folder):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en",
                     "--hide-scrollbars", f"--user-data-dir={folder / 'browser'}"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        for tone in ("light", "dark"):
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": tone}]})
            for device, (width, height) in SIZES.items():
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
                for page, path in PAGES.items():
                    if page == "config":
                        # As it looks when somebody has slipped.
                        good = daemon.config.read_text()
                        daemon.config.write_text(good.replace("limit = 80.0", 'limit = "eighty"'))
                        rig.wait_for("the file is refused", lambda: "eighty" in daemon._get("/config") and "class=\"finding error" in daemon._get("/config"))
                    browser.get(f"http://{daemon.http}{path}")
                    if page == "asset":
                        rig.wait_for("the trend is drawn", lambda: browser.execute_script(
                            "return document.querySelector('[data-trend-tag] .curve')?.getAttribute('d').length > 200"))
                    if page == "health":
                        rig.wait_for("the rate is known", lambda: browser.execute_script(
                            "return document.querySelector('[data-rate-of]')?.textContent !== '–'"))
                    if page == "config":
                        browser.execute_script("document.querySelector('.finding').scrollIntoView({block: 'center'})")
                    if page == "asset":
                        rig.wait_for("the pictures are drawn", lambda: browser.execute_script(
                            "return [...document.images].every(img => img.complete && img.naturalWidth)"))
                    browser.save_screenshot(str(target / f"{page}-{device}-{tone}.png"))
                    if page == "config":
                        daemon.config.write_text(good)
                        rig.wait_for("it is good again", lambda: "finding error" not in daemon._get("/config"))
                print(tone, device, browser.execute_script(
                    "return performance.getEntriesByType('paint').map(p => `${p.name} ${p.startTime.toFixed(0)} ms`).join(', ')"))
    finally:
        browser.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

import contextlib
import shutil
import sys
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

sys.path.insert(0, str(Path(__file__).resolve().parent))

import rig  # noqa: E402


@pytest.fixture
def start():
    """Closes what a test opened with it, last first."""
    with contextlib.ExitStack() as stack:
        def opened(thing):
            stack.callback(thing.close)
            return thing

        yield opened


@pytest.fixture
def broker(start, tmp_path):
    return start(rig.Mosquitto(tmp_path))


@pytest.fixture
def browser(tmp_path):
    """Debian's chromium. What a page complains about fails the test."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium is missing; install it: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     f"--user-data-dir={tmp_path / 'browser'}", "--lang=en"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    complaints = [line["message"] for line in browser.get_log("browser")]
    browser.quit()
    assert not complaints, complaints

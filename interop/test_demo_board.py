"""The demonstration's board in a real browser: a fault that a test injects, acknowledged without a mouse; a wrong limit in
its configuration; another limit tried on its buffer."""

import json
import os
import re
import subprocess
import time

import pytest
import rig
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


class Demo(rig.Broker):
    """`andon demo`: a plant, its broker and the daemon in one process."""

    def __init__(self, folder):
        self.folder = folder / "demo"
        self.log = folder / "demo.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([os.environ["ANDON_BIN"], "demo", "--for", "5m", "--dir", str(self.folder)],
                                            stdout=log, stderr=log, cwd=rig.ROOT)
        super().__init__(int(self._line(r"alerts +mqtt://127\.0\.0\.1:(\d+),")))
        self.http = self._line(r"board +http://(\S+)")
        self.config = self.folder / "andon.toml"

    def _line(self, pattern):
        def found():
            assert self.process.poll() is None, self.log.read_text()
            return re.search(pattern, self.log.read_text())

        return rig.wait_for(f"the demonstration says {pattern}", found)[1]

    def close(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def demo(start, tmp_path):
    return start(Demo(tmp_path))


def tab_to(browser, element, presses=80):
    """Walks there with the Tab key; what has the focus shows it."""
    for _ in range(presses):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        name, outline = browser.execute_script(
            "const e = document.activeElement; return [e.id, getComputedStyle(e).outlineStyle]")
        assert outline != "none", f"nobody sees that {name or 'an element'} has the focus"
        if name == element:
            return
    raise AssertionError(f"{presses} presses of Tab did not reach {element}")


def test_an_injected_fault_is_seen_read_and_acknowledged_with_the_keyboard(demo, browser, start):
    events = start(rig.Subscriber(demo, "demo/line1/+/alert/+/event"))
    publisher = start(rig.Publisher(demo))

    def send(temperature):
        publisher.json("demo/line1/spindle-9/telemetry", {"ts": int(time.time() * 1000), "values": {"temperature": temperature}})
        publisher.flush()

    def word():
        return browser.execute_script("return document.querySelector(`.tile[data-asset='spindle-9'] .word`)?.textContent")

    send(40.0)
    browser.get(f"http://{demo.http}/?lang=en")
    rig.wait_for("the new spindle is normal", lambda: word() == "Normal")
    began = time.monotonic()
    send(61.5)
    rig.wait_for("the board shows the fault", lambda: word() == "Alert", 5)
    took = time.monotonic() - began
    assert took < 1, f"{took:.2f} s from fault to board"
    card = browser.find_element(By.CSS_SELECTOR, ".card[data-asset='spindle-9']").text
    assert "spindle-9 is too hot: 61.5 degC, the limit is 54" in card and "temperature = 61.50" in card, card

    # Without a name first: the question for it takes the focus. Machines go on failing meanwhile.
    tab_to(browser, "acknowledge-spindle-9-spindle-hot")
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    rig.wait_for("the name is asked for", lambda: browser.switch_to.active_element.get_attribute("id") == "by")
    ActionChains(browser).send_keys("R. Meyer").perform()
    tab_to(browser, "acknowledge-spindle-9-spindle-hot")
    ActionChains(browser).send_keys(Keys.SPACE).perform()
    said = rig.wait_for("subscribers hear of it", lambda: [
        body["data"] for body in events.bodies("demo/line1/spindle-9/alert/spindle-hot/event")
        if body["data"]["state"] == "acknowledged"])
    assert said[0]["acknowledged_by"] == "R. Meyer"
    rig.wait_for("the tile says that it was seen", lambda: word() == "Alert, seen", 5)
    print(f"\nDemonstration: {took * 1000:.0f} ms from an injected fault to its tile")


def test_a_wrong_limit_shows_its_line_and_another_limit_is_tried_on_the_buffer(demo, browser, start):
    events = start(rig.Subscriber(demo, "demo/line1/+/alert/+/event"))
    good = demo.config.read_text()
    assert "limit = 54.0" in good
    browser.get(f"http://{demo.http}/config?lang=en")
    demo.config.write_text(good.replace("limit = 54.0", 'limit = "hot"'))
    rig.wait_for("the line is shown with its error", lambda: browser.find_elements(By.CSS_SELECTOR, ".finding.error"), 5)
    assert "the box runs on with the old one" in browser.find_element(By.TAG_NAME, "main").text
    demo.config.write_text(good)

    rig.wait_for("a spindle was too hot", lambda: events.bodies("demo/line1/+/alert/spindle-hot/event"))
    other = demo.config.with_name("other.toml")
    other.write_text(good.replace("limit = 54.0", "limit = 90.0"))

    # The alert is in the buffer's history a moment after it is told.
    def compared():
        done = subprocess.run([os.environ["ANDON_BIN"], "backtest", "--config", str(other), "--json"],
                              capture_output=True, text=True, timeout=60, cwd=rig.ROOT)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["predictions"]
        return found if found.get("spindle-hot", {}).get("old") else None

    found = rig.wait_for("the buffer has the alert", compared)
    hot = found.pop("spindle-hot")
    assert hot["new"] == 0 and len(hot["only_old"]) == hot["old"] and not hot["matched"], hot
    assert all(not others["only_old"] and not others["only_new"] for others in found.values()), found

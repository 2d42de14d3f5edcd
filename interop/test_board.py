"""The board in a real browser: an alert appears, its reason is readable, a person acknowledges."""

import json
import os
import subprocess
import time

import pytest
import rig
from selenium.webdriver.common.by import By

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
[[tag]]
asset = "*"
name = "temperature"
unit = "degC"
[[rule]]
name = "hot"
assets = ["press-*"]
tag = "temperature"
when = "above"
limit = 80.0
alert = { clear = 70.0, severity = 800, text = "{asset} is too hot: {score} degC" }
[store]
path = "{db}"
[http]
listen = "{http}"
"""


@pytest.fixture
def plant(start, broker, tmp_path):
    config = CONFIG.replace("{port}", str(broker.port)).replace("{db}", str(tmp_path / "andon.db"))
    daemon = start(rig.Andon(tmp_path, config).start())
    events = start(rig.Subscriber(broker, "acme/plant7/+/alert/+/event"))
    return daemon, start(rig.Publisher(broker)), events


def test_an_alert_is_read_and_acknowledged_on_the_board(plant, browser):
    daemon, publisher, events = plant

    def send(asset, value):
        publisher.json(f"plant/{asset}/telemetry", {"values": {"temperature": value}})
        publisher.flush()

    def tile(asset):
        return browser.find_element(By.CSS_SELECTOR, f".tile[data-asset='{asset}']")

    def word(asset):
        return browser.execute_script(
            "return document.querySelector(`.tile[data-asset='${arguments[0]}'] .word`)?.textContent", asset)

    send("press-1", 60.0)
    send("press-2", 61.0)
    browser.get(f"http://{daemon.http}/")
    rig.wait_for("both machines are normal", lambda: word("press-1") == word("press-2") == "Normal")

    began = time.monotonic()
    send("press-2", 85.5)
    rig.wait_for("the tile says so", lambda: word("press-2") == "Alert", 5)
    took = time.monotonic() - began
    assert took < 1, f"{took:.2f} s from fault to board"
    assert "press-2 is too hot: 85.5" in tile("press-2").text
    assert word("press-1") == "Normal"
    card = browser.find_element(By.CSS_SELECTOR, ".card[data-asset='press-2']")
    assert "because of" in card.text and "temperature = 85.50" in card.text, card.text

    # Nobody acknowledges without a name.
    card.find_element(By.CSS_SELECTOR, "[data-action='acknowledge']").click()
    rig.wait_for("the name is asked for", lambda: browser.switch_to.active_element.get_attribute("id") == "by")
    browser.switch_to.active_element.send_keys("R. Meyer")
    browser.find_element(By.CSS_SELECTOR, "[data-action='acknowledge']").click()
    rig.wait_for("the tile says that it was seen", lambda: word("press-2") == "Alert, seen", 5)
    said = rig.wait_for("subscribers hear of it", lambda: [
        body["data"] for body in events.bodies("acme/plant7/press-2/alert/hot/event")
        if body["data"]["state"] == "acknowledged"])
    assert said[0]["acknowledged_by"] == "R. Meyer"

    browser.get(f"http://{daemon.http}/assets/press-2")
    rig.wait_for("the trend is drawn", lambda: browser.execute_script(
        "return document.querySelector('figure .curve')?.getAttribute('d').length > 5"))
    browser.get(f"http://{daemon.http}/history")
    assert "hot: seen" in browser.find_element(By.TAG_NAME, "main").text
    weight = browser.execute_script(
        "return performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize || 0), 0)")
    print(f"\nBoard: {took * 1000:.0f} ms from fault to tile, history page {weight / 1000:.1f} kB in all")
    assert weight < 150_000


def test_the_command_line_shows_what_the_board_shows(plant):
    daemon, publisher, _ = plant

    def andon(*arguments):
        return subprocess.run([os.environ["ANDON_BIN"], *arguments, "--config", str(daemon.config)],
                              capture_output=True, text=True, timeout=20)

    publisher.json("plant/press-1/telemetry", {"values": {"temperature": 91.0}})
    publisher.client.publish("plant/press-1/telemetry", b"not json", qos=1).wait_for_publish(10)
    rig.wait_for("the alert stands", lambda: "too hot" in andon("alerts").stdout)
    tags = json.loads(andon("tags", "press-*", "--json").stdout)
    assert [(t["asset"], t["value"], t["unit"]) for t in tags] == [("press-1", 91.0, "degC")]
    status = andon("status")
    assert status.returncode == 0 and "1 rejected" in status.stdout and "mqtt:plant" in status.stdout, status
    rig.wait_for("the unreadable payload is kept", lambda: "not json" in andon("quarantine").stdout)
    seen = andon("alerts", "ack", "press-1", "hot", "--by", "shift lead", "--comment", "fan cleaned")
    assert seen.returncode == 0 and "acknowledged" in seen.stdout, seen
    # The answer does not wait for the disk, the history does.
    rig.wait_for("the history tells it", lambda: "acknowledged" in andon("history").stdout)
    wrong = andon("alerts", "ack", "press-9", "hot", "--by", "shift lead")
    assert wrong.returncode == 1 and "press-9" in wrong.stderr, wrong
    daemon.stop()
    gone = andon("status")
    assert gone.returncode == 1 and "no daemon answers" in gone.stderr, gone


def test_a_broken_configuration_shows_its_line_on_the_board(plant, browser):
    daemon, _, _ = plant

    def main():
        return browser.execute_script("return document.querySelector('main').innerText")

    good = daemon.config.read_text()
    browser.get(f"http://{daemon.http}/config?lang=en")
    rig.wait_for("the running file is shown", lambda: 'name = "plant7"' in main())
    assert "In effect since" in main() and "Nothing is wrong with it." in main()

    began = time.monotonic()
    broken = good.replace("limit = 80.0", 'limit = "eighty"') + '[broker.other]\nurl = "mqtt://me:s3cret@127.0.0.1"\n'
    daemon.config.write_text(broken)
    rig.wait_for("the line is shown with its error", lambda: browser.find_elements(By.CSS_SELECTOR, ".finding.error"), 5)
    took = time.monotonic() - began
    line = 1 + good[:good.index("limit = 80.0")].count("\n")
    wrong = browser.execute_script("return [...document.querySelectorAll('.line.wrong')].map(line => line.textContent)")
    assert f"{line:>5} │ limit = \"eighty\"\n" in wrong, wrong
    carets = browser.execute_script("return document.querySelector('.finding.error').textContent").splitlines()
    assert carets[0] == "      │ " + " " * 8 + "^" * 8, carets
    assert "error: expected" in carets[1], carets
    assert "the box runs on with the old one" in main()
    assert "s3cret" not in browser.page_source
    assert "limit = 80.0" in browser.execute_script("return document.querySelector('details pre').textContent")
    links = browser.execute_script("return [...document.querySelectorAll('header a')].map(a => a.getAttribute('href'))")
    assert links and all(link.endswith("?lang=en") for link in links), links

    # What only the next start changes, and a drop-in that is new.
    folder = daemon.config.parent / "conf.d"
    folder.mkdir()
    (folder / "10-log.toml").write_text('[log]\nlevel = "debug"\n')
    daemon.config.write_text(good)
    rig.wait_for("the restart is announced", lambda: 'log.level: "info" -> "debug"' in main(), 5)
    assert "10-log.toml" in main()
    print(f"\nConfiguration page: {took * 1000:.0f} ms from saving to the line")

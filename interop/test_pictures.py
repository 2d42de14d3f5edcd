"""Pictures through mosquitto: JPEG, PNG, cut off, too large; kept in small, and shown on the board in a real browser."""

import json
import re
import struct
import time
import urllib.request
import zlib

import rig
from selenium.webdriver.common.keys import Keys

CONFIG = """
[site]
name = "plant7"
[broker.plant]
url = "mqtt://127.0.0.1:{port}"
client_id = "andon-pictures"
max_payload = "64KiB"
[publish]
broker = "plant"
prefix = "acme/plant7"
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/camera"
payload = "image"
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/telemetry"
payload = "json"
time = "ts"
values = "values"
[[prediction]]
name = "bright"
model = "brightness"
assets = ["press-*"]
snapshots = 5
[[prediction]]
name = "spots"
model = "spot"
assets = ["lathe-*"]
snapshots = 5
[[prediction]]
name = "shape"
model = "halved"
assets = ["saw-*"]
[runtime]
models = "tests/data/models"
[store]
path = "{db}"
[http]
listen = "{http}"
"""


def encode(width, height, rows):
    """A PNG of eight bits a channel: red, green, blue."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + bytes(row) for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def png(width, height, pixel):
    """`pixel(x, y)` gives red, green and blue."""
    return encode(width, height, (bytes(value for x in range(width) for value in pixel(x, y)) for y in range(height)))


def grey(level):
    return png(320, 240, lambda x, y: (level, level, max(level - 40, 0) if x > 160 else level))


class Camera:
    def __init__(self, publisher):
        self.publisher = publisher

    def shoot(self, asset, body):
        self.publisher.last = self.publisher.client.publish(f"plant/{asset}/camera", body, qos=1)
        self.publisher.flush()


def plant(start, broker, tmp_path):
    config = CONFIG.replace("{port}", str(broker.port)).replace("{db}", str(tmp_path / "andon.db"))
    daemon = start(rig.Andon(tmp_path, config).start())
    return daemon, Camera(start(rig.Publisher(broker)))


def listed(daemon, asset):
    return json.loads(daemon._get(f"/api/v1/assets/{asset}/snapshots") or "[]")


def fetch(daemon, path):
    with urllib.request.urlopen(f"http://{daemon.http}{path}", timeout=5) as answer:
        return answer.headers, answer.read()


def counted(daemon, *lines):
    page = daemon._get("/metrics") or ""
    return all(line in page.splitlines() for line in lines)


def test_good_pictures_are_judged_and_bad_ones_are_counted_and_all_are_confirmed(start, broker, tmp_path):
    daemon, camera = plant(start, broker, tmp_path)
    events = start(rig.Subscriber(broker, "acme/plant7/+/alert/+/event"))
    camera.shoot("press-1", grey(60))
    first = rig.wait_for("the PNG is judged and kept", lambda: listed(daemon, "press-1"))
    assert (first[0]["verdict"], first[0]["width"], first[0]["height"]) == ("good", 192, 144)
    headers, jpeg = fetch(daemon, first[0]["path"])
    assert headers["Content-Type"] == "image/jpeg" and headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in headers["Cache-Control"] and jpeg[:3] == b"\xff\xd8\xff" and jpeg[-2:] == b"\xff\xd9"

    # What came back is a JPEG: the next one to be judged.
    camera.shoot("press-2", jpeg)
    second = rig.wait_for("the JPEG is judged and kept", lambda: listed(daemon, "press-2"))
    assert (second[0]["verdict"], second[0]["width"], second[0]["height"]) == ("good", 192, 144)
    assert abs(second[0]["score"] - first[0]["score"]) < 0.02

    camera.shoot("press-1", jpeg[:len(jpeg) // 2])
    camera.shoot("press-1", grey(60)[:-20])
    camera.shoot("press-1", png(1, 1, lambda x, y: (0, 0, 0))[:16] + struct.pack(">II", 10_000, 10_000) + b"\x08\x02\0\0\0" + b"\0" * 40)
    camera.shoot("press-1", b"no picture at all")
    camera.shoot("press-1", jpeg + b"\0" * 100_000)
    # Sixteen times the limit and more: the broker was told not to send it.
    camera.shoot("press-1", b"\0" * 2_000_000)
    camera.shoot("press-1", grey(250))
    raised = rig.wait_for("the bright one raises an alert", lambda: rig.raised(events.bodies("acme/plant7/press-1/alert/bright/event")))
    rig.wait_for("each is counted", lambda: counted(
        daemon, "andon_pictures_received_total 6", 'andon_pictures_total{fate="shown"} 3', 'andon_pictures_total{fate="refused"} 3',
        'andon_samples_rejected_total{reason="unreadable"} 1', 'andon_samples_rejected_total{reason="too_large"} 1'))
    newest = rig.wait_for("the bright one is kept", lambda: [s for s in listed(daemon, "press-1") if s["verdict"] == "bad"])
    assert newest[0]["alert_id"] == raised[0]["alert_id"] and len(listed(daemon, "press-1")) == 2
    aside = json.loads(daemon._get("/api/v1/quarantine"))
    for words in ("broken or cut off", "begins like neither", "max_payload"):
        assert any(words in item["detail"] for item in aside), (words, aside)
    daemon.stop()

    # Nothing of it comes again, and what was kept is there.
    daemon.start()
    assert len(listed(daemon, "press-1")) == 2
    for level in range(20, 110, 10):
        camera.shoot("press-2", grey(level))
        shown = f'andon_pictures_total{{fate="shown"}} {(level - 10) // 10}'
        rig.wait_for("the next one is judged", lambda: counted(daemon, shown))
    rig.wait_for("five are kept", lambda: len(listed(daemon, "press-2")) == 5)
    assert counted(daemon, "andon_pictures_received_total 9")
    assert len(json.loads(daemon._get("/api/v1/assets/press-2/snapshots?limit=3"))) == 3
    size = re.search(r"^andon_snapshot_bytes (\d+)", daemon._get("/metrics"), re.M)
    print(f"\nPictures: 320 x 240 kept as 192 x 144, {len(jpeg)} bytes the first; {size[1]} bytes of {5 + 2} in all")
    daemon.stop()


def test_the_board_shows_pictures_as_they_come(start, broker, tmp_path, browser):  # noqa: F811
    daemon, camera = plant(start, broker, tmp_path)
    camera.shoot("press-1", grey(60))
    rig.wait_for("it is kept", lambda: listed(daemon, "press-1"))
    browser.get(f"http://{daemon.http}/assets/press-1?lang=en")

    def shown():
        return browser.execute_script(
            "return [...document.querySelectorAll('.snapshot')].map(s => [s.querySelector('.verdict').textContent.trim(),"
            " s.querySelector('img').complete && s.querySelector('img').naturalWidth])")

    rig.wait_for("the picture is drawn", lambda: shown() == [["● Good", 192]])
    browser.execute_script("document.querySelector('.snapshot img').dataset.same = 'yes'")
    camera.shoot("press-1", grey(250))
    rig.wait_for("the next one stands before it, without a reload", lambda: shown() == [["▲ Bad", 192], ["● Good", 192]], 5)
    rig.wait_for("the alert shows what raised it", lambda: browser.execute_script(
        "return document.querySelector('.card[data-prediction=bright] img')?.naturalWidth") == 192, 5)
    first = browser.execute_script("return document.querySelector('.snapshot').innerText")
    assert "limit > 0.500" in first and "bright (brightness 1.0.0)" in first and "raised an alert" in first, first
    # A picture that is there is not loaded and drawn again each second.
    assert browser.execute_script("return document.querySelectorAll('.snapshot img')[1].dataset.same") == "yes"
    assert browser.execute_script(
        "return performance.getEntriesByType('resource').filter(e => e.name.includes('/snapshots/')).length") <= 3

    # By keyboard alone, and the focus survives the page's renewal.
    path = browser.execute_script("const a = document.querySelector('.snapshot a'); a.focus(); return a.getAttribute('href')")
    assert path == listed(daemon, "press-1")[0]["path"]
    before = browser.execute_script("return document.querySelector('.snapshot').textContent")
    rig.wait_for("the page is renewed", lambda: browser.execute_script(
        "return document.querySelector('.snapshot').textContent") != before, 5)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    rig.wait_for("the picture is opened", lambda: browser.current_url == f"http://{daemon.http}{path}", 5)
    # The browser's own page around a picture has a style and looks for an icon.
    own = [line["message"] for line in browser.get_log("browser")]
    assert all("/api/v1/snapshots/" in line or "/favicon.ico" in line for line in own), own

    browser.get(f"http://{daemon.http}/?lang=de")
    rig.wait_for("the overview's card has it too", lambda: browser.execute_script(
        "return document.querySelector('.card img')?.naturalWidth") == 192, 5)
    assert browser.execute_script("return document.querySelector('.card img').alt") == "press-1, bright: Schlecht"


def test_the_box_around_the_worst_place_lies_on_the_picture_where_it_belongs(start, broker, tmp_path, browser):  # noqa: F811
    daemon, camera = plant(start, broker, tmp_path)
    spot = png(320, 160, lambda x, y: (255, 255, 255) if 120 <= x < 160 and 80 <= y < 120 else (30, 30, 30))
    camera.shoot("lathe-1", spot)
    kept = rig.wait_for("it is kept", lambda: listed(daemon, "lathe-1"))
    # The model sees the middle square, 80 to 240 of 320 across, in cells of 40 pixels.
    assert kept[0]["region"] == {"left": 0.375, "top": 0.5, "width": 0.125, "height": 0.25}, kept
    browser.set_window_size(1200, 900)
    browser.get(f"http://{daemon.http}/assets/lathe-1?lang=en")
    for place in (".card", ".snapshot"):
        rig.wait_for("the box is drawn", lambda: browser.execute_script(
            "return document.querySelector(arguments[0] + ' img')?.naturalWidth && document.querySelector(arguments[0] + ' .region')", place))
        left, top, width, height = browser.execute_script(
            "const [at, of] = ['.region', 'img'].map(e => document.querySelector(arguments[0] + ' ' + e).getBoundingClientRect());"
            "return [(at.left - of.left) / of.width, (at.top - of.top) / of.height, at.width / of.width, at.height / of.height]", place)
        # The outline is some pixels wide.
        for seen, meant in ((left, 0.375), (top, 0.5), (width, 0.125), (height, 0.25)):
            assert abs(seen - meant) < 0.05, (place, left, top, width, height)
    assert browser.execute_script("return document.querySelector('.card .text').textContent") == \
        "lathe-1 has a spot 44 % from the left, 62 % from the top"


def test_the_trend_shows_the_last_window_and_readings_of_little_worth(start, broker, tmp_path, browser):  # noqa: F811
    daemon, camera = plant(start, broker, tmp_path)
    begin = int(time.time() * 1000) - 20_000
    for second in range(12):
        camera.publisher.json("plant/saw-1/telemetry", {"ts": begin + second * 1000, "values": {"a": 0.1 * second, "b": 1.0}})
    # The same time once more with another value: one of the two is wrong.
    camera.publisher.json("plant/saw-1/telemetry", {"ts": begin + 5000, "values": {"a": 9.0}})
    camera.publisher.json("plant/saw-1/telemetry", {"ts": begin + 12_000, "values": {"a": None, "b": 1.0}})
    camera.publisher.flush()
    rig.wait_for("the window is judged", lambda: '"shape"' in (daemon._get("/api/v1/assets/saw-1") or ""))
    browser.get(f"http://{daemon.http}/assets/saw-1?lang=en")

    def drawn(css):
        return browser.execute_script(
            "return [...document.querySelectorAll('[data-trend-tag=a] ' + arguments[0])].map("
            "e => [Number(e.getAttribute('x')), Number(e.getAttribute('width')), e.getAttribute('d')])", css)

    window = rig.wait_for("the window is shaded", lambda: drawn(".window"))
    # Rows 8 to 11 of 0 to 12, on a width of 600.
    assert len(window) == 1 and abs(window[0][0] - 400) < 5 and abs(window[0][1] - 150) < 5, window
    dots = rig.wait_for("the uncertain one is marked", lambda: drawn(".uncertain")[0][2])
    assert re.fullmatch(r"M250\.0 [\d.]+h0", dots), dots
    assert [round(x) for x, _, _ in drawn(".gap")] == [600], "the missing one is marked"
    legend = browser.execute_script("return document.querySelector('.legend').innerText")
    assert "window of the last verdict" in legend and "uncertain reading" in legend, legend

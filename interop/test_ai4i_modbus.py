"""AI4I rows as Modbus registers: the daemon's verdicts equal Python's on the same rows."""

import asyncio
import csv
import random
import struct
import tomllib

import numpy as np
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

import rig

MODEL = rig.ROOT / "models" / "machine-failure" / "1.1.0"
COLUMNS = ["Type", "Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]", "Torque [Nm]",
           "Tool wear [min]"]
ROWS = 200
TOLERANCE = 1e-5
REGISTERS = 8
VERDICTS = "acme/plant7/mill-1/verdict/machine-failure"
EVENTS = "acme/plant7/mill-1/alert/machine-failure/event"


def load():
    path = next((p for p in (rig.SHARED / "data" / "ai4i2020" / "ai4i2020.csv", rig.SHARED / "ai4i2020" / "ai4i2020.csv")
                 if p.is_file()), None)
    if path is None:
        return "generated stand-in rows (AI4I is not here)", stand_in()
    with open(path, encoding="utf-8-sig", newline="") as f:
        rows = [["LMH".index(r[COLUMNS[0]])] + [float(r[c]) for c in COLUMNS[1:]] for r in csv.DictReader(f)]
    return "AI4I 2020", rows


def stand_in():
    draw = random.Random(1)
    rows = []
    for _ in range(8000):
        air = draw.uniform(295, 305)
        speed = draw.uniform(1200, 2800)
        rows.append([draw.randrange(3), round(air, 1), round(air + draw.uniform(7.5, 12), 1), round(speed),
                     round(min(76.0, draw.uniform(35_000, 110_000) / speed), 1), draw.randrange(250)])
    return rows


def distinct(rows, scores):
    """Rows whose scores lie far enough apart that a verdict names its row, high ones first among them."""
    order, last = [], 2.0
    for i in np.argsort(-scores):
        if last - scores[i] > 5 * TOLERANCE:
            order.append(int(i))
            last = scores[i]
    draw = random.Random(2)
    chosen = order[:ROWS // 2]
    chosen += draw.sample(order[ROWS // 2:], min(ROWS // 2, len(order) - len(chosen)))
    draw.shuffle(chosen)
    return chosen


def registers(row):
    """Type and speed as they are, temperatures in tenths, torque as float32 with swapped words, wear."""
    kind, air, process, speed, torque, wear = row
    high, low = struct.unpack(">HH", struct.pack(">f", torque))
    return [int(kind), round(air * 10), round(process * 10), int(speed), low, high, int(wear), 0]


class Mill:
    """A Modbus TCP device that shows the first row until told to run, then the next one at each
    poll, and the last one for ever."""

    def __init__(self, rows):
        self.port = rig.free_port()
        self.polls = 0
        self.running = False
        pages = [registers(row) for row in rows]

        async def next_row(_function, _start, address, _count, current, _set_values):
            if address == 0:
                current[:REGISTERS] = pages[min(self.polls, len(pages) - 1)]
                self.polls += self.running

        async def serve(stop):
            device = SimDevice(1, [SimData(0, values=[0] * REGISTERS, datatype=DataType.REGISTERS)], action=next_row)
            server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
            await server.serve_forever(background=True)
            self.listening = True
            while not stop.is_set():
                await asyncio.sleep(0.02)
            await server.shutdown()

        self.listening = False
        self.thread = rig.Background(lambda stop: asyncio.run(serve(stop)))
        rig.wait_for("pymodbus listens", lambda: self.listening or self.thread.error)

    def close(self):
        self.thread.stop.set()
        self.thread.join(10)


def emulated_raises(scores, decision):
    on, count = False, 0
    for s in scores:
        if not on and s >= decision["raise"]:
            on, count = True, count + 1
        elif on and s < decision["clear"]:
            on = False
    return count


def test_verdicts_on_modbus_rows_equal_those_of_python(start, broker, tmp_path):
    what, rows = load()
    rows = np.array(rows)
    # The first column is `ok`.
    scores = 1 - rig.answers(MODEL / "model.onnx", rows.astype(np.float32), "probability")
    chosen = distinct(rows, scores)
    rows, expected = rows[chosen], scores[chosen]

    seen = start(rig.Subscriber(broker, VERDICTS, EVENTS))
    mill = start(Mill(rows))
    andon = start(rig.Andon(tmp_path, f"""
[site]
name = "interop"

[broker.plant]
url = "mqtt://127.0.0.1:{broker.port}"

[publish]
broker = "plant"
prefix = "acme/plant7"
verdicts = true

[[modbus]]
asset = "mill-1"
address = "tcp://127.0.0.1:{mill.port}"
unit = 1
interval = "20ms"
register = [
    {{ tag = "type", address = "holding:0" }},
    {{ tag = "air_temperature", address = "holding:1", scale = 0.1 }},
    {{ tag = "process_temperature", address = "holding:2", scale = 0.1 }},
    {{ tag = "rotational_speed", address = "holding:3" }},
    {{ tag = "torque", address = "holding:4", type = "f32", order = "CDAB" }},
    {{ tag = "tool_wear", address = "holding:6" }},
]

[[prediction]]
name = "machine-failure"
model = "machine-failure"
assets = ["mill-1"]

[store]
path = "{tmp_path}/andon.db"
commit_interval = "50ms"

[runtime]
models = "{rig.ROOT / 'models'}"

[http]
listen = "{{http}}"
""")).start()

    # Verdicts are not kept for a broker that is not there yet: the daemon is ready, so it is.
    rig.wait_for("a verdict on the first row", lambda: seen.bodies(VERDICTS))
    mill.running = True
    # The last row's verdict comes again and again once all rows were shown.
    rig.wait_for("a verdict on the last row",
                 lambda: any(abs(b["data"]["score"] - expected[-1]) <= TOLERANCE for b in seen.bodies(VERDICTS)), 60)
    rig.assert_balanced(andon.ledger())
    andon.stop()

    verdicts = sorted((b["data"] for b in seen.bodies(VERDICTS)), key=lambda d: rig.millis(d["window"]["end"]))
    found, worst = [], 0.0
    for verdict in verdicts:
        nearest = int(np.abs(expected - verdict["score"]).argmin())
        difference = abs(float(expected[nearest]) - verdict["score"])
        assert difference <= TOLERANCE, f"{verdict} is no row's answer; the nearest is {expected[nearest]}"
        worst = max(worst, difference)
        found.append(nearest)
    assert found == sorted(found), "the verdicts come in the order of the rows"
    missing = set(range(len(rows))) - set(found)
    alerts = len(rig.raised(seen.bodies(EVENTS)))
    card = tomllib.loads((MODEL / "model.toml").read_text())
    print(f"\nAI4I: {what}, {len(rows)} rows, {len(verdicts)} verdicts, largest difference {worst:.1e}, "
          f"{int((expected >= card['decision']['raise']).sum())} rows beyond the limit, {alerts} alerts")
    assert not missing, f"no verdict on rows {sorted(missing)}"
    assert alerts == emulated_raises(expected, card["decision"])

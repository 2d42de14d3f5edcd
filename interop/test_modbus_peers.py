"""Other people's Modbus servers: what they encode is what the daemon decodes, on every transport."""

import asyncio
import json
import os
import random
import shutil
import struct
import subprocess
import threading
import tty

import pytest
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

import rig

UNIT = 17
ROUNDS = 12
KINDS = ModbusClientMixin.DATATYPE
# Type of the configuration: pymodbus's name for it, and a value of it.
TYPES = {
    "u16": (KINDS.UINT16, lambda draw: draw.randrange(1 << 16)),
    "i16": (KINDS.INT16, lambda draw: draw.randrange(-(1 << 15), 1 << 15)),
    "u32": (KINDS.UINT32, lambda draw: draw.randrange(1 << 32)),
    "i32": (KINDS.INT32, lambda draw: draw.randrange(-(1 << 31), 1 << 31)),
    # Above 2^53 a double rounds.
    "u64": (KINDS.UINT64, lambda draw: draw.randrange(1 << 53)),
    "i64": (KINDS.INT64, lambda draw: draw.randrange(-(1 << 53), 1 << 53)),
    "f32": (KINDS.FLOAT32, lambda draw: struct.unpack(">f", struct.pack(">f", draw.uniform(-1e6, 1e6)))[0]),
    "f64": (KINDS.FLOAT64, lambda draw: draw.uniform(-1e9, 1e9)),
}


def encoded(value, kind, order):
    words = ModbusClientMixin.convert_to_registers(value, kind, word_order="little" if order in ("CDAB", "DCBA") else "big")
    return [(w & 0xFF) << 8 | w >> 8 for w in words] if order in ("BADC", "DCBA") else words


def table():
    """Registers, and what stands in them: tag -> (address, type, order, value)."""
    draw = random.Random(7)
    words, tags = [], {}
    for order in ("ABCD", "CDAB", "BADC", "DCBA"):
        for name, (kind, value) in TYPES.items():
            for n in range(ROUNDS):
                v = value(draw)
                tags[f"{name}-{order}-{n}"] = (len(words), name, order, v)
                words += encoded(v, kind, order)
    return words, tags


class Pymodbus:
    """A server of pymodbus, of unit UNIT, in a thread."""

    def __init__(self, make):
        words, self.tags = table()
        device = SimDevice(UNIT, [SimData(0, values=words, datatype=DataType.REGISTERS)])

        async def serve(stop):
            server = make(device)
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


class Line:
    """Two pseudo-terminals joined by a wire: what goes into one comes out of the other."""

    def __init__(self):
        pairs = [os.openpty(), os.openpty()]
        self.fds = [fd for pair in pairs for fd in pair]
        for _, end in pairs:
            tty.setraw(end)
        self.ends = [os.ttyname(end) for _, end in pairs]

        def copy(source, sink):
            try:
                while data := os.read(source, 4096):
                    os.write(sink, data)
            except OSError:
                pass

        (a, _), (b, _) = pairs
        for ends in ((a, b), (b, a)):
            threading.Thread(target=copy, args=ends, daemon=True).start()

    def close(self):
        for fd in self.fds:
            os.close(fd)


def tcp(start):
    port = rig.free_port()
    return f"tcp://127.0.0.1:{port}", start(Pymodbus(lambda d: ModbusTcpServer(d, address=("127.0.0.1", port))))


def rtu_over_tcp(start):
    port = rig.free_port()
    server = Pymodbus(lambda d: ModbusTcpServer(d, address=("127.0.0.1", port), framer=FramerType.RTU))
    return f"rtu+tcp://127.0.0.1:{port}", start(server)


def rtu(start):
    # A pseudo-terminal has no parity, and pyserial minds.
    line = start(Line())
    server = Pymodbus(lambda d: ModbusSerialServer(d, port=line.ends[0], baudrate=19200))
    return f"rtu://{line.ends[1]}", start(server)


def daemon(start, folder, broker, address, registers):
    andon = start(rig.Andon(folder, f"""
[site]
name = "interop"
[broker.plant]
url = "mqtt://127.0.0.1:{broker.port}"
[store]
path = "{folder}/andon.db"
[http]
listen = "{{http}}"
[[modbus]]
asset = "peer"
address = "{address}"
unit = {UNIT}
interval = "1s"
register = [
{registers}
]
"""))
    return andon.start()


def readings(andon, count):
    """The newest value of each tag, once all have one."""
    def condition():
        page = andon._get("/api/v1/assets/peer")
        tags = json.loads(page)["readings"] if page else []
        values = {t["tag"]: t.get("value") for t in tags}
        return values if len(values) == count and None not in values.values() else None

    return rig.wait_for(f"{count} tags have a value", condition)


@pytest.mark.parametrize("transport", [tcp, rtu_over_tcp, rtu])
def test_what_pymodbus_encodes_is_decoded(start, broker, tmp_path, transport):
    address, server = transport(start)
    registers = "".join(
        f'{{ tag = "{tag}", address = "holding:{at}", type = "{kind}", order = "{order}" }},\n'
        for tag, (at, kind, order, _) in server.tags.items())
    andon = daemon(start, tmp_path, broker, address, registers)
    values = readings(andon, len(server.tags))
    wrong = {t: (values[t], v) for t, (_, _, _, v) in server.tags.items() if values[t] != v}
    assert not wrong, wrong
    print(f"{address.split('://')[0]}: {len(values)} values of {len(TYPES)} types in 4 orders")
    andon.stop()


def libmodbus(folder):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True)
    if not shutil.which("gcc") or flags.returncode != 0:
        pytest.skip("gcc or libmodbus-dev is not here: apt-get install gcc pkg-config libmodbus-dev")
    program = folder / "libmodbus_peer"
    source = rig.ROOT / "interop" / "libmodbus_peer.c"
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", program, source, *flags.stdout.split()], check=True)
    return program


class Peer:
    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def close(self):
        self.process.kill()
        self.process.wait(10)


@pytest.mark.parametrize("transport", ["tcp", "rtu"])
def test_what_libmodbus_encodes_is_decoded(start, broker, tmp_path, transport):
    program = libmodbus(tmp_path)
    draw = random.Random(11)
    expected = [struct.unpack(">f", struct.pack(">f", draw.uniform(-1e5, 1e5)))[0] for _ in range(40)]
    if transport == "tcp":
        place = str(rig.free_port())
        address = f"tcp://127.0.0.1:{place}"
    else:
        line = start(Line())
        place, address = line.ends[0], f"rtu://{line.ends[1]}"
    start(Peer(program, transport, place, *(repr(v) for v in expected)))
    tags = {}
    for n, value in enumerate(expected):
        for at, order in enumerate(("ABCD", "CDAB", "BADC", "DCBA")):
            tags[f"f-{order}-{n}"] = (f'address = "holding:{8 * n + 2 * at}", type = "f32", order = "{order}"', value)
    for n in range(64):
        tags[f"coil-{n}"] = (f'address = "coil:{n}"', float(n % 3 == 0))
    registers = "".join(f'{{ tag = "{tag}", {how} }},\n' for tag, (how, _) in tags.items())
    andon = daemon(start, tmp_path, broker, address, registers)
    values = readings(andon, len(tags))
    wrong = {t: (values[t], v) for t, (_, v) in tags.items() if values[t] != v}
    assert not wrong, wrong
    print(f"libmodbus {transport}: {len(values)} values")
    andon.stop()


def test_an_unknown_device_is_read_with_its_expected_value(start):
    """As a new user would: scan, read with the value on the display, copy the lines."""
    address, server = tcp(start)
    tag, (at, kind, order, value) = next((t, v) for t, v in server.tags.items() if t == "f32-BADC-3")
    andon = os.environ["ANDON_BIN"]
    scan = subprocess.run([andon, "modbus", "scan", address, "--units", "15-18", "--json"],
                          capture_output=True, text=True, check=True)
    assert [u["unit"] for u in json.loads(scan.stdout)["units"]] == [UNIT]
    read = subprocess.run([andon, "modbus", "read", address, "--unit", str(UNIT), f"holding:{at}",
                           "--expect", repr(value)], capture_output=True, text=True, check=True)
    assert f'type = "{kind}"\norder = "{order}"' in read.stdout, read.stdout

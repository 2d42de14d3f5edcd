"""Other people's Modbus servers: what they encode is what the daemon decodes, on every transport."""

import asyncio
import json
import os
import random
import shutil
import struct
import subprocess
import threading
import time
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
# A property test of sorts: other values each time; a failure is played again with SEED=...
SEED = int(os.environ.get("SEED", time.time()))
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
STATES = ("STOP", "RUN", "FAULT-12", "ÜBER")


def single(value):
    return struct.unpack(">f", struct.pack(">f", value))[0]


def half(draw):
    return struct.unpack(">e", struct.pack(">e", draw.uniform(-6e4, 6e4)))[0]


# Type of the configuration: pymodbus's name for it, and a value of it.
TYPES = {
    "u16": (KINDS.UINT16, lambda draw: draw.randrange(1 << 16)),
    "i16": (KINDS.INT16, lambda draw: draw.randrange(-(1 << 15), 1 << 15)),
    "u32": (KINDS.UINT32, lambda draw: draw.randrange(1 << 32)),
    "i32": (KINDS.INT32, lambda draw: draw.randrange(-(1 << 31), 1 << 31)),
    # Above 2^53 a double rounds.
    "u64": (KINDS.UINT64, lambda draw: draw.randrange(1 << 53)),
    "i64": (KINDS.INT64, lambda draw: draw.randrange(-(1 << 53), 1 << 53)),
    "f32": (KINDS.FLOAT32, lambda draw: single(draw.uniform(-1e6, 1e6))),
    "f64": (KINDS.FLOAT64, lambda draw: draw.uniform(-1e9, 1e9)),
    # pymodbus does not know these: Python makes their bits, and pymodbus the registers of them.
    "f16": (lambda v: (KINDS.UINT16, int.from_bytes(struct.pack(">e", v))), half),
    "bcd16": (lambda v: (KINDS.UINT16, int(str(v), 16)), lambda draw: draw.randrange(10**4)),
    "bcd32": (lambda v: (KINDS.UINT32, int(str(v), 16)), lambda draw: draw.randrange(10**8)),
    "bcd64": (lambda v: (KINDS.UINT64, int(str(v), 16)), lambda draw: draw.randrange(9 * 10**15)),
}
# Parts of a register: what stands behind its address, its type, and the part of the word.
PARTS = {
    "u8h": ("", "u8h", lambda w: w >> 8),
    "u8l": ("", "u8l", lambda w: w & 0xFF),
    "i8h": ("", "i8h", lambda w: (w >> 8 ^ 0x80) - 0x80),
    "i8l": ("", "i8l", lambda w: (w & 0xFF ^ 0x80) - 0x80),
    "bit": (".13", "u16", lambda w: w >> 13 & 1),
    "field": (".4-9", "u16", lambda w: w >> 4 & 0x3F),
}


def encoded(value, kind, order):
    if not isinstance(kind, KINDS):
        kind, value = kind(value)
    words = ModbusClientMixin.convert_to_registers(value, kind, word_order="little" if order in ("CDAB", "DCBA") else "big")
    return [(w & 0xFF) << 8 | w >> 8 for w in words] if order in ("BADC", "DCBA") else words


def table():
    """Registers, and what stands in them: tag -> (settings of the register, its order, value)."""
    draw = random.Random(SEED)
    words, tags = [], {}

    def put(tag, cell, order, settings, value):
        tags[tag] = (f'address = "holding:{len(words)}{settings}', order, value)
        words.extend(cell)

    for order in ORDERS:
        for name, (kind, value) in TYPES.items():
            for n in range(ROUNDS):
                v = value(draw)
                put(f"{name}-{order}-{n}", encoded(v, kind, order), order, f'", type = "{name}"', v)
        for name, (place, kind, part) in PARTS.items():
            for n in range(ROUNDS):
                w = draw.randrange(1 << 16)
                put(f"{name}-{order}-{n}", encoded(w, KINDS.UINT16, order), order, f'{place}", type = "{kind}"', part(w))
        # Words of text are never swapped; bytes may be.
        swap = "BADC" if order in ("BADC", "DCBA") else "ABCD"
        for n, state in enumerate(STATES):
            labels = ", ".join(f'{i} = "{known}"' for i, known in enumerate(STATES))
            text = state.encode("latin-1").ljust(8, b"\0")
            cell = encoded(int.from_bytes(text), KINDS.UINT64, swap)
            put(f"string-{order}-{n}", cell, order, f'", type = "string", length = 4, labels = {{ {labels} }}', n)
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


def daemon(start, folder, broker, address, devices):
    """`devices`: asset -> (settings of the device, tag -> settings of its register)."""
    def device(asset, settings, registers):
        rows = "".join(f'{{ tag = "{tag}", {row} }},\n' for tag, row in registers.items())
        return (f'[[modbus]]\nasset = "{asset}"\naddress = "{address}"\nunit = {UNIT}\ninterval = "1s"\n'
                f"{settings}\nregister = [\n{rows}]\n")

    andon = start(rig.Andon(folder, f"""
[site]
name = "interop"
[broker.plant]
url = "mqtt://127.0.0.1:{broker.port}"
[store]
path = "{folder}/andon.db"
[http]
listen = "{{http}}"
{"".join(device(asset, *device_) for asset, device_ in devices.items())}
"""))
    return andon.start()


def readings(andon, count, asset="peer"):
    """The newest value of each tag, once all have one."""
    def condition():
        page = andon._get(f"/api/v1/assets/{asset}")
        tags = json.loads(page)["readings"] if page else []
        values = {t["tag"]: t.get("value") for t in tags}
        return values if len(values) == count and None not in values.values() else None

    return rig.wait_for(f"{count} tags of {asset} have a value", condition)


@pytest.mark.parametrize("transport", [tcp, rtu_over_tcp, rtu])
def test_what_pymodbus_encodes_is_decoded(start, broker, tmp_path, transport):
    print(f"SEED={SEED}")
    address, server = transport(start)
    # Each order once as the tag's own, and once as that of its device.
    own = {tag: f'{row}, order = "{order}"' for tag, (row, order, _) in server.tags.items()}
    devices = {"peer": ("", own)}
    for order in ORDERS:
        rows = {tag: row for tag, (row, known, _) in server.tags.items() if known == order}
        devices[f"peer-{order}"] = (f'order = "{order}"', rows)
    andon = daemon(start, tmp_path, broker, address, devices)
    count = 0
    for asset, (_, rows) in devices.items():
        values = readings(andon, len(rows), asset)
        wrong = {t: (values[t], server.tags[t][2]) for t in rows if values[t] != server.tags[t][2]}
        assert not wrong, (SEED, asset, wrong)
        count += len(values)
    print(f"{address.split('://')[0]}: {count} values of {len(TYPES) + len(PARTS) + 1} types in 4 orders")
    andon.stop()


def libmodbus(folder):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True)
    if not shutil.which("gcc") or flags.returncode != 0:
        pytest.fail("gcc or libmodbus-dev is not here: apt-get install gcc libc6-dev pkg-config libmodbus-dev")
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
    print(f"SEED={SEED}")
    program = libmodbus(tmp_path)
    draw = random.Random(SEED)
    kinds = [kind for kind in TYPES if kind != "f16"]
    expected = [(kind, TYPES[kind][1](draw)) for kind in kinds for _ in range(ROUNDS)]
    if transport == "tcp":
        place = str(rig.free_port())
        address = f"tcp://127.0.0.1:{place}"
    else:
        line = start(Line())
        place, address = line.ends[0], f"rtu://{line.ends[1]}"
    start(Peer(program, transport, place, *(f"{kind}={value!r}" for kind, value in expected)))
    tags = {}
    for n, (kind, value) in enumerate(expected):
        for at, order in enumerate(ORDERS):
            for place in ("holding", "input"):
                row = f'address = "{place}:{16 * n + 4 * at}", type = "{kind}", order = "{order}"'
                tags[f"{place}-{kind}-{order}-{n}"] = (row, value)
    for n in range(64):
        tags[f"coil-{n}"] = (f'address = "coil:{n}"', float(n % 3 == 0))
        tags[f"discrete-{n}"] = (f'address = "discrete:{n}"', float(n % 5 == 0))
    andon = daemon(start, tmp_path, broker, address, {"peer": ("", {tag: row for tag, (row, _) in tags.items()})})
    values = readings(andon, len(tags))
    wrong = {t: (values[t], v) for t, (_, v) in tags.items() if values[t] != v}
    assert not wrong, (SEED, wrong)
    print(f"libmodbus {transport}: {len(values)} values of {len(kinds)} types in 4 orders, and bits")
    andon.stop()


def test_an_unknown_device_is_read_with_its_expected_value(start):
    """As a new user would: scan, read with the value on the display, copy the lines."""
    address, server = tcp(start)
    row, order, value = server.tags["f32-BADC-3"]
    at = row.split('"')[1]
    andon = os.environ["ANDON_BIN"]
    scan = subprocess.run([andon, "modbus", "scan", address, "--units", "15-18", "--json"],
                          capture_output=True, text=True, check=True)
    assert [u["unit"] for u in json.loads(scan.stdout)["units"]] == [UNIT]
    read = subprocess.run([andon, "modbus", "read", address, "--unit", str(UNIT), at,
                           "--expect", repr(value)], capture_output=True, text=True, check=True)
    assert f'type = "f32"\norder = "{order}"' in read.stdout, read.stdout

"""The world outside: an MQTT 5 broker that is producer and subscriber at once, and a Modbus slave.

The broker notes a sample only when the daemon's PUBACK for it is read, and an alert message when it
is read; both notes survive the daemon. It can go deaf: what comes then is neither noted nor answered.
"""

import asyncio
import json
import logging
import struct
import time

# A daemon that was killed reads no more; asyncio would warn of each write to it.
logging.getLogger("asyncio").setLevel(logging.ERROR)

ASSETS = [f"machine-{i}" for i in range(4)]
# So many samples low, as many high, and again: each step up is an alert.
HALF = 10
IN_FLIGHT = 400


def varint(n):
    out = b""
    while True:
        n, low = n >> 7, n & 127
        out += bytes([low | (128 if n else 0)])
        if not n:
            return out


def text(s):
    data = s.encode()
    return struct.pack(">H", len(data)) + data


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


async def read_packet(reader):
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return first, await reader.readexactly(length)


def after_properties(body, at):
    length = shift = 0
    while True:
        byte = body[at]
        at += 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return at + length


def granting(body):
    """The SUBACK that grants all of a SUBSCRIBE at QoS 0 or 1, and the filters that it asked for."""
    at, codes, filters = after_properties(body, 2), b"", []
    while at < len(body):
        length = struct.unpack_from(">H", body, at)[0]
        filters.append(body[at + 2:at + 2 + length].decode())
        codes += bytes([body[at + 2 + length] & 1])
        at += 3 + length
    return packet(0x90, body[:2] + b"\0" + codes), filters


class Plant:
    def __init__(self, random):
        self.random = random
        self.next = {asset: 0 for asset in ASSETS}
        self.last_ms = {asset: 0 for asset in ASSETS}
        self.sent = {}        # (asset, n) -> milliseconds
        self.acked = set()    # (asset, n)
        self.waiting = {}     # packet id -> (asset, n), in the order of sending
        self.free = list(range(60000, 0, -1))
        self.events = []      # bodies of alert events
        self.polls = []       # (value, when)
        self.sessions = set()
        self.ingest = None
        self.connected = asyncio.Event()
        self.acknowledged = asyncio.Event()
        self.producing = True
        self.deaf = False
        self.last_event = 0.0
        self.count = 0

    async def start(self):
        self.mqtt = await asyncio.start_server(self._mqtt, "127.0.0.1", 0)
        self.modbus = await asyncio.start_server(self._modbus, "127.0.0.1", 0)
        self.ticker = asyncio.create_task(self._produce())
        port = lambda s: s.sockets[0].getsockname()[1]
        return port(self.mqtt), port(self.modbus)

    def forget_link(self):
        """The daemon is dead: what its connections still hold is not looked at."""
        self.ingest = None
        self.connected.clear()
        self.acknowledged.clear()

    # Samples in: sent in order per asset, again after a reconnect, until acknowledged.

    def _row(self, asset):
        n = self.next[asset]
        self.next[asset] = n + 1
        ms = max(self.last_ms[asset] + 1, int(time.time() * 1000))
        self.last_ms[asset] = ms
        self.sent[asset, n] = ms
        pid = self.free.pop()
        self.waiting[pid] = (asset, n)
        self._send(pid, False)

    def _send(self, pid, again):
        asset, n = self.waiting[pid]
        body = {"ts": self.sent[asset, n], "values": {"n": n, "load": 100 if n // HALF % 2 else 0}}
        head = text(f"plant/{asset}/values") + struct.pack(">H", pid) + b"\0"
        self.ingest.write(packet(0x3A if again else 0x32, head + json.dumps(body).encode()))

    async def _produce(self):
        while True:
            await asyncio.sleep(0.005)
            if self.producing and self.ingest and not self.ingest.is_closing() and len(self.waiting) < IN_FLIGHT:
                for asset in ASSETS:
                    self._row(asset)

    def _puback(self, body):
        pid = struct.unpack_from(">H", body)[0]
        if len(body) > 2 and body[2] >= 0x80:
            raise RuntimeError(f"a sample was refused with code {body[2]:#x}")
        if pid in self.waiting:
            self.acked.add(self.waiting.pop(pid))
            self.free.insert(0, pid)
            self.acknowledged.set()

    # Both of the daemon's connections.

    async def _mqtt(self, reader, writer):
        role = None
        try:
            while True:
                first, body = await read_packet(reader)
                kind = first >> 4
                if kind == 1:
                    at = after_properties(body, 10)
                    length = struct.unpack_from(">H", body, at)[0]
                    client = body[at + 2:at + 2 + length].decode()
                    role = "in" if client.endswith("-in") else "out"
                    known = client in self.sessions
                    self.sessions.add(client)
                    writer.write(packet(0x20, bytes([known, 0, 0])))
                    if role == "in" and known:
                        self._resume(writer)
                elif kind == 8:
                    granted, _ = granting(body)
                    writer.write(granted)
                    if role == "in" and self.ingest is not writer:
                        self._resume(writer)
                elif kind == 4:
                    self._puback(body)
                elif kind == 3:
                    if not self.deaf:
                        await self._published(writer, first, body)
                elif kind == 12:
                    writer.write(b"\xd0\0")
                elif kind == 14:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if self.ingest is writer:
                self.ingest = None
            writer.close()

    def _resume(self, writer):
        self.ingest = writer
        for pid in self.waiting:
            self._send(pid, True)
        self.connected.set()

    async def _published(self, writer, first, body):
        length = struct.unpack_from(">H", body)[0]
        topic, at, pid = body[2:2 + length].decode(), 2 + length, None
        if first & 6:
            pid, at = body[at:at + 2], at + 2
        payload = body[after_properties(body, at):]
        if topic.endswith("/event"):
            self.events.append(json.loads(payload))
            self.last_event = time.monotonic()
        if pid:
            if self.random.random() < 0.05:
                await asyncio.sleep(self.random.uniform(0, 0.03))
            writer.write(packet(0x40, pid))

    # Modbus: a register pair that counts its own readings.

    async def _modbus(self, reader, writer):
        try:
            while True:
                head = await reader.readexactly(7)
                body = await reader.readexactly(struct.unpack_from(">H", head, 4)[0] - 1)
                self.count += 1
                self.polls.append((self.count, time.monotonic()))
                answer = bytes([body[0], 4]) + struct.pack(">I", self.count)
                writer.write(head[:4] + struct.pack(">HB", len(answer) + 1, head[6]) + answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

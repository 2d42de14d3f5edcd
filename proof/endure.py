"""Too much, and for long: ten times the input, and a soak.

    endure.py overload [--seconds N] [--disk KIB] --bin FILE
    endure.py soak [--minutes N] --bin FILE

One MQTT connection carries half of the load at QoS 1, half at QoS 0. A step over a rule's limit every
half second must be told throughout. `--disk` slows the disk down to so many KiB a second, by shim.c, so that the
daemon cannot carry the input. RSS, descriptors and threads are read from /proc. Linux only.
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from plant import granting, packet, read_packet, text  # noqa: E402
from prove import until  # noqa: E402

# Messages a second, of SAMPLES each, half of them at QoS 1.
NORMAL = 1000
SAMPLES = 10
TIMES = 10
ASSETS = 10
# The disk's cap, small enough to be reached within minutes.
CAP = 8 << 20
# Samples that may wait for a slow disk: what it takes within a second or two.
QUEUE = 100_000
WARM, STEADY, RECOVERY = 20, 15, 10
# Bytes in the socket's queue from which on the producer holds back.
HELD_BACK = 1 << 20
STEP = 0.5

CONFIG = """
[site]
name = "endure"
[broker.plant]
url = "mqtt://127.0.0.1:{mqtt}"
client_id = "andon-endure"
[publish]
broker = "plant"
prefix = "endure"
[[mqtt]]
broker = "plant"
topic = "one/{{asset}}/values"
qos = 1
payload = "json"
time = "ts"
values = "values"
[[mqtt]]
broker = "plant"
topic = "zero/{{asset}}/values"
qos = 0
payload = "json"
time = "ts"
values = "values"
[[rule]]
name = "load"
assets = ["watched"]
tag = "load"
when = "above"
limit = 50.0
[store]
path = "{db}"
commit_interval = "200ms"
retain_bytes = "{cap}B"
queue_samples = {queue}
[http]
listen = "127.0.0.1:{http}"
[log]
level = "warn"
"""


class Load:
    """An MQTT 5 broker, producer and subscriber."""

    def __init__(self):
        self.rate, self.writer = 0, None
        self.sent = {0: 0, 1: 0}
        self.skipped = 0
        self.free, self.waiting = list(range(16000, 0, -1)), {}
        self.clock = {}
        self.acks, self.delays = 0, []
        self.steps, self.told = {}, {}
        self.high = False

    async def start(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.tasks = [asyncio.create_task(self._produce()), asyncio.create_task(self._steps())]
        return server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            while True:
                first, body = await read_packet(reader)
                kind = first >> 4
                if kind == 1:
                    writer.write(packet(0x20, b"\0\0\0"))
                elif kind == 8:
                    granted, filters = granting(body)
                    writer.write(granted)
                    if any(name.startswith("one/") for name in filters):
                        self.writer = writer
                elif kind == 4:
                    pid = struct.unpack_from(">H", body)[0]
                    self.delays.append(time.monotonic() - self.waiting.pop(pid))
                    self.free.insert(0, pid) if len(self.free) < 100 else self.free.append(pid)
                    self.acks += 1
                elif kind == 3:
                    length = struct.unpack_from(">H", body)[0]
                    topic = body[2:2 + length].decode()
                    if first & 6:
                        writer.write(packet(0x40, body[2 + length:4 + length]))
                    found = re.search(rb'"raised_at":"([^"]+)"', body)
                    if topic.endswith("/event") and b"alert.raised" in body and found:
                        self.told.setdefault(found[1].decode(), time.monotonic())
                elif kind == 12:
                    writer.write(b"\xd0\0")
                elif kind == 14:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _send(self, qos, asset, values):
        ms = max(self.clock.get(asset, 0) + 1, int(time.time() * 1000))
        self.clock[asset] = ms
        head = text(f"{'one' if qos else 'zero'}/{asset}/values")
        if qos:
            pid = self.free.pop()
            self.waiting[pid] = time.monotonic()
            head += struct.pack(">H", pid)
        body = b'{"ts":%d,"values":{%s}}' % (ms, values)
        self.writer.write(packet(0x32 if qos else 0x30, head + b"\0" + body))
        return ms

    async def _produce(self):
        values = b",".join(b'"t%d":%d.25' % (i, i) for i in range(SAMPLES))
        due, last, at = 0.0, time.monotonic(), 0
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            due, last = due + self.rate * (now - last), now
            while due >= 1:
                due -= 1
                at += 1
                qos = at & 1
                if not self.writer or self.writer.transport.get_write_buffer_size() > HELD_BACK or (qos and len(self.free) < 100):
                    self.skipped += 1
                    continue
                self._send(qos, f"q{qos}-{at // 2 % ASSETS}", values)
                self.sent[qos] += 1

    async def _steps(self):
        self.step_samples = 0
        while True:
            await asyncio.sleep(STEP)
            if self.rate and self.writer and self.free:
                self.high = not self.high
                ms = self._send(1, "watched", b'"load":%d' % (100 if self.high else 0))
                self.step_samples += 1
                if self.high:
                    self.steps[ms] = time.monotonic()

    def latencies(self):
        told = {}
        for stamp, at in self.told.items():
            whole, _, fraction = stamp.rstrip("Z").partition(".")
            seconds = time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - time.timezone
            told[round(seconds * 1000) + round(float(f"0.{fraction or 0}") * 1000)] = at
        missing = [ms for ms in self.steps if ms not in told]
        return missing, sorted(told[ms] - at for ms, at in self.steps.items() if ms in told)


class Daemon:
    def __init__(self, options, folder, mqtt):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.http = s.getsockname()[1]
        self.folder = folder
        config = folder / "andon.toml"
        config.write_text(CONFIG.format(mqtt=mqtt, http=self.http, db=folder / "andon.db", cap=CAP, queue=QUEUE if options.disk else 1_000_000))
        self.log = open(folder / "andon.log", "wb")
        self.process = subprocess.Popen([options.bin, "run", "--config", config], stdout=self.log, stderr=self.log,
                                        env=os.environ | slow_disk(options, folder))

    def look(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the daemon ended by itself, code {self.process.returncode}")
        base = Path(f"/proc/{self.process.pid}")
        words = dict(line.split(":", 1) for line in (base / "status").read_text().splitlines() if ":" in line)
        size = lambda name: (self.folder / name).stat().st_size if (self.folder / name).exists() else 0
        return {
            "rss": int(words["VmRSS"].split()[0]) / 1024,
            "threads": int(words["Threads"]),
            "files": len(os.listdir(base / "fd")),
            "wal": size("andon.db-wal") / 2**20,
            "disk": (size("andon.db") + size("andon.db-wal")) / 2**20,
        }

    async def metrics(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        page = (await asyncio.wait_for(reader.read(-1), 10)).decode()
        writer.close()
        found = {}
        for name, labels, value in re.findall(r"^(andon_samples_\w+?)(?:_total)?(\{[^}]*\})? ([\d.e+]+)$", page, re.M):
            found.setdefault(name.removeprefix("andon_samples_"), {})[labels] = float(value)
        return found


def slow_disk(options, folder):
    if not options.disk:
        return {}
    shim = folder / "shim.so"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", shim,
                    Path(__file__).parent / "shim.c", "-ldl", "-lpthread"], check=True)
    return {"LD_PRELOAD": str(shim), "SHIM_DIR": os.path.realpath(folder), "SHIM_SPEED": str(options.disk * 1024)}


async def watch(daemon, seconds, every=0.1):
    seen, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        seen.append(daemon.look())
        await asyncio.sleep(every)
    return seen


async def ledger(daemon, load, problems):
    """received = stored + rejected + shed, when nothing is in flight; and received is what was sent."""
    for _ in range(100):
        found = await daemon.metrics()
        if not sum(found["in_flight"].values()) and not load.waiting:
            break
        await asyncio.sleep(0.1)
    total = {name: int(sum(found.get(name, {}).values())) for name in ("received", "stored", "rejected", "shed", "in_flight")}
    sent = SAMPLES * sum(load.sent.values()) + load.step_samples
    if total["received"] != sent:
        problems.append(f"{sent} samples were sent, {total['received']} received")
    if total["received"] != total["stored"] + total["rejected"] + total["shed"] + total["in_flight"]:
        problems.append(f"the ledger does not balance: {total}")
    if load.waiting:
        problems.append(f"{len(load.waiting)} messages are never acknowledged")
    reasons = {labels: int(value) for labels, value in found.get("shed", {}).items() if value}
    return total, reasons


async def overload(daemon, load, options, problems):
    load.rate = NORMAL
    await watch(daemon, WARM)
    load.delays.clear()
    normal = await watch(daemon, STEADY)
    usual = max(load.delays)
    before = dict(load.sent)
    load.rate = NORMAL * TIMES
    load.skipped = 0
    heavy = await watch(daemon, options.seconds)
    carried = sum(load.sent.values()) - sum(before.values())
    load.rate = NORMAL
    skipped, ended = load.skipped, time.monotonic()
    # Recovered: for a second no message waits longer than is usual, or half a second.
    recovered = float("nan")
    while time.monotonic() < ended + 3 * RECOVERY:
        load.delays.clear()
        await watch(daemon, 1)
        if load.delays and max(load.delays) <= max(usual, 0.5):
            recovered = time.monotonic() - ended - 1
            break
    load.rate = 0
    total, reasons = await ledger(daemon, load, problems)
    rss = [max(look["rss"] for look in looks) for looks in (normal, heavy)]
    disk = max(look["disk"] for look in normal + heavy)
    wal = max(look["wal"] for look in normal + heavy)
    if rss[1] > 1.2 * rss[0]:
        problems.append(f"memory grew to {rss[1] / rss[0]:.2f} of normal")
    if disk > CAP / 2**20:
        problems.append(f"{disk:.1f} MiB on disk, the cap is {CAP / 2**20:.0f}")
    if not recovered <= RECOVERY:
        problems.append(f"not as before {RECOVERY} s after")
    return f"""
overload: {TIMES} times {NORMAL * SAMPLES} samples/s for {options.seconds:.0f} s
  offered, carried        {(carried + skipped) * SAMPLES / options.seconds:.0f}, {carried * SAMPLES / options.seconds:.0f} samples/s (the rest was held back at the socket)
  memory normal, overload {rss[0]:.1f}, {rss[1]:.1f} MiB: {rss[1] / rss[0]:.2f}
  most on disk            {disk:.1f} MiB of {CAP / 2**20:.0f}, of which WAL {wal:.1f}
  ledger                  {total}
  shed                    {reasons or 'nothing'}
  as before after         {recovered:.1f} s"""


async def soak(daemon, load, options, problems):
    load.rate = NORMAL
    await watch(daemon, WARM)
    rows, began = [], time.monotonic()
    seconds = options.minutes * 60
    while time.monotonic() < began + seconds:
        looks = await watch(daemon, min(seconds / 10, 60), 1)
        rows.append((time.monotonic() - began, {key: max(look[key] for look in looks) for key in looks[0]}))
    load.rate = 0
    total, reasons = await ledger(daemon, load, problems)
    late = rows[len(rows) // 2:]
    slope = statistics.linear_regression([at / 3600 for at, _ in late], [row["rss"] for _, row in late]).slope
    grown = (late[-1][1]["rss"] - late[0][1]["rss"]) / late[0][1]["rss"]
    if grown > 0.05:
        problems.append(f"memory grew by {grown:.1%} in the second half")
    for key in ("files", "threads"):
        if late[-1][1][key] > late[0][1][key] + 2:
            problems.append(f"{key} grew from {late[0][1][key]} to {late[-1][1][key]}")
    if max(row["disk"] for _, row in rows) > CAP / 2**20:
        problems.append("more on disk than the cap")
    table = "\n".join(f"  {at:7.0f} {row['rss']:9.1f} {row['files']:7} {row['threads']:8} {row['wal']:8.1f} {row['disk']:9.1f}" for at, row in rows)
    return f"""
soak: {NORMAL * SAMPLES} samples/s for {options.minutes:g} min
        s   RSS MiB   files  threads  WAL MiB  disk MiB
{table}
  RSS slope, second half  {slope:.1f} MiB/h ({grown:+.1%})
  ledger                  {total}
  shed                    {reasons or 'nothing'}"""


async def prove(options):
    folder = Path(tempfile.mkdtemp(prefix="andon-endure-", dir=options.folder))
    load, problems, report = Load(), [], ""
    daemon = Daemon(options, folder, await load.start())
    try:
        if not await until(lambda: load.writer, 30):
            raise RuntimeError("no subscription 30 s after the start")
        report = await (overload if options.proof == "overload" else soak)(daemon, load, options, problems)
        await until(lambda: not load.latencies()[0], 10)
        missing, delays = load.latencies()
        if missing:
            problems.append(f"{len(missing)} of {len(load.steps)} alerts were not told")
        if delays:
            report += f"\n  alerts                  {len(load.steps)}, told after {statistics.median(delays) * 1000:.0f} ms, 99 % {delays[len(delays) * 99 // 100] * 1000:.0f} ms"
        daemon.process.send_signal(signal.SIGTERM)
        if await asyncio.to_thread(daemon.process.wait, 20) != 0:
            problems.append(f"SIGTERM: exit code {daemon.process.returncode}")
    except RuntimeError as error:
        problems.append(str(error))
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
    print(f"{report}\n  verdict                 {'FAIL' if problems else 'PASS'}")
    for problem in problems[:10]:
        print(f"  {problem}")
    if problems:
        print(f"  the log: {folder}/andon.log")
        return 1
    shutil.rmtree(folder)
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("proof", choices=["overload", "soak"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--disk", type=int, default=0, help="KiB a second")
    parser.add_argument("--folder", default=None)
    options = parser.parse_args()
    sys.exit(asyncio.run(prove(options)))


if __name__ == "__main__":
    main()

"""The proof: kill the daemon at random moments under load, and let the judge count.

    prove.py crash|powercut|faults [--cycles N] [--seed S] [--retain 8MiB] --bin FILE --reader FILE [--keep FOLDER]

`crash` is SIGKILL. `powercut` is SIGKILL with the disk put back to what was synced, plus, in every
other cycle, any part of what was not (torn writes). `faults` lets each write, sync, open and truncate
of a life fail in turn, with EIO, ENOSPC and half a write, and cuts the power after it. Standard library only; needs `cc` for powercut.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import judge  # noqa: E402
from plant import Plant  # noqa: E402

HERE = Path(__file__).resolve().parent
SECTOR = 512
RETAIN = "2GiB"

CONFIG = """
[site]
name = "proof"
[broker.plant]
url = "mqtt://127.0.0.1:{mqtt}"
client_id = "andon-proof"
[publish]
broker = "plant"
prefix = "proof"
[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/values"
payload = "json"
time = "ts"
values = "values"
[[modbus]]
asset = "press"
address = "tcp://127.0.0.1:{modbus}"
unit = 1
interval = "20ms"
[[modbus.register]]
tag = "count"
address = "holding:0"
type = "u32"
[[rule]]
name = "load"
assets = ["machine-*"]
tag = "load"
when = "above"
limit = 50.0
# Each alert is to be told by itself, however many there are.
[flood]
burst = 1000000
per_second = 1000000
[store]
path = "{db}"
commit_interval = "20ms"
retain_bytes = "{retain}"
[http]
listen = "127.0.0.1:0"
[log]
level = "warn"
"""


class Box:
    """The daemon, its disk, and the power switch."""

    def __init__(self, options, folder, random):
        self.options, self.random = options, random
        self.folder, self.disk, self.shadow = folder, folder / "disk", folder / "shadow"
        self.process = None
        self.disk.mkdir()
        self.shadow.mkdir()
        self.log = open(folder / "andon.log", "ab")
        self.shim = folder / "shim.so" if options.proof != "crash" else None
        if self.shim:
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", self.shim,
                            HERE / "shim.c", "-ldl", "-lpthread"], check=True)

    def configure(self, mqtt, modbus):
        self.config = self.folder / "andon.toml"
        self.config.write_text(CONFIG.format(
            mqtt=mqtt, modbus=modbus, db=self.disk / "andon.db", retain=self.options.retain))

    def start(self, **fault):
        env = dict(os.environ)
        if self.shim:
            self._synced()
            env |= {"LD_PRELOAD": str(self.shim), "SHIM_DIR": os.path.realpath(self.disk),
                    "SHIM_SHADOW": str(self.shadow), "SHIM_COUNT": str(self.folder / "operations")} | fault
        self.process = subprocess.Popen([self.options.bin, "run", "--config", self.config],
                                        stdout=self.log, stderr=self.log, env=env)

    def operations(self):
        return int.from_bytes((self.folder / "operations").read_bytes(), sys.byteorder)

    def kill(self, may_be_dead=False):
        if self.process.poll() is not None and not may_be_dead:
            raise RuntimeError(f"the daemon ended by itself, code {self.process.returncode}:\n{self.tail()}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.shim:
            self._cut()

    async def stop(self):
        """The exit code. The plant goes on meanwhile: it has to confirm the last messages."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 20)

    def tail(self):
        return (self.folder / "andon.log").read_text(errors="replace")[-3000:]

    def _synced(self):
        """All that is there is on the disk by now."""
        shutil.rmtree(self.shadow)
        self.shadow.mkdir()
        for file in self.disk.iterdir():
            if not file.name.endswith(("-shm", ".lock")):
                shutil.copyfile(file, self.shadow / f"data.{file.name}")
                (self.shadow / f"entry.{file.name}").touch()

    def _cut(self):
        torn = self.random.random() < 0.5
        share = self.random.random()
        for file in list(self.disk.iterdir()):
            kept = self.shadow / f"data.{file.name}"
            durable = kept.exists() and (self.shadow / f"entry.{file.name}").exists()
            if torn and not file.name.endswith(("-shm", ".lock")):
                # The entry may have got there unasked, and any sectors with it.
                if durable or self.random.random() < share:
                    old = kept.read_bytes() if kept.exists() else b""
                    file.write_bytes(self._tear(old, file.read_bytes(), share))
                    continue
            file.unlink()
            if durable:
                shutil.copyfile(kept, file)
        for entry in self.shadow.glob("entry.*"):
            name = entry.name.removeprefix("entry.")
            kept = self.shadow / f"data.{name}"
            if kept.exists() and not (self.disk / name).exists():
                # A deletion that was not synced.
                shutil.copyfile(kept, self.disk / name)

    def _tear(self, old, new, share):
        sectors = []
        length = max(len(old), len(new))
        for at in range(0, length, SECTOR):
            before, after = old[at:at + SECTOR], new[at:at + SECTOR]
            if before != after and self.random.random() < share:
                before = after
            sectors.append(before)
            # Sectors beyond a gap that never was written read as zeros.
        last = max((i for i, s in enumerate(sectors) if s), default=-1)
        return b"".join(s.ljust(SECTOR, b"\0") if i < last else s for i, s in enumerate(sectors[:last + 1]))


def bar(done, total, plant, worst):
    width = 30
    filled = done * width // max(total, 1)
    text = f"[{'#' * filled}{'.' * (width - filled)}] {done}/{total}  {len(plant.acked)} acknowledged, worst reopening {worst * 1000:.0f} ms"
    if sys.stderr.isatty():
        print(f"\r{text}", end="" if done < total else "\n", file=sys.stderr, flush=True)
    elif done % max(total // 10, 1) == 0:
        print(text, file=sys.stderr, flush=True)


async def until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return False


async def cycle(box, plant, rnd):
    """From the start to the kill; seconds until the daemon took samples again, if it lived so long."""
    begun = time.monotonic()
    box.start()
    reopened = None
    if rnd.random() < 0.1:
        await asyncio.sleep(rnd.uniform(0, 0.15))
    else:
        try:
            await asyncio.wait_for(plant.acknowledged.wait(), 30)
        except asyncio.TimeoutError:
            raise RuntimeError(f"nothing is acknowledged 30 s after a start:\n{box.tail()}") from None
        reopened = time.monotonic() - begun
        life = rnd.uniform(0, 0.4)
        if rnd.random() < 0.5:
            deaf_at = rnd.uniform(0, life)
            await asyncio.sleep(deaf_at)
            plant.deaf = True
            await asyncio.sleep(life - deaf_at)
        else:
            await asyncio.sleep(life)
    box.kill()
    plant.forget_link()
    # Let the broken connections come to their end.
    await asyncio.sleep(0.005)
    plant.deaf = False
    return reopened


async def faulty_life(box, plant, at, how):
    """One life in which one operation fails; whether the daemon ended by itself."""
    box.start(SHIM_FAIL_AT=str(at), SHIM_FAIL_HOW=how)
    ended = lambda: box.process.poll() is not None
    if not await until(lambda: ended() or plant.acknowledged.is_set(), 30):
        raise RuntimeError(f"operation {at} failed with {how}: no life 30 s later\n{box.tail()}")
    await until(lambda: ended() or box.operations() > at, 10)
    # What is acknowledged after the fault must be there after the cut as well.
    before = len(plant.acked)
    await until(lambda: ended() or len(plant.acked) > before + 40, 10)
    alone = ended()
    if alone and box.process.returncode == 0:
        raise RuntimeError(f"operation {at} failed with {how}: the daemon says that all went well\n{box.tail()}")
    box.kill(may_be_dead=True)
    plant.forget_link()
    await asyncio.sleep(0.005)
    return alone


async def faults(box, plant, kills, options):
    """Every operation of a life fails once in each way; each life ends with a power cut."""
    box.start()
    await asyncio.wait_for(plant.acknowledged.wait(), 30)
    await asyncio.sleep(0.5)
    points = min(options.cycles, box.operations())
    box.kill()
    plant.forget_link()
    kills.append(time.monotonic())
    done = restarts = 0
    for how in ("EIO", "ENOSPC", "SHORT"):
        for at in range(1, points + 1):
            restarts += await faulty_life(box, plant, at, how)
            kills.append(time.monotonic())
            done += 1
            bar(done, 3 * points, plant, 0)
    print(f"{restarts} of {done} lives ended by themselves, for systemd to start the next", file=sys.stderr)
    return done


async def settle(box, plant, kills, problems):
    """Liveness: left alone, the daemon takes and tells everything, and stops when told."""
    box.start()
    await asyncio.wait_for(plant.connected.wait(), 30)
    await asyncio.sleep(1)
    plant.producing = False
    if not await until(lambda: not plant.waiting, 30):
        problems.append(f"{len(plant.waiting)} samples are never acknowledged")
    await until(lambda: not judge.alerts(plant)[0], 30)
    code = await box.stop()
    # A reading that the slave gave while the daemon ended is nobody's.
    kills.append(time.monotonic())
    if code != 0:
        problems.append(f"SIGTERM: exit code {code}\n{box.tail()}")


def stored(options, box):
    answer = subprocess.run([options.reader, box.disk / "andon.db"], capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"the buffer cannot be read:\n{answer.stderr}")
    return [json.loads(line) for line in answer.stdout.splitlines()]


async def prove(options):
    rnd = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="andon-proof-", dir=options.folder))
    plant, problems, kills, reopenings = Plant(random.Random(options.seed + 1)), [], [], []
    box = Box(options, folder, rnd)
    box.configure(*await plant.start())
    begun, done = time.monotonic(), 0
    lost = double = alerts_lost = alerts_double = ()
    try:
        if options.proof == "faults":
            done = await faults(box, plant, kills, options)
        for done in range(1, options.cycles + 1) if options.proof != "faults" else ():
            reopened = await cycle(box, plant, rnd)
            kills.append(time.monotonic())
            if reopened is not None:
                reopenings.append(reopened)
            bar(done, options.cycles, plant, max(reopenings, default=0))
        await settle(box, plant, kills, problems)
        rows = stored(options, box)
        # Deleting goes on all the time: what is older than the oldest kept has given way.
        gives_way = options.retain != RETAIN
        since = min((ms for _, tag, ms, _ in rows if tag == "n"), default=0) + 1000 if gives_way else 0
        lost, double, wrong = judge.samples(plant, rows, kills, since)
        if gives_way:
            wrong = [fault for fault in wrong if "Modbus" not in fault]
            print(f"kept: {len(rows)} samples", file=sys.stderr)
        alerts_lost, alerts_double, more = judge.alerts(plant)
        problems += wrong + more
    except (RuntimeError, asyncio.TimeoutError) as error:
        problems.append(str(error) or repr(error))
    finally:
        if box.process and box.process.poll() is None:
            box.process.kill()
            box.process.wait()
    aside = [f.name for f in box.disk.iterdir() if ".damaged-" in f.name and not f.name.endswith(("-wal", "-shm"))]
    problems += [f"the buffer was set aside: {name}" for name in aside]
    reopenings.sort()
    passed = not (lost or double or alerts_lost or alerts_double or problems)
    at = lambda share: f"{reopenings[int(share * (len(reopenings) - 1))] * 1000:.0f} ms" if reopenings else "-"
    print(f"""
{options.proof}, seed {options.seed}, {time.monotonic() - begun:.0f} s
  cycles                  {done}
  samples acknowledged    {len(plant.acked)}
  acknowledged and lost   {len(lost)}
  stored twice            {len(double)}
  Modbus readings         {plant.count}
  alerts expected         {len(judge.expected(plant))}
  alerts lost             {len(alerts_lost)}
  alerts double           {len(alerts_double)}
  alert messages          {len(plant.events)}, {len({e['id'] for e in plant.events})} after dedup
  start to first PUBACK   median {at(0.5)}, 99 % {at(0.99)}, worst {at(1)}
  other faults            {len(problems)}
  verdict                 {'PASS' if passed else 'FAIL'}""")
    for what, items in (("lost", lost), ("stored twice", double), ("alert lost", alerts_lost), ("alert double", alerts_double)):
        for item in list(items)[:3]:
            print(f"  {what}: {item}")
    for problem in problems[:10]:
        print(f"  {problem}")
    if not passed:
        print(f"  replay: make {options.proof} SEED={options.seed} CYCLES={options.cycles}; files in {folder}")
    else:
        shutil.rmtree(folder)
    return 0 if passed else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("proof", choices=["crash", "powercut", "faults"])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--reader", required=True)
    parser.add_argument("--retain", default=RETAIN, help="what is older than what fits is deleted meanwhile")
    parser.add_argument("--folder", default=None, help="where to work; a tmpfs is fine")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    print(f"{options.proof}: {options.cycles} cycles, seed {options.seed}", file=sys.stderr, flush=True)
    sys.exit(asyncio.run(prove(options)))


if __name__ == "__main__":
    main()

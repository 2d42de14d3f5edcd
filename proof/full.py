"""A partition that fills up or turns read-only under load, stays so, and recovers: the daemon goes on alone.

    full.py [--read-only] [--seconds N] [--seed S] --bin FILE --reader FILE

The partition is a tmpfs of 16 MiB in a mount namespace of its own (`unshare`, no root needed where
user namespaces are). Another program, so to speak, takes all room on it for N seconds, again and
again, and gives it back. A file system that turns read-only is played by shim.c: each write, sync,
truncation and opening for writing fails with EROFS.
"""

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import judge  # noqa: E402
from plant import Plant  # noqa: E402
from prove import CONFIG, stored, until  # noqa: E402

PARTITION = 16 << 20
# So long before the room is taken.
EASY = 5.0
# After the room is back, samples must be taken as before within so many seconds.
AGAIN = 10.0


class Partition:
    def __init__(self, folder):
        self.folder = folder
        self.keeper = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c",
             f"mount -t tmpfs -o size={PARTITION} tmpfs '{folder}' && touch '{folder}/there' && exec sleep infinity"])
        self.inside = Path(f"/proc/{self.keeper.pid}/root{folder}")
        end = time.monotonic() + 10
        while not (self.inside / "there").exists():
            if self.keeper.poll() is not None or time.monotonic() > end:
                raise RuntimeError("no partition could be made: user namespaces are not allowed here")
            time.sleep(0.02)

    def command(self, *words):
        return ["nsenter", "-t", str(self.keeper.pid), "-U", "-m", "--preserve-credentials", *map(str, words)]

    def used(self):
        return sum(f.stat().st_blocks * 512 for f in self.inside.glob("andon.db*"))

    def fill(self):
        with open(self.inside / "filler", "wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    def free(self):
        (self.inside / "filler").unlink()

    def end(self):
        self.keeper.send_signal(signal.SIGKILL)
        self.keeper.wait()


class ReadOnly:
    """The same, for a file system that turns read-only."""

    def __init__(self, folder):
        self.inside = Path(os.path.realpath(folder)) / "disk"
        self.inside.mkdir()
        self.flag, self.shim = folder / "readonly", folder / "shim.so"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", self.shim,
                        Path(__file__).parent / "shim.c", "-ldl", "-lpthread"], check=True)

    def command(self, *words):
        return ["env", f"LD_PRELOAD={self.shim}", f"SHIM_DIR={self.inside}", f"SHIM_READONLY={self.flag}", *map(str, words)]

    def used(self):
        return sum(f.stat().st_blocks * 512 for f in self.inside.glob("andon.db*"))

    def fill(self):
        self.flag.touch()

    def free(self):
        self.flag.unlink()

    def end(self):
        pass


class Box:
    def __init__(self, disk):
        self.disk = disk


def prefix_only(plant, lost, rows):
    """On a full disk the oldest samples give way; nothing newer may be missing."""
    oldest = min((ms for _, tag, ms, _ in rows if tag == "n"), default=0)
    return [key for key in lost if plant.sent[key] > oldest + 200]


async def prove(options):
    folder = Path(tempfile.mkdtemp(prefix="andon-full-"))
    partition = (ReadOnly if options.read_only else Partition)(folder)
    disk = partition.inside if options.read_only else folder
    plant, problems, highest = Plant(random.Random(options.seed)), [], 0
    mqtt, modbus = await plant.start()
    config = folder.parent / f"{folder.name}.toml"
    config.write_text(CONFIG.format(mqtt=mqtt, modbus=modbus, db=disk / "andon.db", retain="1GiB"))
    log = open(folder.parent / f"{folder.name}.log", "wb")
    daemon = subprocess.Popen(partition.command(options.bin, "run", "--config", config), stdout=log, stderr=log)
    told_while_full, resumed = 0, float("nan")

    async def watch(seconds):
        nonlocal highest
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            highest = max(highest, partition.used())
            if daemon.poll() is not None:
                raise RuntimeError(f"the daemon ended by itself, code {daemon.returncode}")
            await asyncio.sleep(0.05)

    try:
        await asyncio.wait_for(plant.acknowledged.wait(), 30)
        await watch(EASY)
        partition.fill()
        filled = time.monotonic()
        told = len(plant.events)
        # What another program writes is gone again at once where the buffer gives room back.
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            await watch(0.5)
            partition.fill()
        told_while_full = len(plant.events) - told
        before = len(plant.acked)
        partition.free()
        freed = time.monotonic()
        if await until(lambda: len(plant.acked) > before + 400, AGAIN):
            resumed = time.monotonic() - freed
        else:
            problems.append(f"{AGAIN:.0f} s after the room came back, samples are not taken as before")
        await watch(3)
        plant.producing = False
        if not await until(lambda: not plant.waiting, 30):
            problems.append(f"{len(plant.waiting)} samples are never acknowledged")
        await until(lambda: not judge.alerts(plant)[0], 30)
        daemon.send_signal(signal.SIGTERM)
        if await asyncio.to_thread(daemon.wait, 20) != 0:
            problems.append(f"SIGTERM: exit code {daemon.returncode}")
        for file in partition.inside.glob("andon.db*"):
            shutil.copy(file, folder)
        rows = stored(options, Box(folder))
        # A reading has no receipt: on a full disk it is shed, and counted.
        plant.polls = [(value, at) for value, at in plant.polls if not filled - 2 < at < freed + 2]
        first = min((value for _, tag, _, value in rows if tag == "count" and value), default=0)
        plant.polls = [(value, at) for value, at in plant.polls if value >= first]
        lost, double, faults = judge.samples(plant, rows, [time.monotonic()])
        # Only where there is no room does anything give way.
        lost = lost if options.read_only else prefix_only(plant, lost, rows)
        alerts_lost, alerts_double, more = judge.alerts(plant)
        problems += [f for f in faults if not f.startswith("the load of")] + more
    except (RuntimeError, asyncio.TimeoutError) as error:
        lost = double = alerts_lost = alerts_double = ()
        problems.append(str(error) or repr(error))
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        partition.end()
    passed = not (lost or double or alerts_lost or alerts_double or problems)
    print(f"""
{"read-only" if options.read_only else "full"}, seed {options.seed}: {"nothing can be written" if options.read_only else "no room"} for {options.seconds:.0f} s
  samples acknowledged     {len(plant.acked)}
  most on disk             {highest / 2**20:.1f} MiB
  acknowledged and lost    {len(lost)} {"" if options.read_only else "besides the oldest, which give way"}
  stored twice             {len(double)}
  alerts expected          {len(judge.expected(plant))}
  alerts lost, double      {len(alerts_lost)}, {len(alerts_double)}
  alerts told meanwhile    {told_while_full}
  as before after          {resumed:.2f} s
  verdict                  {'PASS' if passed else 'FAIL'}""")
    for problem in problems[:10]:
        print(f"  {problem}")
    if passed:
        shutil.rmtree(folder)
        config.unlink()
        os.unlink(log.name)
    else:
        print(f"  the log: {log.name}")
    return 0 if passed else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--reader", required=True)
    options = parser.parse_args()
    sys.exit(asyncio.run(prove(options)))


if __name__ == "__main__":
    main()

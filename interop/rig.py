"""A broker, the daemon and a subscriber, each started for one test and stopped with it."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

import onnxruntime
import paho.mqtt.client as mqtt

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ANDON_SHARED", ROOT.parent / "shared"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=30):
    """The first true value of `condition()`; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


def millis(text):
    """RFC 3339 as the daemon writes it -> epoch milliseconds."""
    whole, fraction = re.fullmatch(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d+))?Z", text).groups()
    seconds = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp()
    return round(seconds * 1000 + float(f"0.{fraction or 0}") * 1000)


def stamp(millis):
    """Epoch milliseconds -> RFC 3339."""
    return datetime.fromtimestamp(millis / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def answers(model, inputs, output):
    """What Python's ONNX Runtime says to the same rows."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: inputs})[0][:, 0].astype(float)


class Broker:
    """One that runs already, on a port of loopback."""

    def __init__(self, port):
        self.port = port

    def client(self):
        c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        c.max_inflight_messages_set(1000)
        c.max_queued_messages_set(0)
        c.connect("127.0.0.1", self.port)
        c.loop_start()
        wait_for("the test's client is connected", c.is_connected)
        return c


class Mosquitto(Broker):
    def __init__(self, folder, lines=()):
        super().__init__(free_port())
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\n"
            "allow_anonymous true\n"
            "persistence false\n"
            "set_tcp_nodelay true\n"
            # The test publishes faster than a plant, and must lose nothing.
            "max_queued_messages 0\n"
            "max_inflight_messages 0\n" + "\n".join(lines)
        )
        self.log = open(folder / "mosquitto.log", "wb")
        self.process = subprocess.Popen(["mosquitto", "-c", str(config)], stdout=self.log, stderr=self.log)

        def listens():
            assert self.process.poll() is None, (folder / "mosquitto.log").read_text()
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for("mosquitto listens", listens)

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


class Publisher:
    """QoS 1, and knows when all is confirmed."""

    def __init__(self, broker):
        self.client = broker.client()
        self.last = None

    def json(self, topic, body):
        self.last = self.client.publish(topic, json.dumps(body), qos=1)

    def flush(self, seconds=60):
        self.last.wait_for_publish(seconds)
        assert self.last.is_published(), "the broker does not confirm the last message"

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Subscriber:
    """Keeps what comes on `topics`: (topic, CloudEvent)."""

    def __init__(self, broker, *topics):
        self.seen = []
        self.client = broker.client()
        confirmed = queue.Queue()
        self.client.on_subscribe = lambda *_: confirmed.put(True)
        self.client.on_message = self._keep
        self.client.subscribe([(t, 1) for t in topics])
        confirmed.get(timeout=10)

    def _keep(self, _client, _userdata, message):
        # Retained state that ends comes as an empty body.
        if message.payload:
            self.seen.append((message.topic, json.loads(message.payload)))

    def bodies(self, topic):
        return [body for t, body in list(self.seen) if mqtt.topic_matches_sub(topic, t)]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Andon:
    """`andon run` with the given configuration; {http} in it stands for a free address."""

    def __init__(self, folder, config, **env):
        self.env = env
        self.http = f"127.0.0.1:{free_port()}"
        self.config = folder / "andon.toml"
        self.config.write_text(config.replace("{http}", self.http))
        self.log = folder / "andon.log"
        self.process = None

    def start(self, ready_when="/readyz"):
        """Ready means connected too; one that shall not be is waited for at `/healthz`."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [os.environ["ANDON_BIN"], "run", "--config", str(self.config)], stdout=log, stderr=log, cwd=ROOT,
                env=os.environ | self.env)

        def ready():
            assert self.process.poll() is None, f"andon stopped:\n{self.log.read_text()[-4000:]}"
            return self._get(ready_when) is not None

        wait_for("andon is ready", ready)
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        """SIGTERM: it drains, and exits with 0 within five seconds."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(5)
        finally:
            self.close()
        assert code == 0, f"exit code {code}:\n{self.log.read_text()[-4000:]}"

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def _get(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, OSError):
            return None

    def memory(self):
        """Resident, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def ledger(self):
        """From /metrics, with the reasons summed up."""
        page = self._get("/metrics")
        assert page is not None, "no answer from /metrics"

        def total(name):
            lines = re.findall(rf"^andon_samples_{name}(?:_total)?(?:\{{[^}}]*\}})? (\S+)", page, re.M)
            return sum(round(float(v)) for v in lines)

        return {n: total(n) for n in ("received", "stored", "rejected", "shed", "in_flight")}

    def settled(self, received):
        """Waits until `received` samples have come and none is in flight; the ledger then."""
        def condition():
            ledger = self.ledger()
            return ledger if ledger["received"] >= received and ledger["in_flight"] == 0 else None

        return wait_for(f"{received} samples are received and settled", condition, 120)


def assert_balanced(ledger):
    settled = ledger["stored"] + ledger["rejected"] + ledger["shed"] + ledger["in_flight"]
    assert ledger["received"] == settled, ledger


def raised(events):
    """The alerts' beginnings among event bodies, without repeats of a message (at least once)."""
    once = {body["id"]: body["data"] for body in events}
    return [d for d in once.values() if d["state"] == "active" and d["previous_state"] != "active"]


class Background:
    """Runs `work(stop)` in a thread and passes its exception on."""

    def __init__(self, work):
        self.stop = threading.Event()
        self.error = None

        def run():
            try:
                work(self.stop)
            except Exception as error:  # noqa: BLE001
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def join(self, seconds=120):
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the background work does not end"
        if self.error:
            raise self.error

"""The Open Inference Protocol, asked by a client that no one here wrote: Triton's own."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request

import numpy as np
import onnx
import pytest
import rig
import tritonclient.http as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

KINDS = {
    "BOOL": (TensorProto.BOOL, np.bool_),
    "UINT8": (TensorProto.UINT8, np.uint8),
    "UINT16": (TensorProto.UINT16, np.uint16),
    "UINT32": (TensorProto.UINT32, np.uint32),
    "UINT64": (TensorProto.UINT64, np.uint64),
    "INT8": (TensorProto.INT8, np.int8),
    "INT16": (TensorProto.INT16, np.int16),
    "INT32": (TensorProto.INT32, np.int32),
    "INT64": (TensorProto.INT64, np.int64),
    "FP32": (TensorProto.FLOAT, np.float32),
    "FP64": (TensorProto.DOUBLE, np.float64),
    "BYTES": (TensorProto.STRING, np.object_),
}

CONFIG = """
[site]
name = "interop"

[broker.plant]
url = "mqtt://127.0.0.1:{port}"

[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/telemetry"
payload = "json"

[[prediction]]
name = "quality"
model = "conv"
assets = ["press-*"]

[runtime]
models = "{models}"

[store]
path = "{folder}/andon.db"

[http]
listen = "{{http}}"

[service]
body = "1MiB"
models = 13
"""


def put(models, name, version, nodes, inputs, outputs):
    """A model with a service card: it is there to be asked, no prediction uses it."""
    graph = helper.make_graph(nodes, name, inputs, outputs)
    opsets = [helper.make_opsetid("", 17)]
    blob = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    folder = models / name / version
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(blob)
    (folder / "model.toml").write_text(
        f'name = "{name}"\nversion = "{version}"\nsha256 = "{hashlib.sha256(blob).hexdigest()}"\n'
        'task = "test"\nlicence = "MIT"\ndescription = "Made by interop/test_oip.py."\n')


def same(models, kind):
    """Gives what it takes, as a matrix of any number of rows of three."""
    element = KINDS[kind][0]
    shape = ["n", 3]
    put(models, f"same-{kind.lower()}", "1", [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, shape)])


def sums(models, version):
    """Two inputs, two outputs."""
    value = helper.make_tensor_value_info
    put(models, "sums", version,
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [value("a", TensorProto.FLOAT, [2]), value("b", TensorProto.FLOAT, [2])],
        [value("sum", TensorProto.FLOAT, [2]), value("difference", TensorProto.FLOAT, [2])])


def values(kind):
    if kind == "BYTES":
        return np.array([["", "press 3", "grüße"], ["a\tb", "\"quoted\"", "x" * 300]], dtype=np.object_)
    if kind == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    dtype = KINDS[kind][1]
    if kind.startswith("FP"):
        info = np.finfo(dtype)
        return np.array([[0.1, -2.5, info.max], [info.tiny, 1 / 3, -0.0]], dtype=dtype)
    info = np.iinfo(dtype)
    return np.array([[info.min, info.max, 0], [1, 2, 3]], dtype=dtype)


@pytest.fixture
def models(tmp_path):
    models = tmp_path / "models"
    source = rig.ROOT / "tests/data/models/conv/1.0.0"
    target = models / "conv/1.0.0"
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    for kind in KINDS:
        same(models, kind)
    sums(models, "1")
    return models


@pytest.fixture
def andon(start, broker, tmp_path, models):
    config = CONFIG.format(port=broker.port, models=models, folder=tmp_path)
    return start(rig.Andon(tmp_path, config)).start()


@pytest.fixture
def client(start, andon):
    return start(triton.InferenceServerClient(andon.http, concurrency=8))


def given(name, array, kind, binary=True):
    tensor = triton.InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def plain(array):
    """Strings come back as bytes in the binary form, and as text in JSON."""
    if array.dtype != np.object_:
        return array
    return np.vectorize(lambda v: v.decode() if isinstance(v, bytes) else v, otypes=[object])(array)


def refused(code, words, action, *arguments, **named):
    with pytest.raises(InferenceServerException) as caught:
        action(*arguments, **named)
    assert caught.value.status() == str(code), caught.value
    assert words in caught.value.message(), caught.value


def post(andon, path, body, headers=None):
    """For what the client would not send: status and body."""
    request = urllib.request.Request(f"http://{andon.http}{path}", body, headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_server_and_models_are_described(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("conv") and client.is_model_ready("conv", "1.0.0")
    assert not client.is_model_ready("conv", "2") and not client.is_model_ready("nothing")
    server = client.get_server_metadata()
    assert server["name"] == "andon" and "binary_tensor_data" in server["extensions"]
    assert client.get_model_metadata("conv") == {
        "name": "conv", "versions": ["1.0.0"], "platform": "onnxruntime_onnx",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 10, 64]}],
        "outputs": [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}]}
    config = client.get_model_config("conv", "1.0.0")
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": [-1, 10, 64]}]


def test_a_prediction_s_model_answers_as_python_s_runtime_does(client, models):
    x = np.random.RandomState(3).randn(5, 10, 64).astype(np.float32)
    answer = client.infer("conv", [given("input", x, "FP32")]).as_numpy("probability")
    expected = rig.answers(models / "conv/1.0.0/model.onnx", x, "probability")
    np.testing.assert_allclose(answer[:, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_every_datatype_comes_back_as_it_went(client, packing):
    for kind in KINDS:
        name, sent = f"same-{kind.lower()}", values(kind)
        if not client.is_model_ready(name):
            client.load_model(name)
        for binary_in in (True, False):
            for binary_out in (True, False):
                result = client.infer(
                    name, [given("x", sent, kind, binary_in)], request_id="r1",
                    outputs=[triton.InferRequestedOutput("y", binary_data=binary_out)],
                    request_compression_algorithm=packing, response_compression_algorithm=packing)
                got = result.as_numpy("y")
                assert got.dtype == sent.dtype and got.shape == sent.shape
                np.testing.assert_array_equal(plain(got), sent)
                assert result.get_response()["id"] == "r1"


def test_outputs_are_those_that_are_asked_for(client, andon):
    client.load_model("sums")
    a, b = np.array([3, 4], np.float32), np.array([1, 2], np.float32)
    inputs = [given("a", a, "FP32"), given("b", b, "FP32", binary=False)]
    both = client.infer("sums", inputs)
    np.testing.assert_array_equal(both.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(both.as_numpy("difference"), a - b)
    one = client.infer("sums", inputs, outputs=[triton.InferRequestedOutput("difference")])
    assert one.as_numpy("sum") is None
    np.testing.assert_array_equal(one.as_numpy("difference"), a - b)
    body = json.dumps({"inputs": [
        {"name": n, "shape": [2], "datatype": "FP32", "data": [1, 2]} for n in "ab"]}).encode()
    status, answer = post(andon, "/v2/models/sums/versions/1/infer", body)
    assert status == 200 and json.loads(answer)["outputs"][0]["data"] == [2.0, 4.0]
    statistics = client.get_inference_statistics("sums")["model_stats"][0]
    assert statistics["inference_stats"]["success"]["count"] == 3
    assert statistics["execution_count"] == 3 and statistics["last_inference"] > 0


def test_what_is_wrong_is_told_with_triton_s_codes(client, andon):
    x = np.zeros((1, 10, 64), np.float32)
    good = [given("input", x, "FP32")]
    refused(404, "unknown model", client.infer, "nothing", good)
    refused(404, "version `7`", client.infer, "conv", good, model_version="7")
    refused(404, "unknown model", client.get_model_metadata, "nothing")
    refused(404, "unknown model", client.get_model_config, "nothing")
    refused(404, "unknown model", client.get_inference_statistics, "nothing")
    refused(400, "unexpected input `wrong`", client.infer, "conv", [given("wrong", x, "FP32")])
    refused(400, "expected 1 inputs", client.infer, "conv", good + good)
    refused(400, "expected shape [-1, 10, 64]", client.infer, "conv", [given("input", x[:, :9], "FP32")])
    refused(400, "expected FP32, got FP64", client.infer, "conv", [given("input", x.astype(np.float64), "FP64")])
    many = np.zeros((65, 10, 64), np.float32)
    refused(400, "65 items are more", client.infer, "conv", [given("input", many, "FP32")])
    refused(400, "unexpected output `wrong`", client.infer, "conv", good,
            outputs=[triton.InferRequestedOutput("wrong")])
    refused(400, "`classification` is not served", client.infer, "conv", good,
            outputs=[triton.InferRequestedOutput("probability", class_count=1)])
    refused(400, "no such model", client.load_model, "nothing")
    refused(400, "is not loaded", client.unload_model, "nothing")
    refused(400, "a prediction uses it", client.unload_model, "conv")
    refused(400, "parameters", client.load_model, "sums", config="{}")
    assert client.is_model_ready("conv"), "the running model is untouched"
    path = "/v2/models/conv/infer"
    for body, headers, code, words in [
        (b"{", {}, 400, "JSON cannot be read"),
        (b"{}", {"Inference-Header-Content-Length": "99"}, 400, "the body has 2 bytes"),
        (b"{}", {"Inference-Header-Content-Length": "many"}, 400, "write a length"),
        (b"{}", {"Content-Encoding": "br"}, 400, "is not served"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "cannot be unpacked"),
        (b" " * (1 << 20) + b"{}", {}, 413, "more than 1048576 bytes"),
        (gzip.compress(b" " * (2 << 20)), {"Content-Encoding": "gzip"}, 413, "more than 1048576 bytes"),
        (b"{}", {"Origin": "http://elsewhere.example"}, 403, "another site"),
        (b"{}", {"Host": "elsewhere.example"}, 421, "not a name of this box"),
    ]:
        status, answer = post(andon, path, body, headers)
        assert status == code and words in json.loads(answer)["error"], (headers, status, answer)
    status, answer = post(andon, "/v2/models/conv/nowhere", b"{}")
    assert status == 404 and "error" in json.loads(answer)
    status, answer = post(andon, "/v2/models/conv", b"{}")
    assert status == 405 and "error" in json.loads(answer)


def test_models_come_and_go_beside_each_other(client, models):
    ready = {row["name"]: row["state"] for row in client.get_model_repository_index()}
    assert ready["conv"] == "READY" and ready["sums"] == "UNAVAILABLE"
    client.load_model("sums")
    sums(models, "10")
    assert client.get_model_metadata("sums")["versions"] == ["1"], "offered, not taken"
    client.load_model("sums")
    assert client.get_model_metadata("sums")["versions"] == ["1", "10"]
    two = [given(n, np.ones(2, np.float32), "FP32") for n in "ab"]
    assert client.infer("sums", two).get_response()["model_version"] == "10"
    assert client.infer("sums", two, model_version="1").get_response()["model_version"] == "1"
    client.unload_model("sums")
    refused(404, "unknown model", client.infer, "sums", two)
    (models / "sums/10/model.onnx").write_bytes(b"spoilt")
    refused(400, "is not the file that the card means", client.load_model, "sums")


def command(*arguments):
    return subprocess.run([os.environ["ANDON_BIN"], "model", *map(str, arguments)],
                          capture_output=True, text=True, timeout=60)


def test_the_command_line_lists_checks_and_adds(andon, client, models, tmp_path):
    def states():
        done = command("list", "--config", andon.config, "--url", f"http://{andon.http}", "--json")
        assert done.returncode == 0, done.stderr
        return {(row["name"], row["version"]): row for row in json.loads(done.stdout)}

    client.load_model("sums")
    told = states()
    assert told["conv", "1.0.0"]["state"] == "predicting" and told["conv", "1.0.0"]["device"] == "cpu"
    assert told["sums", "1"]["state"] == "loaded" and told["same-fp32", "1"]["state"] == "stored"

    fresh = tmp_path / "incoming" / "conv" / "1.1.0"
    shutil.copytree(models / "conv/1.0.0", fresh)
    card = fresh / "model.toml"
    card.write_text(card.read_text().replace('version = "1.0.0"', 'version = "1.1.0"', 1))
    good = (fresh / "golden.json").read_text()
    (fresh / "golden.json").write_text(good.replace("0.", "9.", 1))
    done = command("add", fresh, "--config", andon.config)
    assert done.returncode == 1 and "this is not the model" in done.stderr, done
    assert not (models / "conv/1.1.0").exists()
    (fresh / "golden.json").write_text(good)
    done = command("check", fresh, "--config", andon.config)
    assert done.returncode == 0 and "conv 1.1.0 is good" in done.stdout, done
    done = command("add", fresh, "--config", andon.config)
    assert done.returncode == 0, done
    assert states()["conv", "1.1.0"]["state"] == "offered", "and not taken"
    assert client.get_model_metadata("conv")["versions"] == ["1.0.0"]
    done = command("add", fresh, "--config", andon.config)
    assert done.returncode == 1 and "is there already" in done.stderr, done

    daemon = ("--by", "R. Meyer", "--config", andon.config, "--url", f"http://{andon.http}")
    done = command("activate", "conv/9", *daemon)
    assert done.returncode == 1 and "has no version `9`" in done.stderr, done
    done = command("activate", "conv/1.1.0", *daemon)
    assert done.returncode == 0 and "conv 1.1.0 predicts now, in the place of 1.0.0." in done.stdout, done
    assert states()["conv", "1.1.0"]["state"] == "predicting" and states()["conv", "1.0.0"]["state"] == "previous"
    assert client.get_model_metadata("conv")["versions"] == ["1.1.0"], "requests go where frames go"
    x = np.zeros((1, 10, 64), np.float32)
    assert client.infer("conv", [given("input", x, "FP32")]).get_response()["model_version"] == "1.1.0"
    done = command("rollback", "conv", *daemon)
    assert done.returncode == 0 and "conv 1.0.0 predicts now" in done.stdout, done
    done = command("shadow", "conv/1.1.0", *daemon)
    assert done.returncode == 0 and "conv 1.1.0 sees what 1.0.0 sees" in done.stdout, done
    assert states()["conv", "1.1.0"]["state"] == "shadow"
    assert client.get_model_metadata("conv")["versions"] == ["1.0.0"], "requests do not reach it"
    done = command("health", "conv", "--config", andon.config, "--url", f"http://{andon.http}")
    assert done.returncode == 0 and "shadow 1.1.0 on cpu" in done.stdout, done
    done = command("remove", "conv/1.1.0", "--config", andon.config, "--url", f"http://{andon.http}")
    assert done.returncode == 1 and "it is a shadow" in done.stderr, done
    done = command("shadow", "conv", "--end", *daemon)
    assert done.returncode == 0 and "conv 1.1.0 is no shadow any more." in done.stdout, done
    status, answer = post(andon, "/api/v1/models/conv/activate", b'{"version": "1.1.0", "by": ""}',
                          {"Content-Type": "application/json"})
    assert status == 400 and "who asks" in json.loads(answer)["error"], answer
    assert sorted(file.name for file in (models / "conv").iterdir()) == ["1.0.0", "1.1.0"]
    done = command("remove", "conv", "1.1.0", "--config", andon.config, "--url", f"http://{andon.http}")
    assert done.returncode == 0 and "conv 1.1.0 is removed" in done.stdout, done
    assert [file.name for file in (models / "conv").iterdir()] == ["1.0.0"]


def test_many_load_and_ask_at_once(andon, client):
    names = [f"same-{kind.lower()}" for kind in ("FP32", "INT64", "BYTES")]
    told, failed = [], []

    def work(at):
        own = triton.InferenceServerClient(andon.http)
        try:
            for name in names:
                try:
                    own.load_model(name)
                except InferenceServerException as error:
                    assert error.status() == "503" and "being loaded already" in error.message(), error
                    rig.wait_for("the other's load is done", lambda n=name: own.is_model_ready(n))
            x = np.full((2, 3), at, np.int64)
            for _ in range(20):
                told.append((own.infer("same-int64", [given("x", x, "INT64")]).as_numpy("y") == at).all())
        except Exception as error:  # noqa: BLE001
            failed.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=work, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    assert len(told) == 120 and all(told)
    andon.stop()

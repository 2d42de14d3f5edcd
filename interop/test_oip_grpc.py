"""The Open Inference Protocol over gRPC, on the port of its HTTP form, asked by Triton's client."""

import time

import numpy as np
import pytest
import rig
import tritonclient.grpc as triton
from test_oip import KINDS, andon, models, plain, values  # noqa: F401
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import grpc


@pytest.fixture
def client(start, andon):  # noqa: F811
    return start(triton.InferenceServerClient(andon.http))


def given(name, array, kind):
    tensor = triton.InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(array)
    return tensor


def refused(code, words, action, *arguments, **named):
    with pytest.raises(InferenceServerException) as caught:
        action(*arguments, **named)
    assert caught.value.status() == f"StatusCode.{code}", caught.value
    assert words in caught.value.message(), caught.value


def test_grpc_describes_server_and_models_as_http_does(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("conv") and client.is_model_ready("conv", "1.0.0")
    assert not client.is_model_ready("conv", "2") and not client.is_model_ready("nothing")
    assert client.get_server_metadata().name == "andon"
    told = client.get_model_metadata("conv", as_json=True)
    assert told["inputs"] == [{"name": "input", "datatype": "FP32", "shape": ["-1", "10", "64"]}]
    config = client.get_model_config("conv", as_json=True)["config"]
    assert config["output"] == [{"name": "probability", "data_type": "TYPE_FP32", "dims": ["-1", "1"]}]


def test_a_model_answers_over_grpc_as_python_s_runtime_does(client, models):  # noqa: F811
    x = np.random.RandomState(3).randn(5, 10, 64).astype(np.float32)
    answer = client.infer("conv", [given("input", x, "FP32")], request_id="r7")
    assert answer.get_response().id == "r7"
    expected = rig.answers(models / "conv/1.0.0/model.onnx", x, "probability")
    np.testing.assert_allclose(answer.as_numpy("probability")[:, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_every_datatype_comes_back_over_grpc_as_it_went(client, packing):
    for kind in KINDS:
        name, sent = f"same-{kind.lower()}", values(kind)
        client.load_model(name)
        result = client.infer(name, [given("x", sent, kind)], compression_algorithm=packing)
        got = result.as_numpy("y")
        assert got.dtype == sent.dtype and got.shape == sent.shape
        np.testing.assert_array_equal(plain(got), sent)


def test_typed_contents_are_read_as_well(andon, client):  # noqa: F811
    """Clients of KServe send the lists that are named by kind."""
    client.load_model("same-fp32")
    client.load_model("same-bytes")
    lists = [("same-fp32", "FP32", "fp32_contents", [0.5, 1, 2], np.float32),
             ("same-bytes", "BYTES", "bytes_contents", [b"a", b"", "grüße".encode()], None)]
    with grpc.insecure_channel(andon.http) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for model, kind, field, sent, dtype in lists:
            tensor = service_pb2.ModelInferRequest().InferInputTensor(name="x", datatype=kind, shape=[1, 3])
            getattr(tensor.contents, field).extend(sent)
            answer = stub.ModelInfer(service_pb2.ModelInferRequest(model_name=model, inputs=[tensor]))
            raw = answer.raw_output_contents[0]
            if dtype:
                assert np.frombuffer(raw, dtype).tolist() == sent
            else:
                assert raw == b"".join(len(text).to_bytes(4, "little") + text for text in sent)


def test_what_is_wrong_is_told_with_codes_of_grpc(client, andon):  # noqa: F811
    x = np.zeros((1, 10, 64), np.float32)
    good = [given("input", x, "FP32")]
    refused("NOT_FOUND", "unknown model", client.infer, "nothing", good)
    refused("NOT_FOUND", "version `7`", client.infer, "conv", good, model_version="7")
    refused("NOT_FOUND", "unknown model", client.get_model_metadata, "nothing")
    refused("INVALID_ARGUMENT", "unexpected input `wrong`", client.infer, "conv", [given("wrong", x, "FP32")])
    refused("INVALID_ARGUMENT", "expected shape [-1, 10, 64]", client.infer, "conv",
            [given("input", x[:, :9], "FP32")])
    refused("INVALID_ARGUMENT", "unexpected output `wrong`", client.infer, "conv", good,
            outputs=[triton.InferRequestedOutput("wrong")])
    refused("INVALID_ARGUMENT", "keeps no state", client.infer, "conv", good, sequence_id=4)
    refused("INVALID_ARGUMENT", "no such model", client.load_model, "nothing")
    refused("INVALID_ARGUMENT", "a prediction uses it", client.unload_model, "conv")
    refused("INVALID_ARGUMENT", "parameters", client.load_model, "same-fp32", config="{}")
    refused("DEADLINE_EXCEEDED", "no answer within", client.infer, "conv", good, timeout=1)
    large = np.zeros((600_000,), np.float32).reshape(-1, 3)
    refused("OUT_OF_RANGE", "1048576", client.infer, "same-fp32", [given("x", large, "FP32")])
    refused("UNIMPLEMENTED", "not served", client.get_trace_settings)
    with grpc.insecure_channel(andon.http, options=[("grpc.default_authority", "evil.example")]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.ServerLive(service_pb2.ServerLiveRequest())
    assert client.is_model_ready("conv"), "the running model is untouched"


def test_models_come_and_go_over_grpc_too(client):
    states = {row.name: row.state for row in client.get_model_repository_index().models}
    assert states["conv"] == "READY" and states["sums"] == "UNAVAILABLE"
    client.load_model("sums")
    two = [given(name, np.ones(2, np.float32), "FP32") for name in "ab"]
    answer = client.infer("sums", two, outputs=[triton.InferRequestedOutput("sum")])
    assert answer.as_numpy("sum").tolist() == [2, 2] and answer.as_numpy("difference") is None
    told = client.get_inference_statistics("sums").model_stats[0]
    assert told.inference_stats.success.count == 1 and told.last_inference > (time.time() - 60) * 1000
    client.unload_model("sums")
    refused("NOT_FOUND", "unknown model", client.infer, "sums", two)

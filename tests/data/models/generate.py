"""Makes the small models that the tests run. Needs onnx, numpy and onnxruntime.

    python tests/data/models/generate.py

The weights are random but fixed: the models predict nothing.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
FLOAT, DOUBLE, INT64, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING
rng = np.random.RandomState(7)
node = helper.make_node


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def weights(*shape, kind=np.float32):
    return (rng.randn(*shape) * 0.3).astype(kind)


def save(name, nodes, inputs, outputs, constants, card, golden, output):
    graph = helper.make_graph(nodes, name, inputs, outputs,
                              [numpy_helper.from_array(v, n) for n, v in constants.items()])
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=8, producer_name="andon tests")
    folder = HERE / name / "1.0.0"
    folder.mkdir(parents=True, exist_ok=True)
    blob = model.SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(blob)
    head = f"""name = "{name}"
version = "1.0.0"
sha256 = "{hashlib.sha256(blob).hexdigest()}"
task = "test"
licence = "MIT OR Apache-2.0"
description = "Made by tests/data/models/generate.py; predicts nothing."
"""
    (folder / "model.toml").write_text(head + card)
    golden = np.round(golden, 4)
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    feed = inputs[0].name
    items = [session.run([output], {feed: item[None]})[0] for item in golden]
    # A map comes in the order of its keys; the golden pair wants that of the labels.
    of_map = lambda m: [m[label] for label in ("ok", "wear", "crack")] if "ok" in m else list(m.values())
    numbers = [of_map(i[0]) if isinstance(i, list) else np.asarray(i).reshape(-1).tolist() for i in items]
    text = json.dumps({"input": [[float(str(v)) for v in i.reshape(-1)] for i in golden], "output": numbers})
    (folder / "golden.json").write_text(text + "\n")


def tags(*names, mean=0.0, std=1.0):
    return "".join(f'\n[[input.tag]]\nname = "{n}"\nmean = {mean}\nstd = {std}\n' for n in names)


GOLDEN = '\n[reference]\ngolden = "golden.json"\n'

# A classifier of 64 rows of ten tags, the size of a real one.
constants = {
    "w1": weights(16, 10, 5), "b1": weights(16), "w2": weights(32, 16, 5), "b2": weights(32),
    "w3": weights(32, 1), "b3": weights(1),
}
conv = [
    node("Conv", ["input", "w1", "b1"], ["c1"], strides=[2]), node("Relu", ["c1"], ["r1"]),
    node("Conv", ["r1", "w2", "b2"], ["c2"], strides=[2]), node("Relu", ["c2"], ["r2"]),
    node("ReduceMean", ["r2"], ["pooled"], axes=[2], keepdims=0),
    node("Gemm", ["pooled", "w3", "b3"], ["logit"]), node("Sigmoid", ["logit"], ["probability"]),
]
card = f"""
[input]
tensor = "input"
layout = "series"
order = "channels_first"
normalise = "standard"
{tags(*[f"t{i}" for i in range(10)], mean=5.0, std=2.0)}
[window]
length = 64
hop = 8

[output]
tensor = "probability"
kind = "probability"
labels = ["ok", "reject"]
positive = "reject"

[decision]
raise = 0.5
"""
save("conv", conv, [tensor("input", FLOAT, ["N", 10, 64])], [tensor("probability", FLOAT, ["N", 1])],
     constants, card + GOLDEN, weights(2, 10, 64), "probability")

# float64 rows of a time window, to one number; the graph leaves rows open.
card = f"""
[input]
tensor = "x"
layout = "series"
{tags("a", "b", mean=1.0)}
[window]
length = "4s"
period = "1s"

[output]
tensor = "hours"
kind = "value"
unit = "h"
range = [0.0, 100.0]

[decision]
raise = 10.0
direction = "below"
"""
sums = [node("Mul", ["x", "w"], ["weighted"]), node("ReduceSum", ["weighted", "axes"], ["hours"], keepdims=0)]
save("remaining", sums, [tensor("x", DOUBLE, ["N", "rows", 2])], [tensor("hours", DOUBLE, ["N"])],
     {"w": np.array([1.0, 2.0]), "axes": np.array([1, 2])}, card + GOLDEN,
     np.arange(16, dtype=np.float64).reshape(2, 4, 2), "hours")

# As scikit-learn's converter writes classifiers: a label, and a sequence of maps.
for name, classes in [("zipmap-int", {"classlabels_int64s": [0, 1, 2]}),
                      ("zipmap-text", {"classlabels_strings": ["ok", "wear", "crack"]})]:
    text = "text" in name
    coefficients = np.array([[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]], np.float32)
    labels_key = "classlabels_strings" if text else "classlabels_ints"
    nodes = [
        node("LinearClassifier", ["X"], ["output_label", "scores"], domain="ai.onnx.ml",
             coefficients=coefficients.reshape(-1).tolist(), intercepts=[0.1, 0.0, -0.1], multi_class=1,
             post_transform="SOFTMAX", **{labels_key: list(classes.values())[0]}),
        node("ZipMap", ["scores"], ["output_probability"], domain="ai.onnx.ml", **classes),
    ]
    key = STRING if text else INT64
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, [])))
    outputs = [tensor("output_label", key, ["N"]), helper.make_value_info("output_probability", maps)]
    card = f"""
[input]
tensor = "X"
layout = "latest"
{tags("a", "b")}
[window]
length = 1

[output]
tensor = "output_probability"
kind = "probability"
labels = ["ok", "wear", "crack"]
positive = "wear"

[decision]
raise = 0.5
"""
    save(name, nodes, [tensor("X", FLOAT, ["N", 2])], outputs, {}, card + GOLDEN, weights(3, 2), "output_probability")

# A class by its number.
card = f"""
[input]
tensor = "X"
layout = "latest"
{tags("a", "b", "c")}
[window]
length = 1

[output]
tensor = "class"
kind = "class"
labels = ["ok", "wear", "crack"]
positive = "crack"

[decision]
raise = 1.0
"""
save("argmax", [node("ArgMax", ["X"], ["class"], axis=1, keepdims=0)], [tensor("X", FLOAT, ["N", 3])],
     [tensor("class", INT64, ["N"])], {}, card + GOLDEN, weights(3, 3), "class")

# Gives back half of what it gets.
card = f"""
[input]
tensor = "x"
layout = "series"
{tags("a", "b")}
[window]
length = 4

[output]
tensor = "y"
kind = "reconstruction"

[decision]
raise = 0.25
"""
save("halved", [node("Mul", ["x", "half"], ["y"])], [tensor("x", FLOAT, ["N", 8])], [tensor("y", FLOAT, ["N", 8])],
     {"half": np.array([0.5], np.float32)}, card + GOLDEN, weights(2, 8), "y")

# Answers NaN below zero, and takes one item at a time.
card = f"""
[input]
tensor = "x"
layout = "latest"
{tags("a")}
[window]
length = 1

[output]
tensor = "root"
kind = "value"

[decision]
raise = 2.0
"""
save("root", [node("Sqrt", ["x"], ["root"])], [tensor("x", FLOAT, [1, 1])], [tensor("root", FLOAT, [1, 1])], {},
     card + GOLDEN, np.array([[4.0], [9.0]], np.float32), "root")

# How bright a picture is.
card = """
[input]
tensor = "x"
layout = "image"

[input.image]
width = 2
height = 2

[window]
length = 1

[output]
tensor = "p"
kind = "probability"
labels = ["dark", "bright"]
positive = "bright"

[decision]
raise = 0.5
"""
save("brightness", [node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
                    node("ReduceMean", ["m"], ["p"], axes=[1], keepdims=1)],
     [tensor("x", FLOAT, ["N", 3, 2, 2])], [tensor("p", FLOAT, ["N", 1])], {}, card + GOLDEN,
     np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2) / 16, "p")

# Where a picture is brightest, told by a map.
card = """
[input]
tensor = "x"
layout = "image"

[input.image]
colour = "grey"
width = 4
height = 4
resize = "crop"

[window]
length = 1

[output]
tensor = "p"
kind = "probability"
labels = ["clean", "spotted"]
positive = "spotted"
map = "map"

[decision]
raise = 0.5
text = "{asset} has a spot {place}"
"""
save("spot", [node("Identity", ["x"], ["map"]), node("ReduceMax", ["x"], ["m"], axes=[2, 3], keepdims=0),
              node("Identity", ["m"], ["p"])],
     [tensor("x", FLOAT, ["N", 1, 4, 4])], [tensor("p", FLOAT, ["N", 1]), tensor("map", FLOAT, ["N", 1, 4, 4])], {}, card + GOLDEN,
     np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) / 16, "p")

# Texts: a card of strings, lower case.
TEXT = """
[input]
tensor = "text"
layout = "text"
[input.text]
lowercase = true
single_spaces = true

[window]
length = 1
"""


def save_text(name, nodes, output, card, golden, answers, constants=()):
    """`answers` are what the golden pair says: class names have a number there."""
    graph = helper.make_graph(nodes, name, [tensor("text", STRING, ["N"])], [output],
                              [numpy_helper.from_array(v, n) for n, v in dict(constants).items()])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="andon tests")
    folder = HERE / name / "1.0.0"
    folder.mkdir(parents=True, exist_ok=True)
    blob = model.SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(blob)
    head = f"""name = "{name}"
version = "1.0.0"
sha256 = "{hashlib.sha256(blob).hexdigest()}"
task = "test"
licence = "MIT OR Apache-2.0"
description = "Made by tests/data/models/generate.py; knows a few words."
"""
    (folder / "model.toml").write_text(head + TEXT + card + GOLDEN)
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    for text in golden:
        print(name, text, session.run(None, {"text": np.array([text], object)})[0])
    (folder / "golden.json").write_text(json.dumps({"input": golden, "output": answers}, ensure_ascii=False) + "\n")


# Words that count, up or down; their sum is the probability.
card = """
[output]
tensor = "p"
kind = "probability"
labels = ["fine", "bad"]
positive = "bad"

[decision]
raise = 0.5
"""
save_text("words", [
    node("StringSplit", ["text"], ["parts", "number"], delimiter=""),
    node("TfIdfVectorizer", ["parts"], ["worth"], mode="TFIDF", min_gram_length=1, max_gram_length=1, max_skip_count=0,
         ngram_counts=[0], ngram_indexes=[0, 1, 2], pool_strings=["leckt", "öl", "behoben"], weights=[0.5, 0.25, -0.5]),
    node("ReduceSum", ["worth", "axes"], ["sum"], keepdims=1),
    node("Clip", ["sum", "none", "all"], ["p"]),
], tensor("p", FLOAT, ["N", 1]), card, ["pumpe leckt öl", "leckt behoben", "öl", "x"], [[0.75], [0.0], [0.25], [0.0]],
   {"axes": np.array([1]), "none": np.float32(0), "all": np.float32(1)})

# A class by its name, and one that no label names.
card = """
[output]
tensor = "class"
kind = "class"
labels = ["ok", "leak"]
positive = "leak"

[decision]
raise = 1.0
"""
save_text("word-class", [
    node("LabelEncoder", ["text"], ["class"], domain="ai.onnx.ml", keys_strings=["ok", "leak"],
         values_strings=["ok", "leak"], default_string="strange"),
], tensor("class", STRING, ["N"]), card, ["ok", "leak"], [[0], [1]])

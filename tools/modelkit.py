"""What the training scripts share: trees to ONNX, deterministic files, golden pairs, hashes."""

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

# Opset 17 and IR 8 run on every ONNX Runtime of the last years; nothing newer is needed.
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 8


def save_graph(path, name, nodes, inputs, outputs, constants, doc):
    """Checks and writes a graph; the same arguments give the same bytes."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        [onnx.numpy_helper.from_array(v, n) for n, v in constants.items()],
        doc_string=doc,
    )
    domains = {node.domain for node in nodes}
    opsets = [o for o in OPSETS if o.domain == "" or o.domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="andon models")
    onnx.checker.check_model(model, full_check=True)
    Path(path).write_bytes(model.SerializeToString(deterministic=True))


def float32_at_most(value):
    """The largest float32 <= value: for float32 x, `x <= value` and `x <= float32_at_most(value)` agree."""
    rounded = np.float32(value)
    return np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > value else rounded


def boosted_trees_node(model, base, features, logit):
    """A fitted GradientBoostingClassifier of two classes as one TreeEnsembleRegressor; `base` is its prior."""
    nodes = {k: [] for k in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    leaves = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}
    for number, regressor in enumerate(model.estimators_[:, 0]):
        tree = regressor.tree_
        for i in range(tree.node_count):
            leaf = tree.children_left[i] < 0
            nodes["treeids"].append(number)
            nodes["nodeids"].append(i)
            nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["featureids"].append(0 if leaf else int(tree.feature[i]))
            nodes["values"].append(0.0 if leaf else float(float32_at_most(tree.threshold[i])))
            nodes["truenodeids"].append(0 if leaf else int(tree.children_left[i]))
            nodes["falsenodeids"].append(0 if leaf else int(tree.children_right[i]))
            if leaf:
                leaves["treeids"].append(number)
                leaves["nodeids"].append(i)
                leaves["ids"].append(0)
                leaves["weights"].append(float(model.learning_rate * tree.value[i, 0, 0]))
    return helper.make_node(
        "TreeEnsembleRegressor", [features], [logit], domain="ai.onnx.ml",
        n_targets=1, aggregate_function="SUM", post_transform="NONE", base_values=[float(base)],
        **{f"nodes_{k}": v for k, v in nodes.items()},
        **{f"target_{k}": v for k, v in leaves.items()},
    )


def histogram_trees_node(model, features, answer):
    """A fitted HistGradientBoostingRegressor (no categories, nothing missing) as one TreeEnsembleRegressor."""
    nodes = {k: [] for k in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    leaves = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}
    for number, (predictor,) in enumerate(model._predictors):
        for i, one in enumerate(predictor.nodes):
            leaf = bool(one["is_leaf"])
            nodes["treeids"].append(number)
            nodes["nodeids"].append(i)
            nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["featureids"].append(0 if leaf else int(one["feature_idx"]))
            nodes["values"].append(0.0 if leaf else float(float32_at_most(one["num_threshold"])))
            nodes["truenodeids"].append(0 if leaf else int(one["left"]))
            nodes["falsenodeids"].append(0 if leaf else int(one["right"]))
            if leaf:
                leaves["treeids"].append(number)
                leaves["nodeids"].append(i)
                leaves["ids"].append(0)
                leaves["weights"].append(float(one["value"]))
    return helper.make_node(
        "TreeEnsembleRegressor", [features], [answer], domain="ai.onnx.ml",
        n_targets=1, aggregate_function="SUM", post_transform="NONE",
        base_values=[float(np.ravel(model._baseline_prediction)[0])],
        **{f"nodes_{k}": v for k, v in nodes.items()},
        **{f"target_{k}": v for k, v in leaves.items()},
    )


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def exact(values):
    """float32 as the shortest decimal that reads back as the same float32."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [exact(v) for v in values]
    return float(str(np.float32(values)))


def write_json(path, value):
    Path(path).write_text(json.dumps(value, indent=1) + "\n")


def check_golden_numbers(values):
    """Fails where a float32 does not survive its JSON form."""
    assert (np.asarray(exact(values), np.float32) == values).all()


def write_golden(path, inputs, outputs):
    check_golden_numbers(inputs)
    check_golden_numbers(outputs)
    rows = ",\n  ".join(json.dumps(exact(i)) for i in inputs)
    answers = ",\n  ".join(json.dumps(exact(o)) for o in outputs)
    Path(path).write_text(f'{{"input": [\n  {rows}\n], "output": [\n  {answers}\n]}}\n')


def write_background(path, rows):
    """What the model sees ordinarily, for the explanations of alerts."""
    check_golden_numbers(rows)
    lines = ",\n  ".join(json.dumps(exact(row)) for row in rows)
    Path(path).write_text(f'{{"input": [\n  {lines}\n]}}\n')


def write_card(path, header, card):
    """A model card in TOML: plain values first, then tables, then arrays of tables, read back to be sure."""
    lines = [f"# {line}" for line in header] + [""]

    def table(prefix, entries):
        for key, value in entries.items():
            if not isinstance(value, dict) and not (isinstance(value, list) and value and isinstance(value[0], dict)):
                lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
        for key, value in entries.items():
            if isinstance(value, dict):
                lines.extend(["", f"[{prefix}{key}]"])
                table(f"{prefix}{key}.", value)
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                for one in value:
                    lines.extend(["", f"[[{prefix}{key}]]"])
                    table(f"{prefix}{key}.", one)

    table("", card)
    text = "\n".join(lines) + "\n"
    assert tomllib.loads(text) == card, "the card does not read back"
    Path(path).write_text(text)

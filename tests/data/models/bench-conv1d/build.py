"""Builds bench-conv1d, the benchmark's model: real layers, random weights, no meaning.

    .venv-train/bin/python tests/data/models/bench-conv1d/build.py

Its venv is that of models/requirements.txt. A rerun writes the same bytes.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import helper

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3] / "tools"))
import modelkit  # noqa: E402

OUT = HERE / "1.0.0"
TAGS, ROWS, SEED = 10, 64, 20


def export(weights, path):
    node = helper.make_node
    nodes = [
        node("Conv", ["input", "w1", "b1"], ["c1"], kernel_shape=[7]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], kernel_shape=[5]),
        node("Relu", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"], axis=1),
        node("Gemm", ["flat", "w3", "b3"], ["logit"], transB=1),
        node("Sigmoid", ["logit"], ["probability"]),
    ]
    modelkit.save_graph(path, "bench-conv1d", nodes, [("input", ["N", TAGS, ROWS])], [("probability", ["N", 1])],
                        weights, "Benchmark classifier with random weights")


def main():
    rng = np.random.default_rng(SEED)

    def he(*shape):
        return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)

    weights = {
        "w1": he(32, TAGS, 7), "b1": rng.normal(0, 0.1, 32).astype(np.float32),
        "w2": he(32, 32, 5), "b2": rng.normal(0, 0.1, 32).astype(np.float32),
        "w3": he(1, 32), "b3": np.zeros(1, np.float32),
    }
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"

    # The last layer is scaled so that on standard normal noise the logit has mean -2 and
    # deviation 1: scores spread over (0, 1) instead of sticking to one value.
    noise = np.random.default_rng(SEED + 1).normal(size=(20_000, TAGS, ROWS)).astype(np.float32)
    export(weights, path)
    p = modelkit.session(path).run(None, {"input": noise})[0].astype(np.float64)
    logit = np.log(p / (1 - p))
    scale = 1 / logit.std()
    weights["w3"] = (weights["w3"] * scale).astype(np.float32)
    weights["b3"] = np.array([-2 - logit.mean() * scale], np.float32)
    export(weights, path)

    # The limit: 1 in 1,000 windows of other noise is beyond it.
    fresh = np.random.default_rng(SEED + 2).normal(size=(50_000, TAGS, ROWS)).astype(np.float32)
    session = modelkit.session(path)
    scores = session.run(None, {"input": fresh})[0][:, 0]
    limit = round(float(np.quantile(scores, 0.999)), 4)
    print(f"raise {limit}: {(scores >= limit).sum()} of {len(scores)} windows; "
          f"quantiles 1, 50, 99 %: {np.quantile(scores, [0.01, 0.5, 0.99]).round(4)}")

    golden = np.round(fresh[:3], 3)
    modelkit.write_golden(OUT / "golden.json", golden, session.run(None, {"input": golden})[0])
    modelkit.write_card(OUT / "model.toml", ["Written by ../build.py. Random weights: for benchmarks and tests only."], {
        "name": "bench-conv1d",
        "version": "1.0.0",
        "sha256": modelkit.sha256(path),
        "task": "benchmark",
        "licence": "MIT OR Apache-2.0",
        "description": "Random weights. On standard normal noise 1 window in 1,000 scores beyond `raise`.",
        "input": {
            "tensor": "input", "layout": "series", "order": "channels_first", "normalise": "standard",
            "tag": [{"name": f"t{i}", "mean": 0.0, "std": 1.0} for i in range(TAGS)],
        },
        "window": {"length": ROWS, "hop": 16},
        "output": {"tensor": "probability", "kind": "probability", "labels": ["ok", "alarm"], "positive": "alarm"},
        "decision": {"raise": limit, "direction": "above", "n": 1, "m": 1, "severity": 500,
                     "text": "{asset}: {score} is beyond {threshold}, mostly {tag}"},
        "reference": {"golden": "golden.json"},
        "runtime": {"devices": ["cpu"], "threads": 1, "max_batch": 64},
    })


if __name__ == "__main__":
    main()

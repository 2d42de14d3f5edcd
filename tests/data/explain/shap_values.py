"""Shapley values of the test models by the shap library, for tests/explain_shap.rs.

    pip install shap==0.51.0 onnxruntime==1.32.0 numpy==2.4.6
    python tests/data/explain/shap_values.py

The game is Andon's: a tag that is present brings all its cells as they were, one that is absent
those of a background row; the worth is the mean score over the rows.
"""

import json
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import shap

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
rng = np.random.RandomState(11)


def case(name, rows, column, permutations=None):
    card = tomllib.loads((MODELS / name / "1.0.0/model.toml").read_text())
    session = onnxruntime.InferenceSession(str(MODELS / name / "1.0.0/model.onnx"), providers=["CPUExecutionProvider"])
    shape = [d for d in session.get_inputs()[0].shape[1:]]
    tags = [tag["name"] for tag in card["input"]["tag"]]
    axis = shape.index(len(tags))
    item = rng.randn(*shape).round(3).astype(np.float32)
    background = (0.5 * rng.randn(rows, *shape)).round(3).astype(np.float32)

    def score(x):
        answer = session.run([card["output"]["tensor"]], {session.get_inputs()[0].name: x})[0]
        if isinstance(answer, list):
            return np.array([list(row.values())[column] for row in answer])
        return np.asarray(answer, np.float64).reshape(len(x), -1)[:, column]

    def worth(sets):
        out = []
        for present in np.asarray(sets, bool):
            view = [1] * (len(shape) + 1)
            view[axis + 1] = len(tags)
            out.append(score(np.where(present.reshape(view), item[None], background)).mean())
        return np.array(out)

    everything, nothing = np.ones((1, len(tags))), np.zeros((1, len(tags)))
    if permutations is None:
        values = shap.ExactExplainer(worth, nothing)(everything).values[0]
    else:
        explainer = shap.PermutationExplainer(worth, nothing, seed=5)
        values = explainer(everything, max_evals=permutations * (2 * len(tags) + 1)).values[0]
    return {
        "model": name,
        "item": item.reshape(-1).tolist(),
        "background": [row.reshape(-1).tolist() for row in background],
        "score": float(score(item[None])[0]),
        "mean": float(score(background).mean()),
        "shap": dict(zip(tags, map(float, values))),
    }


cases = [case("zipmap-int", 5, 1), case("conv", 3, 0), case("bench-conv1d", 2, 0, permutations=400)]
for one in cases:
    one["item"] = [float(str(np.float32(v))) for v in one["item"]]
    one["background"] = [[float(str(np.float32(v))) for v in row] for row in one["background"]]
(HERE / "shap_values.json").write_text(json.dumps(cases) + "\n")
for one in cases:
    print(one["model"], one["score"], one["mean"], one["shap"])

"""From a table of a plant's own rows to a package with a scikit-learn model in it: a candidate for a shadow.

    python3 -m venv .venv && .venv/bin/pip install scikit-learn skl2onnx onnxruntime
    .venv/bin/python tools/candidate.py rows.csv models/machine-failure/1.0.0 incoming/machine-failure/1.1.0

`rows.csv` has a column for each tag of the card, by its name, and `label`: 1 for bad, 0 for good. Tags, units, layout, window
and severity are those of the version that predicts, so the candidate sees the same frames. The card must have layout `latest`
and be a classification; for others, write the card as docs/model-card.md says. A fifth of the rows is held out.
"""

import csv
import hashlib
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from sklearn.model_selection import train_test_split

BINS = 10


def read(path, tags):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    # float32, as the daemon hands them to the model.
    x = np.array([[float(row[tag]) for tag in tags] for row in rows], np.float32)
    return x, np.array([int(row["label"]) for row in rows])


def threshold(p, y):
    """The limit with the best F1 on these rows."""
    limits = np.arange(5, 96) / 100
    return float(max(limits, key=lambda limit: f1_score(y, p >= limit)))


def tag(known, column):
    """What the card says of a tag, with this training's figures."""
    figures = {"mean": column.mean(), "std": column.std(), "min": column.min(), "max": column.max()}
    lines = ["[[input.tag]]", f"name = {json.dumps(known['name'])}"]
    lines += [f"unit = {json.dumps(known['unit'])}"] if "unit" in known else []
    lines += [f"{name} = {float(value):.6g}" for name, value in figures.items()]
    edges = np.unique(np.quantile(column, np.arange(1, BINS) / BINS, method="nearest").astype(np.float64))
    edges = edges[edges > column.min()]
    if len(edges):
        shares = np.bincount(np.digitize(column, edges), minlength=len(edges) + 1) / len(column)
        lines += ["", "[input.tag.bins]", f"edges = {json.dumps([float(f'{edge:.6g}') for edge in edges])}"]
        lines += [f"shares = {json.dumps([round(float(share), 6) for share in shares])}"]
    return "\n".join(lines) + "\n"


def main(table, active, out):
    card = tomllib.loads((Path(active) / "model.toml").read_text())
    known = card["input"]["tag"]
    if card["input"]["layout"] != "latest" or card["input"].get("normalise", "none") != "none":
        sys.exit("this script writes candidates for cards with layout `latest` and raw units")
    x, y = read(table, [tag["name"] for tag in known])
    a, rest, ya, y_rest = train_test_split(x, y, test_size=0.4, stratify=y, random_state=1)
    b, test, yb, yt = train_test_split(rest, y_rest, test_size=0.5, stratify=y_rest, random_state=1)
    model = GradientBoostingClassifier(n_estimators=200, learning_rate=0.05, random_state=1).fit(a, ya)
    limit = threshold(model.predict_proba(b)[:, 1], yb)

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    onnx = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=17).SerializeToString()
    (out / "model.onnx").write_bytes(onnx)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    p = session.run(["probabilities"], {"X": test})[0]
    difference = float(np.abs(p - model.predict_proba(test)).max())
    assert difference < 1e-4, f"the graph is not the model: {difference}"
    bad = np.concatenate([np.flatnonzero(yt == 1)[:8], np.flatnonzero(yt == 0)[:8]])
    golden = {"input": test[bad].tolist(), "output": p[bad].tolist()}
    (out / "golden.json").write_text(json.dumps(golden))

    said = p[:, 1] >= limit
    figures = {"precision": precision_score(yt, said), "recall": recall_score(yt, said), "f1": f1_score(yt, said),
               "roc_auc": roc_auc_score(yt, p[:, 1])}
    window = [f"{key} = {json.dumps(value)}" for key, value in card["window"].items()]
    severity = card["decision"].get("severity", 500)
    parts = [
        f'name = {json.dumps(card["name"])}', f'version = "{out.name}"',
        f'sha256 = "{hashlib.sha256(onnx).hexdigest()}"', 'task = "classification"', 'licence = "our own"',
        'description = "GradientBoostingClassifier on our own rows, by tools/candidate.py."', "",
        "[input]", 'tensor = "X"', 'layout = "latest"', 'normalise = "none"', "",
        *(tag(known, a[:, at]) for at, known in enumerate(known)),
        "[window]", *window, "",
        "[output]", 'tensor = "probabilities"', 'kind = "probability"', 'labels = ["good", "bad"]', 'positive = "bad"', "",
        "[decision]", f"raise = {limit}", f"clear = {limit * 0.6:.3f}", f"severity = {severity}", "",
        "[evaluation]", f'data = "{len(y)} rows, {int(y.sum())} bad; a fifth held out"',
        *(f"{name} = {float(value):.4f}" for name, value in figures.items()), "",
        "[reference]", 'golden = "golden.json"', "tolerance = 1e-4",
    ]
    (out / "model.toml").write_text("\n".join(parts) + "\n")
    print(f"{out}: limit {limit}; " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

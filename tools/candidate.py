"""From a table of a plant's own rows to a package with a model in it, trees of scikit-learn or a small network of
PyTorch: a candidate for a shadow.

    python3 -m venv .venv && .venv/bin/pip install scikit-learn skl2onnx onnxruntime
    .venv/bin/python tools/candidate.py rows.csv models/machine-failure/1.1.0 incoming/machine-failure/1.2.0

    .venv/bin/pip install scikit-learn onnxruntime torch onnx onnxscript
    .venv/bin/python tools/candidate.py --pytorch rows.csv models/machine-failure/1.1.0 incoming/machine-failure/1.3.0

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
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from sklearn.model_selection import train_test_split

BINS = 10


def read(path, tags):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    # float32, as the daemon hands them to the model.
    x = np.array([[float(row[tag]) for tag in tags] for row in rows], np.float32)
    return x, np.array([int(row["label"]) for row in rows])


def trees(x, y):
    """What it is, its graph from `X` to `probabilities`, and what it says itself."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(n_estimators=200, learning_rate=0.05, random_state=1).fit(x, y)
    onnx = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=17).SerializeToString()
    return "GradientBoostingClassifier", onnx, model.predict_proba


def network(x, y):
    """The same of a network of two layers; raw units go in, so their normalisation is part of the graph."""
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(1)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.from_numpy(x.mean(0)))
            self.register_buffer("std", torch.from_numpy(x.std(0)) + 1e-6)
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(x.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU(),
                torch.nn.Linear(32, 2))

        def logits(self, rows):
            return self.layers((rows - self.mean) / self.std)

        def forward(self, rows):
            return torch.softmax(self.logits(rows), dim=1)

    model, rows, labels = Network(), torch.from_numpy(x), torch.from_numpy(y)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=1e-4)
    for _ in range(600):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model.logits(rows), labels).backward()
        optimiser.step()
    model.eval()
    # The first dimension stays open: so many rows as wait together. One file: the weights are part of it.
    program = torch.onnx.export(
        model, (rows[:2],), dynamo=True, input_names=["X"], output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("N")},), opset_version=18)

    def says(some):
        with torch.no_grad():
            return model(torch.from_numpy(some)).numpy()

    return "A PyTorch network of two hidden layers", program.model_proto.SerializeToString(), says


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


def main(fit, table, active, out):
    card = tomllib.loads((Path(active) / "model.toml").read_text())
    known = card["input"]["tag"]
    if card["input"]["layout"] != "latest" or card["input"].get("normalise", "none") != "none":
        sys.exit("this script writes candidates for cards with layout `latest` and raw units")
    x, y = read(table, [tag["name"] for tag in known])
    a, rest, ya, y_rest = train_test_split(x, y, test_size=0.4, stratify=y, random_state=1)
    b, test, yb, yt = train_test_split(rest, y_rest, test_size=0.5, stratify=y_rest, random_state=1)
    what, onnx, says = fit(a, ya)
    limit = threshold(says(b)[:, 1], yb)

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(onnx)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    p = session.run(["probabilities"], {"X": test})[0]
    difference = float(np.abs(p - says(test)).max())
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
        f'description = "{what}, on our own rows, by tools/candidate.py."', "",
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
    arguments = [argument for argument in sys.argv[1:] if argument != "--pytorch"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    main(network if "--pytorch" in sys.argv else trees, *arguments)

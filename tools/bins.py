"""Bins of training data for the model cards: what drift is measured against.

The training scripts call `bins`. For a card that was written without:

    .venv-train/bin/python tools/bins.py models/machine-failure/1.1.0/model.toml PATH/ai4i2020.csv
    .venv-train/bin/python tools/bins.py models/process-anomaly/1.0.0/model.toml FOLDER   (of d00.dat)
    .venv-train/bin/python tools/bins.py models/gearbox-vibration/1.0.0/model.toml FOLDER
"""

import importlib.util
import json
import sys
import tomllib
from pathlib import Path

import numpy as np

BINS = 10


def bins(values):
    """`edges` at the deciles, without repetitions, and the share of the values in each bin, as the card has them."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    edges = np.unique([float(f"{edge:.6g}") for edge in np.quantile(values, np.arange(1, BINS) / BINS, method="nearest")])
    edges = edges[(edges > values.min()) & (edges <= values.max())]
    if len(edges) == 0:
        return {}
    shares = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1) / len(values)
    return {"bins": {"edges": edges.tolist(), "shares": [round(share, 6) for share in shares.tolist()]}}


def training_data(card, source):
    """[rows, tags], read by the model's own training script."""
    spec = importlib.util.spec_from_file_location("train", card.parents[1] / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    match tomllib.loads(card.read_text())["name"]:
        case "machine-failure":
            x, y, _ = train.load(source)
            rows, _ = train.train_test_split(np.arange(len(y)), test_size=2000, stratify=y, random_state=train.SEED)
            return x[rows]
        case "process-anomaly":
            return train.read(source, "d00")
        case "gearbox-vibration":
            return np.concatenate([train.read(source, f"{s}30hz{load}") for s in train.STATES for load in train.LOADS])
        case name:
            sys.exit(f"no way is known to the training data of {name}")


def main():
    card, source = Path(sys.argv[1]).resolve(), sys.argv[2]
    x = training_data(card, source)
    lines, tag = [], -1
    in_tag = False
    for line in card.read_text().splitlines():
        if in_tag and not line.strip():
            found = bins(x[:, tag]).get("bins")
            if found:
                lines += ["", "[input.tag.bins]", *(f"{key} = {json.dumps(value)}" for key, value in found.items())]
            in_tag = False
        if line == "[[input.tag]]":
            tag, in_tag = tag + 1, True
        assert line != "[input.tag.bins]", "the card has its bins"
        lines.append(line)
    card.write_text("\n".join(lines) + "\n")
    assert tag + 1 == x.shape[1], "the card has other tags"
    tomllib.loads(card.read_text())


if __name__ == "__main__":
    main()

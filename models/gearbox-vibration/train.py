"""Trains gearbox-vibration on the SpectraQuest gearbox recordings and measures it on a load not seen.

    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/gearbox-vibration/train.py PATH/gearbox [FOLDER]

PATH/gearbox holds h30hz0.csv, b30hz0.csv, h30hz90.csv and b30hz90.csv (columns a1 to a4; OpenEI, "Gearbox
fault diagnosis data"), as they are or gzipped. Writes 1.0.0/model.onnx, model.toml, golden.json and
background.json, and figures.json. With FOLDER it writes, for `andon evaluate`, only the recordings of each load as
CSV and the two models that have seen one load alone; what ships stays as it is.

256 rows of four channels. In the graph: each channel's spectrum (Hann), the logarithm of the share of its
power in 16 equal bands, logistic regression. Shares, not powers: a gain or a load that raises
all of a channel changes nothing.
"""

import csv
import gzip
import os
import sys
from pathlib import Path

# One thread: sums in one order, so that a rerun gives the same bytes.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from onnx import helper
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import bins  # noqa: E402
import modelkit  # noqa: E402

OUT = HERE / "1.0.0"
TAGS = ["a1", "a2", "a3", "a4"]
ROWS, BANDS, LOADS = 256, 16, [0, 90]
STATES = ["h", "b"]


def read(folder, name):
    plain = Path(folder) / f"{name}.csv"
    with (open(plain) if plain.exists() else gzip.open(f"{plain}.gz", "rt")) as f:
        return np.loadtxt(f, delimiter=",", skiprows=1)


def windows(x):
    """[windows, tags, 256], one after the other without overlap."""
    n = len(x) // ROWS
    return x[:n * ROWS].reshape(n, ROWS, len(TAGS)).transpose(0, 2, 1)


def transform():
    """Rows to cosines and sines of a mean-free, Hann-weighted window; and those to bands."""
    t = np.arange(ROWS)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * t / ROWS)
    bins = np.arange(1, ROWS // 2)
    angle = 2 * np.pi * np.outer(t, bins) / ROWS
    basis = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * hann[:, None]
    # Taking the mean away first is linear too.
    basis -= basis.mean(0)
    edges = np.linspace(1, ROWS // 2, BANDS + 1).astype(int)
    in_band = np.array([(bins >= a) & (bins < b) for a, b in zip(edges[:-1], edges[1:])]).T
    return basis.astype(np.float32), np.concatenate([in_band, in_band]).astype(np.float32)


BASIS, IN_BAND = transform()


def features(w):
    """`w` is normalised; [windows, tags * bands]"""
    power = (w.astype(np.float32) @ BASIS) ** 2 @ IN_BAND + np.float32(1e-12)
    return np.log(power / power.sum(2, keepdims=True)).reshape(len(w), -1)


class Model:
    def __init__(self, recordings):
        rows = np.concatenate(list(recordings.values()))
        self.mean, self.std = rows.mean(0).round(6), rows.std(0).round(6)
        self.low, self.high = rows.min(0), rows.max(0)
        f = {k: features(self.frame(x)) for k, x in recordings.items()}
        x = np.concatenate(list(f.values()))
        y = np.concatenate([np.full(len(v), k[0] == "b") for k, v in f.items()])
        self.centre, self.spread = x.mean(0), x.std(0)
        fitted = LogisticRegression(C=0.01, max_iter=1000).fit((x - self.centre) / self.spread, y)
        self.weight = fitted.coef_[0] / self.spread
        self.bias = float(fitted.intercept_[0] - self.centre @ self.weight)

    def frame(self, x):
        return ((windows(x) - self.mean[:, None]) * (1.0 / self.std)[:, None]).astype(np.float32)

    def answer(self, x):
        return 1 / (1 + np.exp(-(features(self.frame(x)).astype(np.float64) @ self.weight + self.bias)))


def export(model, path):
    node = helper.make_node
    nodes = [
        node("MatMul", ["input", "basis"], ["spectrum"]),
        node("Mul", ["spectrum", "spectrum"], ["squared"]),
        node("MatMul", ["squared", "in_band"], ["band_powers"]),
        # A dead channel has no spectrum, and no NaN either.
        node("Add", ["band_powers", "least"], ["powers"]),
        node("ReduceSum", ["powers", "bands"], ["power"], keepdims=1),
        node("Div", ["powers", "power"], ["shares"]),
        node("Log", ["shares"], ["log_shares"]),
        node("Flatten", ["log_shares"], ["features"]),
        node("Gemm", ["features", "weight", "bias"], ["logit"]),
        node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants = {"basis": BASIS, "in_band": IN_BAND, "least": np.array(1e-12, np.float32),
                 "bands": np.array([2], np.int64), "weight": model.weight[:, None].astype(np.float32),
                 "bias": np.array([model.bias], np.float32)}
    modelkit.save_graph(path, "gearbox-vibration", nodes, [("input", ["N", len(TAGS), ROWS])],
                        [("probability", ["N", 1])], constants, "Broken tooth, from the spectra of four channels")


def figures(model, recordings):
    p = np.concatenate([model.answer(x) for x in recordings.values()])
    y = np.concatenate([np.full(len(x) // ROWS, k[0] == "b") for k, x in recordings.items()])
    return {"windows": len(y), "accuracy": float(((p >= 0.5) == y).mean()), "roc_auc": float(roc_auc_score(y, p)),
            "false_alarms": int(((p >= 0.5) & ~y).sum()), "missed": int(((p < 0.5) & y).sum()),
            "highest_healthy": float(p[~y].max()), "lowest_broken": float(p[y].min())}


def load(folder):
    return {(state, load): read(folder, f"{state}30hz{load}") for state in STATES for load in LOADS}


def one_load(recordings, load):
    return {k: x for k, x in recordings.items() if k[1] == load}


def write_for_evaluate(folder, out):
    recordings = load(folder)
    for seen in LOADS:
        of_one = one_load(recordings, seen)
        with open(Path(out) / f"gearbox-load-{seen}.csv", "w", newline="") as f:
            rows = csv.writer(f)
            rows.writerow(["recording", *TAGS, "label"])
            for (state, _), x in of_one.items():
                rows.writerows([state, *map(float, row), STATES.index(state)] for row in x)
        model = Model(of_one)
        place = Path(out) / f"gearbox-seen-{seen}" / "1.0.0"
        place.mkdir(parents=True, exist_ok=True)
        export(model, place / "model.onnx")
        golden = made_up()
        answers = modelkit.session(place / "model.onnx").run(["probability"], {"input": golden})[0]
        modelkit.write_golden(place / "golden.json", golden, answers)
        modelkit.write_card(place / "model.toml", [f"Has seen load {seen} alone. Written by train.py."], {
            **card(model, np.concatenate(list(of_one.values()))), "name": f"gearbox-seen-{seen}",
            "sha256": modelkit.sha256(place / "model.onnx"), "reference": {"golden": "golden.json"}})


def main(folder):
    recordings = load(folder)
    at = lambda load: one_load(recordings, load)
    unseen = {f"trained_at_{a}_tested_at_{b}": figures(Model(at(a)), at(b)) for a, b in ((0, 90), (90, 0))}

    # What ships has seen both loads.
    model = Model(recordings)
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"
    export(model, path)
    session = modelkit.session(path)
    run = lambda w: session.run(["probability"], {"input": np.ascontiguousarray(w)})[0]
    difference = max(float(np.abs(run(model.frame(x))[:, 0] - model.answer(x)).max()) for x in recordings.values())
    assert difference < 1e-4, difference
    golden = made_up()
    modelkit.write_golden(OUT / "golden.json", golden, run(golden))
    ordinary = healthy(model, recordings)
    assert run(ordinary).max() < 0.3, run(ordinary)
    modelkit.write_background(OUT / "background.json", ordinary)
    result = {"unseen_load": unseen, "shipped_on_its_training_rows": figures(model, recordings),
              "onnx_against_numpy_max_difference": difference, "sha256": modelkit.sha256(path)}
    modelkit.write_json(HERE / "figures.json", result)
    write_card(result, model, np.concatenate(list(recordings.values())))
    print((HERE / "figures.json").read_text())


def write_card(result, model, rows):
    modelkit.write_card(OUT / "model.toml", ["Written by ../train.py. What the figures mean: README.md."], {
        **card(model, rows), "sha256": result["sha256"],
        "evaluation": {
            "data": "SpectraQuest gearbox, healthy and broken tooth, loads 0 and 90 %, one recording each",
            "protocol": "the same recipe trained at one load and tested on all windows of the other; "
                        "the shipped model has seen both",
            **{k: round(v["accuracy"], 4) for k, v in result["unseen_load"].items()}},
    })


def card(model, rows):
    """All but the figures; the order of the keys is that of the file."""
    return {
        "name": "gearbox-vibration", "version": "1.0.0", "sha256": "", "task": "classification",
        "licence": "MIT OR Apache-2.0; trained on the SpectraQuest gearbox data (CC BY-SA)",
        "description": "Has the gearbox a broken tooth? From 256 rows of four vibration channels, 30 Hz drive speed.",
        "input": {"tensor": "input", "layout": "series", "order": "channels_first", "normalise": "standard",
                  "tag": [{"name": t, "mean": float(model.mean[i]), "std": float(model.std[i]),
                           "min": float(model.low[i]), "max": float(model.high[i]), **bins.bins(rows[:, i])} for i, t in enumerate(TAGS)]},
        "window": {"length": ROWS, "hop": ROWS, "fill": "last", "coverage": 0.95},
        "output": {"tensor": "probability", "kind": "probability", "labels": ["healthy", "broken tooth"],
                   "positive": "broken tooth"},
        "decision": {"raise": 0.5, "clear": 0.3, "direction": "above", "n": 3, "m": 4, "severity": 700,
                     "text": "{asset} sounds like a broken tooth: {score}, limit {threshold}, mostly {tag}"},
        "evaluation": {},
        "reference": {"golden": "golden.json", "background": "background.json"},
        "runtime": {"devices": ["cpu"], "threads": 1},
    }


def healthy(model, recordings):
    """What a healthy gearbox sounds like, and no recording: its mean spectra with phases of our own."""
    frames = [np.fft.rfft(model.frame(x)) for k, x in recordings.items() if k[0] == "h"]
    amplitude = np.stack([np.sqrt((np.abs(f) ** 2).mean(0)) for f in frames] * 2)
    phase = np.random.default_rng(8).uniform(0, 2 * np.pi, amplitude.shape)
    return np.fft.irfft(amplitude * np.exp(1j * phase), ROWS).round(3).astype(np.float32)


def made_up():
    """Four frames that are no recording: white, low, high, and a tone in noise."""
    white = np.random.default_rng(7).standard_normal((4, 4, 257))
    frames = np.stack([
        white[0, :, 1:],
        np.stack([np.convolve(x, np.ones(8) / 3, "same")[1:] for x in white[1]]),
        np.diff(white[2]),
        white[3, :, 1:] / 2 + np.sin(np.arange(256) * 0.6),
    ])
    return frames.round(4).astype(np.float32)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_for_evaluate(*sys.argv[1:])
    elif folder := sys.argv[1] if len(sys.argv) == 2 else os.environ.get("GEARBOX"):
        main(folder)
    else:
        sys.exit(__doc__)

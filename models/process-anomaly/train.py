"""Trains process-anomaly on normal running of the Tennessee Eastman process and measures it on faults.

    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/process-anomaly/train.py PATH/tep [FOLDER]

PATH/tep holds d00.dat, d00_te.dat, d01_te.dat and so on (Braatz's set, Russell, Chiang, Braatz 2000),
as they are or gzipped. Writes 1.0.0/model.onnx, model.toml and golden.json, and figures.json.
With FOLDER nothing is trained: the test files of the promised faults go there as CSV for `andon evaluate`.

Principal components of the 52 variables, fitted on the 500 rows of d00. Four rows are averaged, and
T2 (inside the plane of the components) and Q (outside it) are weighed so that each makes half of an
ordinary score. Both are one quadratic form, z' R z; the output is the input less sqrt(R) z, so that
Andon's score of a `reconstruction` is that form in units of the limit, and a tag's share its own part.
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

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import bins  # noqa: E402
import modelkit  # noqa: E402

OUT = HERE / "1.0.0"
TAGS = [f"xmeas_{i}" for i in range(1, 42)] + [f"xmv_{i}" for i in range(1, 12)]
# Chosen by the score's spread in health and on the training files of the faults.
ROWS, VARIANCE, BLOCKS = 4, 0.9, 5
FAULT_STARTS = 160
PROMISED = [1, 2, 6, 7]


def read(folder, name):
    plain = Path(folder) / f"{name}.dat"
    with (open(plain) if plain.exists() else gzip.open(f"{plain}.gz", "rt")) as f:
        table = np.loadtxt(f)
    # d00.dat lies on its side.
    return table.T if table.shape[0] == len(TAGS) else table


def fit(x):
    """Mean, deviation and R."""
    mean, std = x.mean(0).round(6), x.std(0).round(8)
    z = (x - mean) / std
    values, vectors = np.linalg.eigh(np.cov(z.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(values) / values.sum(), VARIANCE)) + 1
    plane = vectors[:, :kept]
    outside = np.eye(len(TAGS)) - plane @ plane.T
    ordinary_q = ((z @ outside) ** 2).sum(1).mean()
    return mean, std, outside / (2 * ordinary_q) + plane @ np.diag(1 / values[:kept]) @ plane.T / (2 * kept), kept


def windows(x, mean, std):
    """[rows - 3, tags, 4], as the daemon hands them over."""
    z = ((x - mean) * (1.0 / std)).astype(np.float32)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(z, ROWS, axis=0))


def form(w, r):
    z = w.astype(np.float64).sum(2) / np.sqrt(ROWS)
    return np.einsum("ij,jk,ik->i", z, r, z)


def root(r):
    values, vectors = np.linalg.eigh(r)
    return vectors @ np.diag(np.sqrt(values)) @ vectors.T


def export(r, limit, path):
    # Every row of the window carries the same surprise, so that the mean over cells is the form.
    weight = root(r) * np.sqrt(len(TAGS) / (limit * ROWS))
    weight = np.repeat(weight[:, :, None], ROWS, axis=2).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["surprise"], kernel_shape=[ROWS]),
        helper.make_node("Sub", ["input", "surprise"], ["reconstruction"]),
    ]
    shape = ["N", len(TAGS), ROWS]
    modelkit.save_graph(path, "process-anomaly", nodes, [("input", shape)], [("reconstruction", shape)],
                        {"weight": weight}, "T2 and Q of the Tennessee Eastman process")


def write_test(folder, out):
    with open(Path(out) / "tep.csv", "w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["run", *TAGS, "label"])
        for number in [0, *PROMISED]:
            run = f"d{number:02d}_te"
            rows.writerows([run, *map(float, x), int(number > 0 and at >= FAULT_STARTS)]
                           for at, x in enumerate(read(folder, run)))


def main(folder):
    healthy = read(folder, "d00")
    mean, std, r, kept = fit(healthy)
    # The limit: the highest score of rows that the fit had not seen, block by block.
    unseen = []
    for block in np.array_split(np.arange(len(healthy)), BLOCKS):
        m, s, rest, _ = fit(np.delete(healthy, block, axis=0))
        unseen.append(form(windows(healthy[block], m, s), rest))
    limit = float(np.concatenate(unseen).max())
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"
    export(r, limit, path)
    session = modelkit.session(path)

    def parts(x):
        w = windows(x, mean, std)
        return ((w.astype(np.float64) - session.run(None, {"input": w})[0]) ** 2).mean(2)

    difference = float(np.abs(parts(healthy).mean(1) - form(windows(healthy, mean, std), r) / limit).max())
    assert difference < 1e-4, difference

    quiet = read(folder, "d00_te")
    before, faults, blame = [parts(quiet).mean(1)], {}, {}
    for number in range(1, 13):
        x = read(folder, f"d{number:02d}_te")
        by_tag = parts(x)
        score = by_tag.mean(1)
        # score[i] ends at row i + ROWS - 1.
        start = FAULT_STARTS - ROWS + 1
        alarm = score[start:] >= 1
        faults[number] = {"found": float(alarm.mean()), "rows": len(alarm),
                          "delay_minutes": int(np.argmax(alarm)) * 3 if alarm.any() else None}
        before.append(score[:start])
        if number in PROMISED:
            order = by_tag[start:][alarm].mean(0).argsort()[::-1]
            blame[number] = [TAGS[i] for i in order[:3]]
    calm = np.concatenate(before)
    w = np.concatenate([windows(quiet, mean, std)[[0, 500]],
                        windows(read(folder, "d01_te"), mean, std)[[300]], windows(read(folder, "d06_te"), mean, std)[[200]]])
    modelkit.write_golden(OUT / "golden.json", w, session.run(None, {"input": w})[0])
    result = {
        "components": kept, "limit_of_the_form": limit, "training_rows": len(healthy),
        "false_alarm_share_d00_te": float((before[0] >= 1).mean()), "rows_d00_te": len(before[0]),
        "false_alarm_share_with_rows_before_faults": float((calm >= 1).mean()), "rows_with_those": len(calm),
        "faults": {str(n): f for n, f in faults.items()},
        "promised_faults_found": float(np.mean([faults[n]["found"] for n in PROMISED])),
        "blamed_most": {str(n): b for n, b in blame.items()},
        "onnx_against_numpy_max_difference": difference, "sha256": modelkit.sha256(path),
    }
    modelkit.write_json(HERE / "figures.json", result)
    write_card(result, healthy, mean, std)
    print((HERE / "figures.json").read_text())


def write_card(result, x, mean, std):
    modelkit.write_card(OUT / "model.toml", ["Written by ../train.py. What the figures mean: README.md."], {
        "name": "process-anomaly", "version": "1.0.0", "sha256": result["sha256"], "task": "anomaly",
        "licence": "MIT OR Apache-2.0; trained on the Tennessee Eastman data of Russell, Chiang and Braatz "
                   "(University of Illinois, NCSA licence)",
        "description": "Does the Tennessee Eastman process run as it normally does? T2 and Q of four rows; 1 is the limit.",
        "input": {"tensor": "input", "layout": "series", "order": "channels_first", "normalise": "standard",
                  "tag": [{"name": t, "mean": float(mean[i]), "std": float(std[i]), "min": float(x[:, i].min()),
                           "max": float(x[:, i].max()), **bins.bins(x[:, i])} for i, t in enumerate(TAGS)]},
        "window": {"length": ROWS, "hop": 1, "fill": "none", "coverage": 0.8},
        "output": {"tensor": "reconstruction", "kind": "reconstruction"},
        "decision": {"raise": 1.0, "clear": 0.8, "direction": "above", "n": 1, "m": 1, "severity": 700,
                     "text": "{asset} does not run as normal: {score}, limit {threshold}, mostly {tag}"},
        "evaluation": {
            "data": "Tennessee Eastman, Braatz's test files d00_te to d12_te, none of them used in training",
            "protocol": "share of windows that end in a row with the fault (161 to 960) at or above the limit; false "
                        "alarms: all of d00_te. Limit: highest score of d00 out of fold",
            "false_alarm_share": round(result["false_alarm_share_d00_te"], 4),
            **{f"fault_{n}_found": round(result["faults"][str(n)]["found"], 4) for n in PROMISED}},
        "reference": {"golden": "golden.json"},
        "runtime": {"devices": ["cpu"], "threads": 1},
    })


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_test(*sys.argv[1:])
    elif folder := sys.argv[1] if len(sys.argv) == 2 else os.environ.get("TEP"):
        main(folder)
    else:
        sys.exit(__doc__)

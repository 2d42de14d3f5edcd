"""Trains turbofan-rul from the C-MAPSS files and measures it.

    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/turbofan-rul/train.py PATH/cmapss [FOLDER]

PATH/cmapss holds train_, test_ and RUL_ of FD001 and FD002 (NASA), as text or gzipped. Writes 1.0.0/model.onnx,
model.toml, golden.json and background.json, and figures.json. With FOLDER the test rows go there as CSV for
`andon evaluate`. The test files are read at the very end, once all is chosen and fitted.

The whole history of an engine, up to 384 cycles. In the graph: each sensor normalised by its operating
condition (the nearest of six), a linear health index, means of both over several stretches of the
past, and on those boosted trees and two small networks, averaged.
"""

import csv
import gzip
import os
import sys
from pathlib import Path

# One thread: sums in one order, so that a rerun gives the same bytes.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import warnings  # noqa: E402

import numpy as np  # noqa: E402
from onnx import helper
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import modelkit  # noqa: E402

warnings.simplefilter("ignore", ConvergenceWarning)
OUT = HERE / "1.0.0"
SETS = ["FD001", "FD002"]
SENSORS = [2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21]
NAMES = ["t24", "t30", "t50", "p30", "nf", "nc", "ps30", "phi", "nrf", "nrc", "bpr", "htbleed", "w31", "w32"]
UNITS = ["degR", "degR", "degR", "psia", "rpm", "rpm", "psia", "", "rpm", "rpm", "", "", "lbm/s", "lbm/s"]
TAGS = ["op1", "op2", "op3", *NAMES, "cycle"]
ROWS, EARLY = 384, 20
OP_SCALE = np.array([10.0, 0.3, 10.0])
# Weights by how many cycles ago: means of the last so many, exponential ones, and all.
STRETCHES = [5, 10, 20, 30, 60]
DECAYS = [0.02, 0.05, 0.1]
# Target: capped at the first, rows beyond the second left out.
TARGETS = [(125, 1000), (130, 180), (145, 160)]
CUTS = (7, 145)


def weights():
    """[ago, weight]; the last column is all of the past."""
    ago = np.arange(ROWS)
    return np.stack([*(ago < n for n in STRETCHES), *((1 - d) ** ago for d in DECAYS), ago >= 0], 1).astype(np.float64)


WEIGHTS = weights()


def read(folder, name):
    plain = Path(folder) / f"{name}.txt"
    with (open(plain) if plain.exists() else gzip.open(f"{plain}.gz", "rt")) as f:
        return np.loadtxt(f, ndmin=2)


class Engines:
    """One after the other; `raw` in the order of TAGS."""

    def __init__(self, folder, kind, sets=SETS):
        tables = {name: read(folder, f"{kind}_{name}") for name in sets}
        rows = np.concatenate(list(tables.values()))
        self.group = np.concatenate([[f"{n}-{int(u):03}" for u in t[:, 0]] for n, t in tables.items()])
        self.names = list(dict.fromkeys(self.group))
        self.raw = np.column_stack([rows[:, 2:5], rows[:, [4 + s for s in SENSORS]], rows[:, 1]])
        self.spans = [np.flatnonzero(self.group == n) for n in self.names]
        left = [0] * len(self.names)
        if kind == "test":
            left = [int(v) for n in sets for v in read(folder, f"RUL_{n}")[:, 0]]
        self.rul = np.empty(len(rows))
        for span, beyond in zip(self.spans, left, strict=True):
            self.rul[span] = np.arange(len(span))[::-1] + beyond
        self.last = np.array([span[-1] for span in self.spans])


def past(values, spans):
    """Weighted means over the past of each row, [rows, columns * weights], and the mean of the first EARLY rows."""
    means = np.empty((len(values), values.shape[1], WEIGHTS.shape[1]))
    early = np.empty_like(values)
    for span in spans:
        v, n = values[span], len(span)
        lag = np.subtract.outer(np.arange(n), np.arange(n))
        for k in range(WEIGHTS.shape[1]):
            w = np.where(lag >= 0, WEIGHTS[np.abs(lag), k], 0)
            means[span, :, k] = w @ v / w.sum(1, keepdims=True)
        sums = np.cumsum(v, 0)
        at = np.minimum(np.arange(n), EARLY - 1)
        early[span] = sums[at] / (at + 1)[:, None]
    return means, early


class Model:
    def __init__(self, engines, rows, cap, most, seeds=(0, 1)):
        """Fitted on `rows` alone, a mask."""
        ops = engines.raw[:, :3] / OP_SCALE
        self.centres = KMeans(6, n_init=3, random_state=0).fit(ops[rows]).cluster_centers_
        condition = self.condition(engines.raw)
        sensors = engines.raw[:, 3:-1]
        self.mean = np.array([sensors[rows & (condition == c)].mean(0) for c in range(6)])
        self.std = np.array([sensors[rows & (condition == c)].std(0) for c in range(6)]) + 1e-6
        z = self.normalised(engines.raw)
        target = np.minimum(engines.rul, cap)
        ridge = Ridge(1.0).fit(z[rows], target[rows])
        self.index = ridge.coef_ / 20
        f = self.features(engines)
        chosen = np.flatnonzero(rows & (engines.rul <= most))
        chosen = np.random.default_rng(0).choice(chosen, min(len(chosen), 20000), replace=False)
        x, y = f[chosen].astype(np.float32), target[chosen]
        self.trees = [HistGradientBoostingRegressor(
            max_iter=250, learning_rate=0.04, max_leaf_nodes=12, min_samples_leaf=60, l2_regularization=5,
            max_features=0.3, early_stopping=False, random_state=s).fit(x, y) for s in seeds]
        self.scaler = StandardScaler().fit(x)
        self.networks = [MLPRegressor(hidden_layer_sizes=(64, 32), alpha=1.0, max_iter=12, batch_size=256,
                                      random_state=s).fit(self.scaler.transform(x), y / 100) for s in seeds]

    def condition(self, raw):
        return ((raw[:, None, :3] / OP_SCALE - self.centres) ** 2).sum(2).argmin(1)

    def normalised(self, raw):
        c = self.condition(raw)
        return (raw[:, 3:-1] - self.mean[c]) / self.std[c]

    def features(self, engines):
        z = self.normalised(engines.raw)
        means, early = past(np.column_stack([z, z @ self.index]), engines.spans)
        return np.column_stack([means.reshape(len(z), -1), early, means[:, -1] - early[:, -1:], engines.raw[:, -1]])

    def parts(self, features):
        x = features.astype(np.float32)
        return (np.mean([m.predict(x) for m in self.trees], 0),
                np.mean([m.predict(self.scaler.transform(x)) * 100 for m in self.networks], 0))

    def answer(self, features):
        return np.maximum(np.mean(self.parts(features), 0), 0)


def figures(answer, truth):
    d = answer - truth
    # A late answer costs an engine in flight; an early one costs a part of its life.
    cost = np.where(d < 0, -d, 3 * d)
    return {"engines": len(d), "rmse": float(np.sqrt((d**2).mean())), "mae": float(np.abs(d).mean()),
            "bias": float(d.mean()), "cmapss": float(np.where(d < 0, np.expm1(-d / 13), np.expm1(d / 10)).sum()),
            "cost_late_three_times": float(cost.mean())}


def cross_validate(engines):
    """Engines in five folds; the ones left out are cut where the test sets are, ten times each."""
    rng = np.random.default_rng(0)
    number = {n: k % 5 for k, n in enumerate(rng.permutation(engines.names))}
    fold = np.array([number[n] for n in engines.group])
    usable = (engines.rul >= CUTS[0]) & (engines.rul <= CUTS[1]) & (engines.raw[:, -1] >= 21)
    cuts = np.concatenate([rng.choice(s[usable[s]], min(10, usable[s].sum()), replace=False) for s in engines.spans])
    result = {}
    for cap, most in TARGETS:
        trees, networks = np.zeros(len(fold)), np.zeros(len(fold))
        for k in range(5):
            asked = cuts[fold[cuts] == k]
            model = Model(engines, fold != k, cap, most, seeds=(0,))
            trees[asked], networks[asked] = model.parts(model.features(engines)[asked])
        for name, p in (("trees", trees), ("networks", networks), ("both", (trees + networks) / 2)):
            result[f"{name}, cap {cap}, rows up to {most}"] = {
                n: figures(p[at], engines.rul[at])
                for n in SETS for at in [cuts[np.char.startswith(engines.group[cuts], n)]]}
        print({k: {n: round(v["rmse"], 2) for n, v in r.items()} for k, r in result.items()}, flush=True)
    return result


def export(model, missing, path):
    """`missing`: what the daemon writes into the cycle of a row that is not there."""
    node, sensors = helper.make_node, len(SENSORS)
    w = WEIGHTS[::-1].astype(np.float32)
    trees, networks = [], []
    constants = {
        "op_scale": (1 / OP_SCALE).astype(np.float32), "missing": np.array([missing], np.float32),
        "small": np.array([1e-3], np.float32), "early_to": np.array([EARLY + 0.5], np.float32),
        "sizes": np.array([3, sensors, 1], np.int64), "centres": (2 * model.centres.T).astype(np.float32),
        "centres_squared": (model.centres**2).sum(1).astype(np.float32), "means": model.mean.astype(np.float32),
        "scales": (1 / model.std).astype(np.float32), "index": model.index[:, None].astype(np.float32),
        "weights": w, "one": np.array([1], np.float32), "none": np.array([0], np.float32),
        "last_from": np.array([ROWS - 1], np.int64), "last_to": np.array([ROWS], np.int64),
        "axis1": np.array([1], np.int64), "axis2": np.array([2], np.int64),
        "index_from": np.array([sensors], np.int64), "index_to": np.array([sensors + 1], np.int64),
        "answers": np.array([1 / (2 * len(model.trees))], np.float32),
        "hundred": np.array([100 / (2 * len(model.networks))], np.float32),
        "scaler_mean": model.scaler.mean_.astype(np.float32),
        "scaler_scale": (1 / model.scaler.scale_).astype(np.float32),
    }
    nodes = [
        node("Split", ["input", "sizes"], ["ops", "sensors", "cycle"], axis=2),
        # Which rows are there: the card's mean of `cycle` is no whole number.
        node("Sub", ["cycle", "missing"], ["off"]), node("Abs", ["off"], ["distance"]),
        node("Greater", ["distance", "small"], ["is_there"]), node("Cast", ["is_there"], ["mask"], to=1),
        # The nearest centre.
        node("Mul", ["ops", "op_scale"], ["place"]), node("MatMul", ["place", "centres"], ["product"]),
        node("Sub", ["centres_squared", "product"], ["distances"]),
        node("ArgMin", ["distances"], ["condition"], axis=2, keepdims=0),
        node("Gather", ["means", "condition"], ["mean"]), node("Gather", ["scales", "condition"], ["scale"]),
        node("Sub", ["sensors", "mean"], ["centred"]), node("Mul", ["centred", "scale"], ["z"]),
        node("MatMul", ["z", "index"], ["health"]), node("Concat", ["z", "health"], ["signals"], axis=2),
        node("Mul", ["signals", "mask"], ["masked"]),
        # Weighted means over the past.
        node("Transpose", ["masked"], ["by_tag"], perm=[0, 2, 1]), node("MatMul", ["by_tag", "weights"], ["sums"]),
        node("Transpose", ["mask"], ["mask_row"], perm=[0, 2, 1]), node("MatMul", ["mask_row", "weights"], ["held"]),
        node("Max", ["held", "small"], ["weight"]), node("Div", ["sums", "weight"], ["means_past"]),
        node("Less", ["cycle", "early_to"], ["is_early"]), node("Cast", ["is_early"], ["early_rows"], to=1),
        node("Mul", ["early_rows", "mask"], ["early_mask"]), node("Mul", ["signals", "early_mask"], ["early_signals"]),
        node("ReduceSum", ["early_signals", "axis1"], ["early_sum"], keepdims=0),
        node("ReduceSum", ["early_mask", "axis1"], ["early_count"], keepdims=0),
        node("Max", ["early_count", "one"], ["early_most"]), node("Div", ["early_sum", "early_most"], ["early"]),
        node("Slice", ["means_past", "index_from", "index_to", "axis1"], ["health_past"]),
        node("Flatten", ["health_past"], ["health_flat"]),
        node("Slice", ["early", "index_from", "index_to", "axis1"], ["health_early"]),
        node("Sub", ["health_flat", "health_early"], ["decline"]), node("Flatten", ["means_past"], ["flat"]),
        node("Slice", ["cycle", "last_from", "last_to", "axis1"], ["cycle_last"]),
        node("Flatten", ["cycle_last"], ["age"]),
        node("Concat", ["flat", "early", "decline", "age"], ["features"], axis=1),
        node("Sub", ["features", "scaler_mean"], ["features_centred"]),
        node("Mul", ["features_centred", "scaler_scale"], ["features_scaled"]),
    ]
    for k, boosted in enumerate(model.trees):
        nodes.append(modelkit.histogram_trees_node(boosted, "features", f"tree_{k}"))
        trees.append(f"tree_{k}")
    for k, network in enumerate(model.networks):
        previous = "features_scaled"
        for layer, (weight, bias) in enumerate(zip(network.coefs_, network.intercepts_)):
            name = f"network_{k}_{layer}"
            constants[f"{name}_w"], constants[f"{name}_b"] = weight.astype(np.float32), bias.astype(np.float32)
            nodes.append(node("Gemm", [previous, f"{name}_w", f"{name}_b"], [name]))
            previous = name
            if layer + 1 < len(network.coefs_):
                nodes.append(node("Relu", [name], [f"{name}_relu"]))
                previous = f"{name}_relu"
        networks.append(previous)
    nodes += [
        node("Sum", trees, ["trees_sum"]), node("Mul", ["trees_sum", "answers"], ["trees_part"]),
        node("Sum", networks, ["networks_sum"]), node("Mul", ["networks_sum", "hundred"], ["networks_part"]),
        node("Add", ["trees_part", "networks_part"], ["both"]), node("Max", ["both", "none"], ["rul"]),
    ]
    used = {i for n in nodes for i in n.input}
    constants = {k: v for k, v in constants.items() if k in used}
    modelkit.save_graph(path, "turbofan-rul", nodes, [("input", ["N", ROWS, len(TAGS)])], [("rul", ["N", 1])],
                        constants, "Remaining cycles of a turbofan, from its history")


def frames(engines, rows, fill):
    """What the daemon shows the model at these rows, [rows, ROWS, tags]."""
    span_of = {i: s for s in engines.spans for i in s}
    result = np.tile(fill.astype(np.float32), (len(rows), ROWS, 1))
    for k, row in enumerate(rows):
        seen = span_of[row]
        seen = seen[(seen <= row) & (seen > row - ROWS)]
        result[k, ROWS - len(seen):] = engines.raw[seen]
    return result


def made_up(engines, fill, ages):
    """The mean engine of FD001 at these ages: no engine of the data, and an ordinary one."""
    first = [s for n, s in zip(engines.names, engines.spans) if n.startswith("FD001")]
    result = np.tile(fill, (len(ages), ROWS, 1))
    for k, age in enumerate(ages):
        mean = np.mean([engines.raw[s[:age]] for s in first if len(s) >= age], 0).round(3)
        result[k, ROWS - age:] = mean
    return result.astype(np.float32)


def main(folder, csv_folder=None):
    engines = Engines(folder, "train")
    validation = cross_validate(engines)
    mean_rmse = lambda target: np.mean([v["rmse"] for v in validation[f"both, cap {target[0]}, rows up to {target[1]}"].values()])
    cap, most = min(TARGETS, key=mean_rmse)
    model = Model(engines, np.ones(len(engines.rul), bool), cap, most)

    fill = engines.raw.mean(0).round(4)
    fill[-1] = np.floor(fill[-1]) + 0.5
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"
    export(model, fill[-1], path)
    session = modelkit.session(path)
    run = lambda x: np.concatenate([session.run(["rul"], {"input": x[i:i + 32]})[0] for i in range(0, len(x), 32)])
    golden = made_up(engines, fill, [25, 120, 180])
    modelkit.write_golden(OUT / "golden.json", golden, run(golden))
    modelkit.write_background(OUT / "background.json", made_up(engines, fill, [40, 70, 100]))

    test = Engines(folder, "test")
    answer = run(frames(test, test.last, fill))[:, 0].astype(np.float64)
    difference = float(np.abs(answer - model.answer(model.features(test)[test.last])).max())
    of = lambda name: np.array([n.startswith(name) for n in test.names])
    result = {
        "target_cap": cap, "target_rows_up_to": most,
        "test_last_cycle_uncapped": {n: figures(answer[of(n)], test.rul[test.last][of(n)]) for n in SETS},
        "validation_truncated_engines": validation,
        "onnx_against_sklearn_max_difference": difference, "sha256": modelkit.sha256(path),
    }
    modelkit.write_json(HERE / "figures.json", result)
    write_card(result, engines, fill)
    if csv_folder:
        for name in SETS:
            with open(Path(csv_folder) / f"test_{name}.csv", "w", newline="") as f:
                out = csv.writer(f)
                out.writerow(["unit", *TAGS, "rul"])
                for g, row, rul in zip(test.group, test.raw, test.rul):
                    if g.startswith(name):
                        out.writerow([g, *(repr(float(v)) for v in row), int(rul)])
    print((HERE / "figures.json").read_text())


def write_card(result, engines, fill):
    def tag(i):
        column = engines.raw[:, i]
        unit = dict(zip(NAMES, UNITS)).get(TAGS[i], "")
        return {"name": TAGS[i], **({"unit": unit} if unit else {}), "mean": float(fill[i]),
                **{k: round(float(v), 4) for k, v in
                   {"std": column.std(), "min": column.min(), "max": column.max()}.items()}}

    test = result["test_last_cycle_uncapped"]
    modelkit.write_card(OUT / "model.toml", [
        "Written by ../train.py. What the figures mean: README.md.",
        "The mean of `cycle` marks a row that is not there: no engine has flown half a cycle.",
    ], {
        "name": "turbofan-rul", "version": "1.0.0", "sha256": result["sha256"], "task": "regression",
        "licence": "MIT OR Apache-2.0; trained on C-MAPSS FD001 and FD002 (NASA Ames, public domain)",
        "description": "How many cycles has a turbofan left? From one snapshot a cycle since it was new; "
                       "a cycle is an hour of event time here.",
        "input": {"tensor": "input", "layout": "series", "normalise": "none",
                  "tag": [tag(i) for i in range(len(TAGS))]},
        "window": {"length": f"{ROWS}h", "hop": "1h", "period": "1h", "fill": "none", "coverage": 0.02,
                   "staleness": "90m"},
        "output": {"tensor": "rul", "kind": "value", "unit": "cycles", "range": [0.0, 400.0]},
        "decision": {"raise": 30.0, "clear": 40.0, "direction": "below", "n": 2, "m": 3, "severity": 700,
                     "text": "{asset} has about {score} cycles left (limit {threshold}), mostly {tag}"},
        "evaluation": {
            "data": "C-MAPSS FD001 and FD002, simulated; 360 engines to train, 100 and 259 to test",
            "protocol": "last cycle of each test engine, uncapped truth; all chosen by five folds of training engines",
            **{f"{k}_{n.lower()}": round(test[n][k], 3) for n in SETS for k in ("rmse", "mae", "cmapss")}},
        "reference": {"golden": "golden.json", "background": "background.json", "tolerance": 1e-4},
        "runtime": {"devices": ["cpu"], "threads": 1, "max_batch": 16},
    })


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])

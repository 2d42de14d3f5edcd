"""Trains turbofan-rul from the C-MAPSS files and measures it.

    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/turbofan-rul/train.py PATH/cmapss [FOLDER]

PATH/cmapss holds train_, test_ and RUL_ of FD001 and FD002 (NASA), as text or gzipped. Writes 1.1.0/model.onnx,
model.toml, golden.json and background.json, and figures.json. The test files are read at the very end, once all
is chosen and fitted. With FOLDER nothing is trained: the test rows go there as CSV for `andon evaluate`.

The whole history of an engine, up to 384 cycles. In the graph: each sensor normalised by its operating
condition (the nearest of six), linear health indices, their levels and differences between stretches of
the past, whether the engine flies under one condition or several, and on those small networks, averaged.
"""

import csv
import gzip
import os
import sys
from pathlib import Path
from typing import NamedTuple

# One thread: sums in one order, so that a rerun gives the same bytes.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from onnx import helper
from sklearn.cluster import KMeans
from sklearn.cross_decomposition import PLSRegression

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import modelkit  # noqa: E402

VERSION = "1.1.0"
OUT = HERE / VERSION
SETS = ["FD001", "FD002"]
SENSORS = [2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21]
NAMES = ["t24", "t30", "t50", "p30", "nf", "nc", "ps30", "phi", "nrf", "nrc", "bpr", "htbleed", "w31", "w32"]
UNITS = ["degR", "degR", "degR", "psia", "rpm", "rpm", "psia", "", "rpm", "rpm", "", "", "lbm/s", "lbm/s"]
TAGS = ["op1", "op2", "op3", *NAMES, "cycle"]
ROWS = 384
# No engine of the data strays so far from its condition's mean (8.4 spreads at most): a cell beyond is as good as missing.
# So is a background's cell in a row of another condition, which keeps an alert's reasons sensible.
FARTHEST_Z = 10
OP_SCALE = np.array([10.0, 0.3, 10.0])
# Of op1 / 10 over the past: about 2.7 under six conditions, 0 under one.
SEVERAL_FROM = 0.5
# Weights by how many cycles ago: means of the last so many, exponential ones, and all.
STRETCHES = [5, 10, 20, 30, 60]
DECAYS = [0.02, 0.05, 0.1]
MEANS = [*(f"m{n}" for n in STRETCHES), *(f"x{d}" for d in DECAYS), "all"]
# Of each index: levels, then differences between stretches of its past.
LEVELS = ["m20", "m60", "all"]
DIFFERENCES = [("m5", "m10"), ("m10", "m20"), ("m20", "m30"), ("m30", "m60"), ("m60", "all"), ("m5", "m20"),
               ("m20", "m60"), ("x0.05", "x0.02"), ("x0.1", "x0.05")]
# Remaining cycles at which the sets are cut: the ranges of the test labels (see the README), and of the rows to learn from.
CUTS = {"FD001": (6, 145), "FD002": (6, 195)}
HISTORY, FEWEST = 21, 8
BATCH, RATE, HIDDEN = 256, 0.002, (64, 32)
# Averaged; fewer in cross-validation, which trains five times as often.
NETWORKS, NETWORKS_IN_FOLDS = 8, 4


class Recipe(NamedTuple):
    indices: int
    epochs: int
    decay: float = 0.1


# The one they started from, and the best of the 15 that were known when the test files were read (docs/models.md).
RECIPES = [Recipe(2, 12), Recipe(3, 24)]


def weights():
    """[ago, weight], in the order of MEANS."""
    ago = np.arange(ROWS)
    return np.stack([*(ago < n for n in STRETCHES), *((1 - d) ** ago for d in DECAYS), ago >= 0], 1).astype(np.float64)


def differences():
    """[mean, number]: what of an index is shown to the networks."""
    result = np.zeros((len(MEANS), len(LEVELS) + len(DIFFERENCES)))
    for k, name in enumerate(LEVELS):
        result[MEANS.index(name), k] = 1
    for k, (one, other) in enumerate(DIFFERENCES, len(LEVELS)):
        result[MEANS.index(one), k], result[MEANS.index(other), k] = 1, -1
    return result


WEIGHTS, SHOWN = weights(), differences()


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
        self.several = several(self)


def past(values, spans):
    """Weighted means over the past of each row, [rows, columns, weights]."""
    means = np.empty((len(values), values.shape[1], WEIGHTS.shape[1]))
    lag = np.subtract.outer(np.arange(ROWS), np.arange(ROWS))
    for k in range(WEIGHTS.shape[1]):
        w = np.where(lag >= 0, WEIGHTS[np.abs(lag), k], 0)
        w /= w.sum(1, keepdims=True)
        for span in spans:
            n = len(span)
            means[span, :, k] = w[:n, :n] @ values[span]
    return means


class Normaliser:
    """Means and spreads of the sensors by operating condition, of `rows` alone (a mask)."""

    def __init__(self, engines, rows):
        ops = engines.raw[:, :3] / OP_SCALE
        self.centres = KMeans(6, n_init=3, random_state=0).fit(ops[rows]).cluster_centers_
        condition, sensors = self.condition(engines.raw), engines.raw[:, 3:-1]
        self.mean = np.array([sensors[rows & (condition == c)].mean(0) for c in range(6)])
        self.std = np.array([sensors[rows & (condition == c)].std(0) for c in range(6)]) + 1e-6

    def condition(self, raw):
        return ((raw[:, None, :3] / OP_SCALE - self.centres) ** 2).sum(2).argmin(1)

    def means(self, engines):
        """Of the normalised sensors, [rows, sensors, weights]."""
        c = self.condition(engines.raw)
        z = (engines.raw[:, 3:-1] - self.mean[c]) / self.std[c]
        assert np.abs(z).max() < FARTHEST_Z
        return past(z, engines.spans)


def several(engines):
    """1 where an engine has flown under more than one condition, as far as its past tells."""
    place = engines.raw[:, :1] / OP_SCALE[0]
    mean, square = past(np.column_stack([place, place**2]), engines.spans)[:, :, -1].T
    return (square - mean**2 > SEVERAL_FROM).astype(np.float64)


class Network:
    """Dense layers with ReLU between them, by AdamW under a rate that falls as a cosine."""

    def __init__(self, x, y, weight, recipe, seed):
        rng = np.random.default_rng(seed)
        shapes = list(zip((x.shape[1], *HIDDEN), (*HIDDEN, 1)))
        self.all = np.zeros(sum(a * b + b for a, b in shapes), np.float32)
        self.layers = self.views(self.all, shapes)
        for w, _ in self.layers:
            w[:] = rng.normal(0, np.sqrt(2 / len(w)), w.shape)
        slope, first, second = np.zeros_like(self.all), np.zeros_like(self.all), np.zeros_like(self.all)
        slopes, step = self.views(slope, shapes), 0
        steps = recipe.epochs * -(-len(x) // BATCH)
        for _ in range(recipe.epochs):
            order = rng.permutation(len(x))
            mixed = x[order], y[order], weight[order]
            for at in range(0, len(x), BATCH):
                step += 1
                rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
                self.descend(*(part[at:at + BATCH] for part in mixed), slopes)
                first += np.float32(0.1) * (slope - first)
                second += np.float32(0.001) * (slope**2 - second)
                self.all *= np.float32(1 - rate * recipe.decay)
                by = np.sqrt(second * np.float32(1 / (1 - 0.999**step))) + np.float32(1e-8)
                self.all -= np.float32(rate / (1 - 0.9**step)) * first / by

    @staticmethod
    def views(flat, shapes):
        result, at = [], 0
        for a, b in shapes:
            result.append((flat[at:at + a * b].reshape(a, b), flat[at + a * b:at + a * b + b]))
            at += a * b + b
        return result

    def descend(self, x, y, weight, slopes):
        """The slope of the weighted squared error, into `slopes`."""
        held = [x]
        for w, b in self.layers[:-1]:
            held.append(np.maximum(held[-1] @ w + b, 0))
        w, b = self.layers[-1]
        error = (np.float32(2 / len(x)) * weight * ((held[-1] @ w + b)[:, 0] - y))[:, None]
        for k in range(len(self.layers) - 1, -1, -1):
            slopes[k][0][:], slopes[k][1][:] = held[k].T @ error, error.sum(0)
            if k:
                error = (error @ self.layers[k][0].T) * (held[k] > 0)

    def predict(self, x):
        for w, b in self.layers[:-1]:
            x = np.maximum(x @ w + b, 0)
        w, b = self.layers[-1]
        return (x @ w + b)[:, 0]


class Model:
    def __init__(self, engines, rows, recipe, networks, normaliser=None, means=None):
        """Fitted on `rows` alone, a mask; `normaliser` and its `means` only where they are at hand."""
        self.normaliser = normaliser or Normaliser(engines, rows)
        means = self.normaliser.means(engines) if means is None else means
        farthest = np.array([CUTS[g[:5]][1] for g in engines.group])
        chosen = rows & (engines.rul <= farthest) & (engines.raw[:, -1] >= FEWEST)
        y = engines.rul[chosen] / 100
        recent = means[:, :, MEANS.index("m20")]
        self.index = PLSRegression(recipe.indices, scale=False).fit(recent[chosen], y).x_rotations_
        x = self.features(engines, means)[chosen]
        self.mean, self.std = x.mean(0), x.std(0) + 1e-9
        # Every engine counts the same, however long it lived.
        _, number, count = np.unique(engines.group[chosen], return_inverse=True, return_counts=True)
        weight = 1 / count[number]
        x, y, weight = (v.astype(np.float32) for v in ((x - self.mean) / self.std, y, weight / weight.mean()))
        self.networks = [Network(x, y, weight, recipe, seed) for seed in range(networks)]

    def features(self, engines, means=None):
        means = self.normaliser.means(engines) if means is None else means
        health = np.einsum("rsw,si->riw", means, self.index) @ SHOWN
        return np.column_stack([health.reshape(len(health), -1), engines.raw[:, -1], engines.several])

    def answer(self, features):
        x = ((features - self.mean) / self.std).astype(np.float32)
        return np.maximum(np.mean([m.predict(x) for m in self.networks], 0) * 100, 0)


def figures(answer, truth):
    d = answer - truth
    # A late answer costs an engine in flight; an early one costs a part of its life.
    cost = np.where(d < 0, -d, 3 * d)
    return {"engines": len(d), "rmse": float(np.sqrt((d**2).mean())), "mae": float(np.abs(d).mean()),
            "bias": float(d.mean()), "cmapss": float(np.where(d < 0, np.expm1(-d / 13), np.expm1(d / 10)).sum()),
            "cost_late_three_times": float(cost.mean())}


def cuts_and_folds(engines, seed=0):
    """Up to 20 rows of each engine at which it is cut, and each row's fold; engines stay whole."""
    rng = np.random.default_rng(seed)
    number = {n: k % 5 for k, n in enumerate(rng.permutation(engines.names))}
    fold = np.array([number[n] for n in engines.group])
    near, far = np.array([CUTS[g[:5]] for g in engines.group]).T
    usable = (engines.rul >= near) & (engines.rul <= far) & (engines.raw[:, -1] >= HISTORY)
    cuts = [rng.choice(s[usable[s]], min(20, usable[s].sum()), replace=False) for s in engines.spans]
    return np.concatenate(cuts), fold


def cross_validate(engines):
    """Engines in five folds; the ones left out are cut where the test sets are."""
    cuts, fold = cuts_and_folds(engines)
    answers = {recipe: np.zeros(len(fold)) for recipe in RECIPES}
    for k in range(5):
        normaliser = Normaliser(engines, fold != k)
        means = normaliser.means(engines)
        asked = cuts[fold[cuts] == k]
        for recipe, answer in answers.items():
            model = Model(engines, fold != k, recipe, NETWORKS_IN_FOLDS, normaliser, means)
            answer[asked] = model.answer(model.features(engines, means)[asked])
    result = {recipe: {n: figures(p[at], engines.rul[at]) for n in SETS
                       for at in [cuts[np.char.startswith(engines.group[cuts], n)]]} for recipe, p in answers.items()}
    for recipe, by_set in result.items():
        print(recipe, {n: round(v["rmse"], 2) for n, v in by_set.items()}, flush=True)
    return result


def export(model, fill, path):
    """`fill`: what the daemon writes into a cell that is missing, by tag."""
    node, sensors, norm = helper.make_node, len(SENSORS), model.normaliser
    constants = {
        "fill": fill.astype(np.float32), "sizes": np.array([3, sensors, 1], np.int64),
        "op_scale": (1 / OP_SCALE).astype(np.float32), "centres": (2 * norm.centres.T).astype(np.float32),
        "centres_squared": (norm.centres**2).sum(1).astype(np.float32),
        "means": norm.mean.astype(np.float32), "scales": (1 / norm.std).astype(np.float32),
        "farthest": np.array([FARTHEST_Z], np.float32),
        "index": model.index.T.astype(np.float32), "weights": WEIGHTS[::-1].astype(np.float32),
        "shown": SHOWN.astype(np.float32), "several_from": np.array([SEVERAL_FROM], np.float32),
        "small": np.array([1e-3], np.float32), "none": np.array([0], np.float32),
        "first": np.array([0], np.int64), "second": np.array([1], np.int64),
        "axis1": np.array([1], np.int64), "axis2": np.array([2], np.int64),
        "scaler_mean": model.mean.astype(np.float32), "scaler_scale": (1 / model.std).astype(np.float32),
        "share": np.array([100 / len(model.networks)], np.float32),
    }
    nodes = [
        # Which cells are there; a row without its cycle or a setting tells nothing.
        node("Equal", ["input", "fill"], ["is_missing"]), node("Not", ["is_missing"], ["is_there"]),
        node("Cast", ["is_there"], ["there"], to=1),
        node("Split", ["input", "sizes"], ["ops", "sensors", "cycle"], axis=2),
        node("Split", ["there", "sizes"], ["ops_there", "sensors_there", "cycle_there"], axis=2),
        node("ReduceMin", ["ops_there"], ["setting_there"], axes=[2]), node("Mul", ["setting_there", "cycle_there"], ["mask"]),
        # The nearest centre.
        node("Mul", ["ops", "op_scale"], ["place"]), node("MatMul", ["place", "centres"], ["product"]),
        node("Sub", ["centres_squared", "product"], ["distances"]),
        node("ArgMin", ["distances"], ["condition"], axis=2, keepdims=0),
        node("Gather", ["means", "condition"], ["mean"]), node("Gather", ["scales", "condition"], ["scale"]),
        node("Sub", ["sensors", "mean"], ["centred"]), node("Mul", ["centred", "scale"], ["z"]),
        node("Abs", ["z"], ["astray"]), node("Less", ["astray", "farthest"], ["is_near"]), node("Cast", ["is_near"], ["near"], to=1),
        node("Mul", ["sensors_there", "near"], ["cells_near"]), node("Mul", ["cells_near", "mask"], ["cells"]),
        # One condition or several: the variance of the first setting over the rows that are there.
        node("ReduceSum", ["mask", "axis1"], ["rows"], keepdims=0), node("Max", ["rows", "small"], ["rows_held"]),
        node("Slice", ["place", "first", "second", "axis2"], ["setting"]), node("Mul", ["setting", "mask"], ["setting_held"]),
        node("ReduceSum", ["setting_held", "axis1"], ["setting_sum"], keepdims=0),
        node("Div", ["setting_sum", "rows_held"], ["setting_mean"]),
        node("Mul", ["setting_held", "setting_held"], ["setting_square"]),
        node("ReduceSum", ["setting_square", "axis1"], ["square_sum"], keepdims=0),
        node("Div", ["square_sum", "rows_held"], ["square_mean"]), node("Mul", ["setting_mean", "setting_mean"], ["mean_square"]),
        node("Sub", ["square_mean", "mean_square"], ["variance"]), node("Greater", ["variance", "several_from"], ["is_several"]),
        node("Cast", ["is_several"], ["several"], to=1),
        # Weighted means over the past, of the cells that are there, then of the health indices.
        node("Mul", ["z", "cells"], ["masked"]), node("Transpose", ["masked"], ["by_tag"], perm=[0, 2, 1]),
        node("MatMul", ["by_tag", "weights"], ["sums"]), node("Transpose", ["cells"], ["cells_by_tag"], perm=[0, 2, 1]),
        node("MatMul", ["cells_by_tag", "weights"], ["held"]), node("Max", ["held", "small"], ["weight"]),
        node("Div", ["sums", "weight"], ["means_past"]), node("MatMul", ["index", "means_past"], ["health"]),
        node("MatMul", ["health", "shown"], ["shown_past"]), node("Flatten", ["shown_past"], ["flat"]),
        node("Mul", ["cycle", "mask"], ["cycle_held"]), node("ReduceMax", ["cycle_held"], ["age"], axes=[1], keepdims=0),
        node("Concat", ["flat", "age", "several"], ["features"], axis=1),
        node("Sub", ["features", "scaler_mean"], ["features_centred"]),
        node("Mul", ["features_centred", "scaler_scale"], ["features_scaled"]),
    ]
    answers = []
    for k, network in enumerate(model.networks):
        previous = "features_scaled"
        for layer, (weight, bias) in enumerate(network.layers):
            name = f"network_{k}_{layer}"
            constants[f"{name}_w"], constants[f"{name}_b"] = weight.astype(np.float32), bias.astype(np.float32)
            nodes.append(node("Gemm", [previous, f"{name}_w", f"{name}_b"], [name]))
            previous = name
            if layer + 1 < len(network.layers):
                nodes.append(node("Relu", [name], [f"{name}_relu"]))
                previous = f"{name}_relu"
        answers.append(previous)
    nodes += [
        node("Sum", answers, ["answers_sum"]), node("Mul", ["answers_sum", "share"], ["answer"]),
        node("Max", ["answer", "none"], ["rul"]),
    ]
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


def made_up(engines, fill, ages, before=False):
    """The mean engine of FD001 at these ages: no engine of the data, and an ordinary one. `before`: as new in the rows before
    its first, all but `cycle`, so that in an explanation an older engine's rows stay there without one of their tags."""
    first = [s for n, s in zip(engines.names, engines.spans) if n.startswith("FD001")]
    result = np.tile(fill, (len(ages), ROWS, 1))
    for k, age in enumerate(ages):
        mean = np.mean([engines.raw[s[:age]] for s in first if len(s) >= age], 0).round(3)
        result[k, ROWS - age:] = mean
        if before:
            result[k, :ROWS - age, :-1] = mean[:20, :-1].mean(0).round(3)
    return result.astype(np.float32)


def six_conditions(normaliser, fill, age):
    """An engine that flies under each condition in turn, its sensors two spreads from the mean at most, some cells missing."""
    result, at = np.tile(fill, (1, ROWS, 1)), np.arange(age)
    turn, wear = at % 6, np.minimum(at / age, 1)[:, None]
    direction = np.where(np.arange(len(SENSORS)) % 2, 1, -1)
    rows = np.column_stack([normaliser.centres[turn] * OP_SCALE,
                            normaliser.mean[turn] + wear * 2 * direction * normaliser.std[turn], at + 1]).round(3)
    rows[3::7, 5], rows[5::11, -1] = fill[5], fill[-1]
    result[0, ROWS - age:] = rows
    return result.astype(np.float32)


def write_test(folder, out):
    test = Engines(folder, "test")
    for name in SETS:
        with open(Path(out) / f"test_{name}.csv", "w", newline="") as f:
            rows = csv.writer(f)
            rows.writerow(["unit", *TAGS, "rul"])
            for g, row, rul in zip(test.group, test.raw, test.rul):
                if g.startswith(name):
                    rows.writerow([g, *(repr(float(v)) for v in row), int(rul)])


def main(folder):
    engines = Engines(folder, "train")
    validation = cross_validate(engines)
    recipe = min(RECIPES, key=lambda r: np.mean([v["rmse"] for v in validation[r].values()]))
    model = Model(engines, np.ones(len(engines.rul), bool), recipe, NETWORKS)

    fill = engines.raw.mean(0).round(4)
    fill[-1] = np.floor(fill[-1]) + 0.5
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"
    export(model, fill, path)
    session = modelkit.session(path)
    run = lambda x: np.concatenate([session.run(["rul"], {"input": x[i:i + 32]})[0] for i in range(0, len(x), 32)])
    golden = np.concatenate([made_up(engines, fill, [25, 180]), six_conditions(model.normaliser, fill, 120)])
    modelkit.write_golden(OUT / "golden.json", golden, run(golden))
    modelkit.write_background(OUT / "background.json", made_up(engines, fill, [40, 70, 100], before=True))

    test = Engines(folder, "test")
    answer = run(frames(test, test.last, fill))[:, 0].astype(np.float64)
    difference = float(np.abs(answer - model.answer(model.features(test)[test.last])).max())
    of = lambda name: np.array([n.startswith(name) for n in test.names])
    result = {
        "recipe": {**recipe._asdict(), "networks": NETWORKS, "networks_in_folds": NETWORKS_IN_FOLDS},
        "test_last_cycle_uncapped": {n: figures(answer[of(n)], test.rul[test.last][of(n)]) for n in SETS},
        "validation_truncated_engines": [{**r._asdict(), **v} for r, v in validation.items()],
        "onnx_against_numpy_max_difference": difference, "sha256": modelkit.sha256(path),
    }
    modelkit.write_json(HERE / "figures.json", result)
    write_card(result, engines, fill)
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
        "A tag's mean marks a cell that is not there; that of `cycle` a row: no engine has flown half a cycle.",
    ], {
        "name": "turbofan-rul", "version": VERSION, "sha256": result["sha256"], "task": "regression",
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
        "reference": {"golden": "golden.json", "background": "background.json", "tolerance": 1e-3},
        "runtime": {"devices": ["cpu"], "threads": 1, "max_batch": 16},
    })


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_test(*sys.argv[1:])
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit(__doc__)

"""Trains spindle-anomaly on recordings of the simulated plant and measures it on others.

    cargo build --release --example record-plant
    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/spindle-anomaly/train.py target/release/examples/record-plant [FOLDER]

Writes 1.0.0/model.onnx, model.toml and golden.json, and figures.json, whose numbers stand in
README.md. Each seed of the recorder is another plant with six other spindles. With FOLDER nothing is
trained: the plants of the test go there as CSV for `andon evaluate`.

The model predicts load, current, temperature and vibration at a moment from half a second of
speed, load and current around it (never from itself), as a spindle in health relates them.
It also predicts how far healthy spindles stray there, and counts surprise in units of that.
Its output is the input less the surprise, so that Andon's score of a
`reconstruction`, the mean squared difference, is the mean squared surprise, and a tag's share
of it is the tag's own surprise. A missing cell, which holds exactly 0, surprises nobody.
"""

import csv
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

# One thread: sums in one order, so that a rerun gives the same bytes.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from onnx import helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import bins  # noqa: E402
import modelkit  # noqa: E402

OUT = HERE / "1.0.0"
SEED = 7
TAGS = ["speed", "load", "current", "temperature", "vibration"]
UNITS = ["rpm", "%", "A", "degC", "mm/s"]
# What each predicted tag is predicted from. A worn bearing shows in vibration and temperature, so
# nothing is predicted from those: blame stays where it belongs.
SOURCES = {"load": ["speed", "current"], "current": ["speed", "load"],
           "temperature": ["speed", "load", "current"], "vibration": ["speed", "load", "current"]}
DRIVERS = ["speed", "load", "current"]
HIDDEN, KERNEL = 16, 5
PERIOD_MS, ROWS, HOP = 100, 20, 5
N_OF_M = (1, 1)
TRAIN, CALIBRATE, LIMIT, HEALTHY_TEST, FAULTY_TEST = (
    range(1, 9), range(101, 105), range(201, 209), range(501, 513), range(601, 607))
MINUTES = 20


def record(recorder, seed, faults="none"):
    """Per spindle: the readings [rows, tags] (NaN where a sensor gave nothing), wear, fault."""
    print(f"recording plant {seed}, faults: {faults}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plant.csv"
        subprocess.run([recorder, "--seed", str(seed), "--minutes", str(MINUTES), "--faults", faults,
                        "--out", out], check=True)
        table = np.genfromtxt(out, delimiter=",", names=True, dtype=None, encoding="utf-8")
    spindles = []
    for asset in np.unique(table["asset"]):
        rows = table[table["asset"] == asset]
        assert (np.diff(rows["time_ms"]) == PERIOD_MS).all()
        spindles.append((np.column_stack([rows[t] for t in TAGS]), rows["wear"], rows["fault"]))
    return spindles


class Scale:
    def __init__(self, x):
        # Five decimals lie between the sensors' steps: no reading is ever exactly the mean,
        # which is what a missing cell holds.
        self.mean = np.round(x.mean(0), 5)
        self.mean += np.where(np.round(self.mean * 1000) == self.mean * 1000, 1e-5, 0)
        self.std = np.round(x.std(0), 5)

    def __call__(self, x):
        z = ((x - self.mean) / self.std).astype(np.float32)
        return np.where(np.isnan(z), np.float32(0), z)


def around(z):
    """[rows, tags, KERNEL]: each row with its neighbours; the ends are cut off."""
    return np.lib.stride_tricks.sliding_window_view(z, KERNEL, axis=0)


def fit(recordings, scale):
    rng = np.random.default_rng(SEED)
    seen, wanted = [], []
    for x, _, _ in recordings:
        z = scale(x)
        c = around(z)
        rows = rng.choice(len(c), 2000, replace=False)
        seen.append(c[rows])
        wanted.append(z[rows + KERNEL // 2])
    seen, wanted = np.concatenate(seen).astype(np.float64), np.concatenate(wanted).astype(np.float64)
    expected, spread = {}, {}
    for tag, sources in SOURCES.items():
        x = seen[:, [TAGS.index(s) for s in sources]].reshape(len(seen), -1)
        y = wanted[:, TAGS.index(tag)]
        expected[tag] = network().fit(x, y)
        # How far healthy spindles stray in the same situation: a ramp says less than steady running.
        spread[tag] = network().fit(x, np.abs(y - expected[tag].predict(x)))
    least = {t: 0.5 * float(spread[t].predict(seen[:, [TAGS.index(s) for s in sources]].reshape(len(seen), -1)).mean())
             for t, sources in SOURCES.items()}
    return (expected, spread), least


def network():
    return MLPRegressor(hidden_layer_sizes=(HIDDEN,), activation="tanh", alpha=1e-4, batch_size=500,
                        learning_rate_init=3e-3, max_iter=40, tol=0, n_iter_no_change=1000, random_state=SEED)


def convolutions(networks):
    """The networks side by side as two convolutions over time: w1, b1, w2, b2."""
    first = np.zeros((len(SOURCES) * HIDDEN, len(DRIVERS), KERNEL), np.float32)
    second = np.zeros((len(SOURCES), HIDDEN, 1), np.float32)
    for i, (tag, sources) in enumerate(SOURCES.items()):
        w = networks[tag].coefs_[0].reshape(len(sources), KERNEL, HIDDEN)
        for s, source in enumerate(sources):
            first[i * HIDDEN:(i + 1) * HIDDEN, DRIVERS.index(source)] = w[s].T
        second[i, :, 0] = networks[tag].coefs_[1][:, 0]
    biases = [np.concatenate([networks[t].intercepts_[layer] for t in SOURCES]).astype(np.float32) for layer in (0, 1)]
    return first, biases[0], second, biases[1]


def export(networks, least_spread, weights, path):
    expected, spread = networks
    per_tag = (1, -1, 1)
    constants = {
        **dict(zip(("we1", "be1", "we2", "be2"), convolutions(expected))),
        **dict(zip(("ws1", "bs1", "ws2", "bs2"), convolutions(spread))),
        "least_spread": np.array([least_spread[t] for t in SOURCES], np.float32).reshape(per_tag),
        "weights": np.array([weights[t] for t in SOURCES], np.float32).reshape(per_tag),
        "zero": np.array(0, np.float32), "one": np.array(1, np.float32),
        "driver_channels": np.arange(3, dtype=np.int64), "predicted_channels": np.arange(1, 5, dtype=np.int64),
        "ends": np.array([0, 0, KERNEL // 2, 0, 0, KERNEL // 2], np.int64),
        "channel_before": np.array([0, 1, 0, 0, 0, 0], np.int64),
    }
    node = helper.make_node

    def conv_pair(key, output):
        return [
            node("Conv", ["drivers", f"w{key}1", f"b{key}1"], [f"{key}_hidden"], kernel_shape=[KERNEL],
                 pads=[KERNEL // 2] * 2),
            node("Tanh", [f"{key}_hidden"], [f"{key}_active"]),
            node("Conv", [f"{key}_active", f"w{key}2", f"b{key}2"], [output], kernel_shape=[1], group=len(SOURCES)),
        ]

    nodes = [
        node("Gather", ["input", "driver_channels"], ["drivers"], axis=1),
        node("Gather", ["input", "predicted_channels"], ["observed"], axis=1),
        *conv_pair("e", "expected"),
        *conv_pair("s", "raw_spread"),
        node("Max", ["raw_spread", "least_spread"], ["spread"]),
        node("Sub", ["observed", "expected"], ["residual"]),
        node("Div", ["residual", "spread"], ["standardised"]),
        node("Mul", ["standardised", "weights"], ["surprise"]),
        # A row counts where its own cell is there, and so is all that the prediction was made from.
        node("Equal", ["input", "zero"], ["is_missing"]),
        node("Cast", ["is_missing"], ["missing"], to=1),
        node("Gather", ["missing", "predicted_channels"], ["cell_missing"], axis=1),
        node("Gather", ["missing", "driver_channels"], ["drivers_missing"], axis=1),
        node("Pad", ["drivers_missing", "ends", "one"], ["drivers_missing_or_outside"]),
        node("ReduceMax", ["drivers_missing_or_outside"], ["any_driver_missing"], axes=[1], keepdims=1),
        node("MaxPool", ["any_driver_missing"], ["driver_missing_near"], kernel_shape=[KERNEL]),
        node("Max", ["cell_missing", "driver_missing_near"], ["not_counted"]),
        node("Sub", ["one", "not_counted"], ["counted"]),
        node("Mul", ["surprise", "counted"], ["surprise_counted"]),
        # Speed is commanded: it drives the prediction and is not predicted.
        node("Pad", ["surprise_counted", "channel_before", "zero"], ["surprise_all"]),
        node("Sub", ["input", "surprise_all"], ["reconstruction"]),
    ]
    shape = ["N", len(TAGS), ROWS]
    modelkit.save_graph(path, "spindle-anomaly", nodes, [("input", shape)], [("reconstruction", shape)], constants,
                        "A healthy spindle's load, current, temperature and vibration")


def windows(x, scale):
    """[windows, tags, rows] and the index of each window's last row."""
    z = scale(x)
    w = np.lib.stride_tricks.sliding_window_view(z, ROWS, axis=0)[::HOP]
    return np.ascontiguousarray(w), np.arange(len(w)) * HOP + ROWS - 1


def surprise(session, w):
    """Mean squared difference by tag; their mean is the score."""
    out = np.concatenate([session.run(None, {"input": w[i:i + 1024]})[0] for i in range(0, len(w), 1024)])
    return ((w.astype(np.float64) - out) ** 2).mean(2)


def n_of_m(beyond):
    n, m = N_OF_M
    counts = np.convolve(beyond, np.ones(m))[:len(beyond)]
    return counts >= n


def rises(on):
    return int(on[0]) + int((np.diff(on.astype(int)) == 1).sum())


def episodes(fault, kind):
    """(first row, row after the last) of each episode."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (fault == kind).astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2]))


def detection(spindles, scores, kind):
    found, delays, wears = 0, [], []
    total = 0
    for (x, wear, fault), (score, ends, alarm) in zip(spindles, scores):
        for a, b in episodes(fault, kind):
            total += 1
            hits = ends[(ends >= a) & (ends < b) & alarm]
            if len(hits):
                found += 1
                delays.append((hits[0] - a) * PERIOD_MS / 1000)
                wears.append(wear[hits[0]])
    result = {"episodes": total, "found": found}
    if delays:
        result |= {"median_delay_s": float(np.median(delays)), "worst_delay_s": float(np.max(delays))}
        if kind == "bearing_wear":
            result["median_wear_when_found"] = float(np.median(wears))
    return result


def healthy_rows(fault):
    """Rows without a fault now or in the 25 s before: heat takes that long to leave."""
    ill = np.convolve(fault != "none", np.ones(251))[:len(fault)] > 0
    return ~ill


def labels(fault, which):
    """For the last row of each window that counts: a full one, of a spindle that has this fault or is healthy."""
    full = np.arange(len(fault)) >= ROWS - 1
    counts = full & ((fault == which) | healthy_rows(np.where(fault == "dropout", "none", fault)))
    return np.where(counts, (fault == which).astype(int).astype(str), "")


def write_test(recorder, folder):
    for name, seeds, faults in (("healthy", HEALTHY_TEST, "none"), ("faulty", FAULTY_TEST, "demo")):
        with open(Path(folder) / f"spindles-{name}.csv", "w", newline="") as f:
            rows = csv.writer(f)
            rows.writerow(["spindle", *TAGS, "worn", "coolant"])
            for seed in seeds:
                for at, (x, _, fault) in enumerate(record(recorder, seed, faults), 1):
                    told = zip(labels(fault, "bearing_wear"), labels(fault, "coolant_loss"))
                    rows.writerows([f"{seed}-{at}", *("" if np.isnan(v) else float(v) for v in row), *both]
                                   for row, both in zip(x, told))


def main(recorder):
    # Forty rounds are meant; that the last ones still gain a little is no news.
    warnings.simplefilter("ignore", ConvergenceWarning)
    train = [s for seed in TRAIN for s in record(recorder, seed)]
    scale = Scale(np.concatenate([x for x, _, _ in train]))
    networks, least_spread = fit(train, scale)
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"

    # A tag's surprise is measured in units of the highest window of other healthy spindles: what is
    # ordinary for temperature, which differs from machine to machine, does not drown the vibration.
    export(networks, least_spread, {t: 1.0 for t in SOURCES}, path)
    session = modelkit.session(path)
    highest = np.max([surprise(session, windows(x, scale)[0]).max(0)
                      for seed in CALIBRATE for x, _, _ in record(recorder, seed)], axis=0)
    export(networks, least_spread, {t: float(1 / np.sqrt(highest[TAGS.index(t)])) for t in SOURCES}, path)
    session = modelkit.session(path)

    # The limit: twice the highest score in health, on plants used for nothing else.
    limit_plants = [x for seed in LIMIT for x, _, _ in record(recorder, seed)]
    limit_scores = np.concatenate([surprise(session, windows(x, scale)[0]).mean(1) for x in limit_plants])
    limit = round(2 * float(limit_scores.max()), 1)

    # For comparison: a fixed limit on vibration, at and above the highest reading of the same plants.
    vibration_max = max(float(x[:, 4].max()) for x in limit_plants)
    fixed = {factor: {"limit_mm_s": round(factor * vibration_max, 3), "false_alarms": 0, "on": []}
             for factor in (1.0, 1.2)}

    false_alarms, hours, highest = 0, 0.0, 0.0
    for seed in HEALTHY_TEST:
        for x, _, _ in record(recorder, seed):
            w, _ = windows(x, scale)
            score = surprise(session, w).mean(1)
            false_alarms += rises(n_of_m(score >= limit))
            hours += len(x) * PERIOD_MS / 3.6e6
            highest = max(highest, float(score.max()))
            for rule in fixed.values():
                rule["false_alarms"] += rises(x[:, 4] >= rule["limit_mm_s"])

    ill, scores, blame = [], [], []
    dropout_alarms, dropouts, ill_false, ill_hours = 0, 0, 0, 0.0
    for seed in FAULTY_TEST:
        for x, wear, fault in record(recorder, seed, "demo"):
            w, ends = windows(x, scale)
            by_tag = surprise(session, w)
            alarm = n_of_m(by_tag.mean(1) >= limit)
            ill.append((x, wear, fault))
            scores.append((by_tag.mean(1), ends, alarm))
            worn = alarm & (fault[ends] == "bearing_wear")
            blame.extend(by_tag[worn].argmax(1))
            for a, b in episodes(fault, "dropout"):
                dropouts += 1
                clean = healthy_rows(np.where(fault == "dropout", "none", fault))[ends]
                dropout_alarms += bool((alarm & clean & (ends >= a) & (ends < b + ROWS)).any())
            healthy = healthy_rows(np.where(fault == "dropout", "none", fault))[ends]
            ill_false += rises(alarm & healthy)
            ill_hours += healthy.sum() * HOP * PERIOD_MS / 3.6e6
            for rule in fixed.values():
                rule["on"].append((None, np.arange(len(x)), x[:, 4] >= rule["limit_mm_s"]))

    w, _ = windows(train[0][0], scale)
    worst = max(range(len(ill)), key=lambda i: scores[i][0].max())
    w_ill, _ = windows(ill[worst][0], scale)
    gappy = next(windows(x, scale)[0] for x, _, f in ill if (f == "dropout").any())
    gappy = gappy[int(np.argmax((gappy == 0).sum((1, 2))))]
    golden = np.stack([w[0], w[40], w_ill[int(scores[worst][0].argmax())], gappy])
    modelkit.write_golden(OUT / "golden.json", golden, session.run(None, {"input": golden})[0])

    result = {
        "spindles_trained_on": len(train), "limit": limit, "limit_scores_highest": float(limit_scores.max()),
        "healthy": {"spindle_hours": round(hours, 2), "false_alarms": false_alarms, "highest_score": highest},
        "bearing_wear": detection(ill, scores, "bearing_wear"),
        "bearing_wear_by_a_fixed_vibration_limit": [
            {"times_highest": factor, **detection(ill, rule.pop("on"), "bearing_wear"), **rule}
            for factor, rule in fixed.items()],
        "coolant_loss": detection(ill, scores, "coolant_loss"),
        "share_of_wear_alarms_that_blame": {t: float(np.mean(np.array(blame) == i)) for i, t in enumerate(TAGS)},
        "vibration_dropouts": dropouts, "vibration_dropouts_with_alarm": dropout_alarms,
        "between_faults": {"spindle_hours": round(ill_hours, 2), "false_alarms": ill_false},
        "sha256": modelkit.sha256(path),
    }
    modelkit.write_json(HERE / "figures.json", result)
    x = np.concatenate([x for x, _, _ in train])
    write_card(result, scale, x)
    print((HERE / "figures.json").read_text())


def write_card(result, scale, x):
    wear, healthy = result["bearing_wear"], result["healthy"]
    modelkit.write_card(OUT / "model.toml", ["Written by ../train.py. What the figures mean: README.md."], {
        "name": "spindle-anomaly",
        "version": "1.0.0",
        "sha256": result["sha256"],
        "task": "anomaly",
        "licence": "MIT OR Apache-2.0",
        "description": "Does a milling spindle still behave as a healthy one of its type? "
                       "Trained on the simulated plant of `andon demo`.",
        "input": {
            "tensor": "input", "layout": "series", "order": "channels_first", "normalise": "standard",
            "tag": [{"name": t, "unit": UNITS[i], "mean": round(float(scale.mean[i]), 5),
                     "std": round(float(scale.std[i]), 5), "min": float(x[:, i].min()), "max": float(x[:, i].max()),
                     **bins.bins(x[:, i])}
                    for i, t in enumerate(TAGS)],
        },
        "window": {
            "length": f"{ROWS * PERIOD_MS // 1000}s", "hop": f"{HOP * PERIOD_MS}ms",
            "period": f"{PERIOD_MS}ms", "fill": "none", "coverage": 0.7,
        },
        "output": {"tensor": "reconstruction", "kind": "reconstruction"},
        "decision": {
            "raise": result["limit"], "clear": round(result["limit"] / 2, 1), "direction": "above",
            "n": N_OF_M[0], "m": N_OF_M[1], "severity": 700,
            "text": "{asset} does not behave as a healthy spindle: {score}, limit {threshold}, mostly {tag}",
        },
        "evaluation": {
            "data": "recordings of the simulated plant, other seeds (other spindles) than in training",
            "protocol": "limit: twice the highest score in health on plants used for nothing else; "
                        "an episode is found when an alarm stands before its repair",
            "wear_episodes": wear["episodes"], "wear_episodes_found": wear["found"],
            "wear_when_found_median": round(wear["median_wear_when_found"], 3),
            "healthy_spindle_hours": healthy["spindle_hours"], "false_alarms": healthy["false_alarms"],
        },
        "reference": {"golden": "golden.json"},
        "runtime": {"devices": ["cpu"], "threads": 1},
    })


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_test(*sys.argv[1:])
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit(__doc__)

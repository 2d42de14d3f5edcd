"""Trains surface-defect on BSData (photographs of ball screws) and measures it on positions not seen.

    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/surface-defect/train.py PATH/bsdata [FOLDER]

PATH/bsdata holds img/*.jpg and index.json (file, pitting, boxes_xyxy; BSData, CC BY-SA 4.0). Writes
1.1.0/model.onnx, model.toml and golden.json, and figures.json. With FOLDER nothing is trained: the labels of the
photographs of the test go there as CSV for `andon evaluate`.

EfficientNet-Lite0 as ImageNet left it (lite0.py) describes each cell of 8 x 8 pixels of a grey 224 x 544 picture; three
small networks learn from the annotated boxes which descriptions are pits, from cells without pitting, harder ones with
time. A photograph's score is the mean of its eight worst cells, made a probability on areas left out in training.
"""

import csv
import json
import os
import sys
import time
from pathlib import Path

# One thread: sums in one order, so that a rerun on the same machine gives the same bytes.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import lite0  # noqa: E402
import modelkit  # noqa: E402

OUT = HERE / "1.1.0"
SEED, LIGHT_SEED = 0, 5
HEIGHT, WIDTH, CELL = 224, 544, 8
ROWS, COLUMNS = HEIGHT // CELL, WIDTH // CELL
MEAN, STD = 127 / 255, 128 / 255
# Channels that describe a cell at 8, 16 and 32 pixels; the first are 24 as mean and as greatest, and 40.
LEVELS, CHANNELS = ((1, 88), (2, 112), (4, 192)), 392
HEADS, HIDDEN, EPOCHS, BATCH, RATE, DECAY = 3, 32, 4, 512, 1e-3, 1e-4
ORDINARY, HARD, HARD_BESIDE_PITS, WORST = 60, 20, 8, 8
# Of the ten positions in order, the second, fifth and eighth: fixed before the first training of 1.0.0.
TEST = (1, 4, 7)
# These two show one pit from two sides: they are left out together.
ONE_AREA = {"397500_315": "395000_270"}


def shares(old, new):
    """[new, old]: the share of each old pixel in each new one, by area."""
    edges = np.arange(new + 1) * (old / new)
    low, high = edges[:-1, None], edges[1:, None]
    at = np.arange(old)[None, :]
    overlap = np.clip(np.minimum(high, at + 1) - np.maximum(low, at), 0, None)
    return overlap / overlap.sum(1, keepdims=True)


def picture(path):
    """As the daemon does it: grey by Rec. 601, resized by area, normalised."""
    rgb = np.asarray(Image.open(path).convert("RGB"), np.float64)
    grey = rgb @ [0.299, 0.587, 0.114]
    grey = shares(grey.shape[0], HEIGHT) @ grey @ shares(grey.shape[1], WIDTH).T
    return ((grey / 255 - MEAN) / STD).astype(np.float32), rgb.shape


def targets(boxes, shape):
    """Per cell: pitted, and whether it counts; cells that a box just touches do not."""
    pitted = np.zeros((HEIGHT // CELL, WIDTH // CELL), np.float32)
    counts = np.ones_like(pitted)
    fy, fx = HEIGHT / shape[0] / CELL, WIDTH / shape[1] / CELL
    for x0, y0, x1, y1 in boxes:
        ys, xs = np.array([y0, y1]) * fy, np.array([x0, x1]) * fx
        cover = lambda n, e: np.clip(np.minimum(np.arange(n) + 1, e[1]) - np.maximum(np.arange(n), e[0]), 0, None)
        part = np.outer(cover(len(pitted), ys), cover(pitted.shape[1], xs))
        whole = max(np.diff(ys)[0] * np.diff(xs)[0], 1e-6)
        inside = (part >= 0.4) | (part >= 0.4 * whole)
        pitted[inside] = 1
        counts[(part > 0) & ~inside] = 0
    counts[pitted > 0] = 1
    return pitted, counts


def index(folder):
    rows = [r for r in json.loads((Path(folder) / "index.json").read_text()) if r["file"].startswith("01_")]
    return sorted(rows, key=lambda r: r["file"])


def place(row):
    return "_".join(row["file"].split("_")[2:4])


def is_tested(places):
    return np.isin(places, np.unique(places)[list(TEST)])


def write_test(folder, out):
    rows = index(folder)
    tested = is_tested([place(r) for r in rows])
    with open(Path(out) / "surface-defect.csv", "w", newline="") as f:
        labels = csv.writer(f)
        labels.writerow(["file", "label"])
        labels.writerows((r["file"], int(r["pitting"])) for r, mine in zip(rows, tested) if mine)


def read(folder):
    rows = index(folder)
    images, cells, counts = [], [], []
    for r in rows:
        image, shape = picture(Path(folder) / "img" / r["file"])
        pitted, counted = targets(r["boxes_xyxy"] or [], shape)
        images.append(image), cells.append(pitted), counts.append(counted)
    places = [place(r) for r in rows]
    return {"image": np.stack(images), "cells": np.stack(cells), "counts": np.stack(counts),
            "y": np.array([bool(r["pitting"]) for r in rows]), "place": np.array(places),
            "file": np.array([r["file"] for r in rows])}


def turned(array):
    return array[..., ::-1, ::-1]


def describe(graph, at):
    """Adds the backbone; the tensors of each level."""
    taps = lite0.backbone(graph, at, lite0.read(lite0.weights_file()), stages=6)
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    parts = [graph.add("AveragePool", [taps[1]], "mean2", **pool), graph.add("MaxPool", [taps[1]], "max2", **pool), taps[2]]
    return [graph.add("Concat", parts, "level8", axis=1), taps[4], taps[5]]


def described(images, session, levels):
    """[photograph, as it is or turned and in other light, cell, channel]."""
    # Three lights were drawn for each photograph, for three ways to turn it; one way turned out to be enough.
    light = np.random.default_rng(LIGHT_SEED).random((len(images), 3, 2))[:, 2]
    out = np.empty((len(images), 2, ROWS * COLUMNS, CHANNELS), np.float16)
    for i, (image, (gain, shift)) in enumerate(zip(images, light)):
        other = turned(image) * float(0.75 + 0.55 * gain) + float(-0.25 + 0.5 * shift)
        out[i] = run_levels(np.stack([image, other])[:, None].astype(np.float32), session, levels)
    return out


def run_levels(x, session, levels):
    found = session.run(levels, {"input": x})
    wide = [f.repeat(times, 2).repeat(times, 3) for f, (times, _) in zip(found, LEVELS)]
    return np.concatenate(wide, 1).transpose(0, 2, 3, 1).reshape(len(x), ROWS * COLUMNS, CHANNELS)


class Cells:
    """Descriptions, each beside its difference to the mean of its row: a screw is much the same along a row."""

    def __init__(self, data, described):
        self.x = described
        n = len(described)
        self.rows = np.stack([d.reshape(2, ROWS, COLUMNS, CHANNELS).mean(2, dtype=np.float32) for d in described])
        both = lambda a: np.stack([a, turned(a)], 1).reshape(n, 2, -1)
        self.pitted, self.counts, self.y = both(data["cells"]), both(data["counts"]), data["y"]

    def at(self, i, v, cell):
        f = self.x[i, v, cell].astype(np.float32)
        return np.concatenate([f, f - self.rows[i, v, cell // COLUMNS]], 1)


class Head:
    """One hidden layer, by Adam."""

    def __init__(self, x, rng):
        self.mean, self.std = x.mean(0), x.std(0) + 1e-2
        wide = x.shape[1]
        self.p = [(rng.standard_normal((wide, HIDDEN)) / np.sqrt(wide)).astype(np.float32), np.zeros(HIDDEN, np.float32),
                  (rng.standard_normal(HIDDEN) / np.sqrt(HIDDEN)).astype(np.float32), np.float32(-3)]
        self.m, self.v, self.n = [np.zeros_like(p) for p in self.p], [np.zeros_like(p) for p in self.p], 0

    def train(self, x, pitted, weight, rng):
        x = (x - self.mean) / self.std
        steps, done = EPOCHS * (len(x) // BATCH), 0
        for _ in range(EPOCHS):
            order = rng.permutation(len(x))
            for start in range(0, len(x) - BATCH + 1, BATCH):
                b = order[start:start + BATCH]
                self.step(x[b], pitted[b], weight[b] / weight[b].sum(), RATE * 0.5 * (1 + np.cos(np.pi * done / steps)))
                done += 1

    def step(self, x, pitted, weight, rate):
        w, b, out, shift = self.p
        hidden = np.maximum(x @ w + b, 0)
        wrong = (1 / (1 + np.exp(-(hidden @ out + shift))) - pitted) * weight
        back = np.outer(wrong, out) * (hidden > 0)
        slopes = [x.T @ back + 2 * DECAY * w, back.sum(0), hidden.T @ wrong + 2 * DECAY * out, wrong.sum()]
        self.n += 1
        for q, g in enumerate(slopes):
            self.m[q] = 0.9 * self.m[q] + 0.1 * g
            self.v[q] = 0.999 * self.v[q] + 0.001 * g ** 2
            move = self.m[q] / (1 - 0.9 ** self.n) / (np.sqrt(self.v[q] / (1 - 0.999 ** self.n)) + 1e-8)
            self.p[q] = (self.p[q] - rate * move).astype(np.float32)

    def plain(self):
        """For raw descriptions: (of a cell, of its row's mean, bias, out, shift)."""
        w, b, out, shift = self.p
        w, b = w / self.std[:, None], b - self.mean @ (w / self.std[:, None])
        return w[:CHANNELS] + w[CHANNELS:], w[CHANNELS:], b, out, shift


def logits(head, x, rows):
    cell, row, b, out, shift = head
    hidden = (x.astype(np.float32) @ cell).reshape(ROWS, COLUMNS, -1) - (rows @ row)[:, None] + b
    return (np.maximum(hidden, 0) @ out + shift).reshape(-1)


def fit(cells, keep, seed):
    rng = np.random.default_rng(seed)
    chosen = []
    for i in keep:
        for v in (0, 1):
            ordinary = np.flatnonzero((cells.pitted[i, v] == 0) & (cells.counts[i, v] > 0))
            pits = np.flatnonzero(cells.pitted[i, v])
            chosen += [(i, v, c) for c in np.concatenate([pits, rng.choice(ordinary, ORDINARY, replace=False)])]
    sizes = (cells.pitted > 0).sum((1, 2))
    head = None
    for turn in range(3):
        i, v, c = np.array(chosen).T
        x, pitted = cells.at(i, v, c), cells.pitted[i, v, c]
        head = head or Head(x, rng)
        # A photograph with a large pit counts more than one with a small one, but not by its area.
        head.train(x, pitted, np.where(pitted > 0, 12 / np.sqrt(np.maximum(sizes[i], 1)), 1).astype(np.float32), rng)
        if turn < 2:
            chosen += harder(cells, keep, head.plain(), rng)
    return head.plain()


def harder(cells, keep, head, rng):
    """The cells without pitting that look most like it."""
    found = []
    for i in keep:
        v = int(rng.integers(2))
        z = logits(head, cells.x[i, v], cells.rows[i, v])
        z[(cells.pitted[i, v] > 0) | (cells.counts[i, v] == 0)] = -99
        found += [(i, v, c) for c in np.argsort(z)[-(HARD_BESIDE_PITS if cells.y[i] else HARD):]]
    return found


def train(cells, keep, seed):
    return [fit(cells, keep, seed + n) for n in range(HEADS)]


def heat(heads, x, rows):
    return sum(logits(head, x, rows) for head in heads) / len(heads)


def score(maps):
    return np.sort(maps, -1)[..., -WORST:].mean(-1)


def left_out_scores(cells, place):
    """Of each photograph by heads that saw nothing of its area. The recipe was chosen by what comes of this."""
    area = np.array([ONE_AREA.get(p, p) for p in place])
    scores = np.zeros(len(place))
    for out in np.unique(area):
        heads = train(cells, np.flatnonzero(area != out), SEED)
        for i in np.flatnonzero(area == out):
            scores[i] = score(heat(heads, cells.x[i, 0], cells.rows[i, 0]))
    return scores


def part(data, keep):
    return {k: v[keep] for k, v in data.items()}


def export(heads, scale, shift, path):
    graph = lite0.Graph()
    levels = describe(graph, "input")
    cell, row = (np.concatenate([head[k] for head in heads], 1).T for k in (0, 1))
    bias, out = (np.concatenate([head[k] for head in heads]) for k in (2, 3))
    none, first, sums = np.zeros(len(bias), np.float32), 0, []
    as_conv = lambda w: np.ascontiguousarray(w[:, :, None, None], np.float32)
    for at, (times, channels) in zip(levels, LEVELS):
        name, part = f"head{CELL * times}", slice(first, first + channels)
        own = graph.conv(at, f"{name}.cell", as_conv(cell[:, part]), none if first else bias.astype(np.float32))
        graph.add("ReduceMean", [at], f"{name}.mean", axes=[3], keepdims=1)
        graph.conv(f"{name}.mean", f"{name}.row", as_conv(row[:, part]), none)
        at = graph.add("Sub", [own, f"{name}.row"], f"{name}.difference")
        if times > 1:
            graph.constants[f"{name}.scales"] = np.array([1, 1, times, times], np.float32)
            at = graph.add("Resize", [at, "", f"{name}.scales"], f"{name}.wide", mode="nearest", nearest_mode="floor",
                           coordinate_transformation_mode="asymmetric")
        sums.append(at)
        first += channels
    graph.add("Sum", sums, "hidden.sum")
    graph.add("Relu", ["hidden.sum"], "hidden")
    # Mean of the heads, and Platt's scale and shift.
    out = out[None] / len(heads) * scale
    shift += scale * float(np.mean([head[4] for head in heads]))
    graph.conv("hidden", "cells", as_conv(out), np.array([shift], np.float32))
    graph.add("Sigmoid", ["cells"], "map")
    graph.constants["worst.count"] = np.array([WORST], np.int64)
    graph.add("Flatten", ["cells"], "flat")
    graph.nodes.append(lite0.helper.make_node("TopK", ["flat", "worst.count"], ["worst", "where"], axis=1))
    graph.add("ReduceMean", ["worst"], "score", axes=[1], keepdims=1)
    graph.add("Sigmoid", ["score"], "probability")
    modelkit.save_graph(path, "surface-defect", graph.nodes, [("input", ["N", 1, HEIGHT, WIDTH])],
                        [("probability", ["N", 1]), ("map", ["N", 1, ROWS, COLUMNS])],
                        graph.constants, "Pitting on a ball screw, from a photograph: score and where")


def backbone_session():
    graph = lite0.Graph()
    levels = describe(graph, "input")
    path = OUT / "backbone.onnx"
    modelkit.save_graph(path, "backbone", graph.nodes, [("input", ["N", 1, HEIGHT, WIDTH])],
                        [(level, ["N", c, ROWS // t, COLUMNS // t]) for level, (t, c) in zip(levels, LEVELS)],
                        graph.constants, "")
    session = modelkit.session(path)
    path.unlink()
    return session, levels


def figures(p, y):
    hit = p >= 0.5
    return {"images": len(y), "pitted": int(y.sum()), "roc_auc": float(roc_auc_score(y, p)),
            "accuracy": float((hit == y).mean()), "false_alarms": int((hit & ~y).sum()), "missed": int((~hit & y).sum())}


def made_up():
    """No photograph: a bright bar, a dark bar, and a dark speck of 8 pixels by 8."""
    image = np.zeros((1, 1, HEIGHT, WIDTH), np.float32)
    image[:, :, 40:80], image[:, :, 100:110] = 1, -1
    image[:, :, 60:68, 200:208] = -2
    return image


def main(folder):
    began = time.time()
    data = read(folder)
    tested = is_tested(data["place"])
    known, unseen = part(data, ~tested), part(data, tested)
    OUT.mkdir(exist_ok=True)
    session, levels = backbone_session()
    cells = Cells(known, described(known["image"], session, levels))
    print(len(known["y"]), "to train,", len(unseen["y"]), "to test", round(time.time() - began), "s", flush=True)
    left_out = left_out_scores(cells, known["place"])
    platt = LogisticRegression(C=1e3).fit(left_out[:, None], known["y"])
    scale, shift = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    crossed = figures(platt.predict_proba(left_out[:, None])[:, 1], known["y"])
    print("cross-validation", crossed, flush=True)
    heads = train(cells, np.arange(len(known["y"])), SEED)
    path = OUT / "model.onnx"
    export(heads, scale, shift, path)
    model = modelkit.session(path)
    run = lambda x: model.run(["probability", "map"], {"input": np.ascontiguousarray(x)})
    difference = 0.0
    for image in known["image"][::16]:
        x = run_levels(image[None, None], session, levels)[0]
        expected = score(heat(heads, x, x.reshape(ROWS, COLUMNS, -1).mean(1)))
        asked = float(run(image[None, None])[0][0, 0])
        difference = max(difference, abs(asked - float(1 / (1 + np.exp(-(scale * expected + shift))))))
    assert difference < 1e-4, difference
    answers = [run(x[None, None]) for x in unseen["image"]]
    p = np.array([float(a[0][0, 0]) for a in answers])
    near = np.array([max_near(c, a[1].argmax()) for c, a in zip(unseen["cells"], answers)])
    golden = made_up()
    answer = run(golden)[0]
    numbers = json.dumps([int(v) for v in golden.ravel()], separators=(",", ":"))
    (OUT / "golden.json").write_text(f'{{"input": [{numbers}],\n "output": [{json.dumps(modelkit.exact(answer[0]))}]}}\n')
    result = {"unseen_positions": figures(p, unseen["y"]),
              "unseen_by_position": {str(q): float(roc_auc_score(unseen["y"][unseen["place"] == q], p[unseen["place"] == q]))
                                     for q in np.unique(unseen["place"])},
              "worst_cell_in_or_beside_a_box": float((near[unseen["y"]] > 0).mean()),
              "cross_validation_within_training": crossed,
              "tested_positions": [str(q) for q in np.unique(unseen["place"])],
              "onnx_against_numpy_max_difference": difference, "sha256": modelkit.sha256(path)}
    modelkit.write_json(HERE / "figures.json", result)
    if write := os.environ.get("SCORES"):
        Path(write).write_text("".join(f"{f},{int(t)},{float(q)!r}\n" for f, t, q in zip(unseen["file"], unseen["y"], p)))
    write_card(result)
    print((HERE / "figures.json").read_text(), round(time.time() - began), "s")


def max_near(cells, at):
    y, x = np.unravel_index(at, cells.shape)
    return cells[max(0, y - 1):y + 2, max(0, x - 1):x + 2].max()


def write_card(result):
    modelkit.write_card(OUT / "model.toml", ["Written by ../train.py. What the figures mean: README.md."], {
        "name": "surface-defect", "version": "1.1.0", "sha256": result["sha256"], "task": "classification",
        "licence": "CC BY-SA 4.0 (trained on BSData, Schlagenhauf and Landwehr 2021, CC BY-SA 4.0); "
                   "backbone EfficientNet-Lite0, Apache-2.0",
        "description": "Is there pitting on the ball screw? From a photograph; the second output says where.",
        "input": {"tensor": "input", "layout": "image",
                  "image": {"order": "nchw", "colour": "grey", "width": WIDTH, "height": HEIGHT, "resize": "stretch",
                            "mean": [MEAN], "std": [STD]}},
        "window": {"length": 1},
        "output": {"tensor": "probability", "kind": "probability", "labels": ["sound", "pitting"], "positive": "pitting", "map": "map"},
        "decision": {"raise": 0.5, "clear": 0.3, "direction": "above", "severity": 600,
                     "text": "{asset} shows pitting {place}: {score}, limit {threshold}"},
        "evaluation": {
            "data": "BSData, 690 photographs of one ball screw at ten positions, 234 with pitting",
            "protocol": "trained on seven positions, tested on three that were not seen; recipe by cross-validation over areas",
            "unseen_positions_roc_auc": round(result["unseen_positions"]["roc_auc"], 4),
            "unseen_positions_accuracy": round(result["unseen_positions"]["accuracy"], 4),
        },
        "reference": {"golden": "golden.json", "tolerance": 1e-4},
        "runtime": {"devices": ["cpu"], "threads": 1, "max_batch": 8},
    })


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_test(*sys.argv[1:])
    elif folder := sys.argv[1] if len(sys.argv) == 2 else os.environ.get("BSDATA"):
        main(folder)
    else:
        sys.exit(__doc__)

"""Makes surface-defect-int8 of surface-defect, and measures both on the positions that neither has seen.

    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/surface-defect-int8/train.py PATH/bsdata
    .venv-train/bin/python models/surface-defect-int8/train.py PATH/bsdata --choose

Writes 1.0.0/model.onnx, model.toml and golden.json, and figures.json. With --choose it writes nothing: it compares
variants on the training photographs, each area by heads that saw nothing of it, as surface-defect's recipe was chosen.

Static quantisation of the backbone behind its first block: weights of 7 bits a channel, so that no processor saturates,
activations of 8 bits, their ranges from training photographs. The stem, the first block and all behind the backbone stay
float32, and the heads are those of surface-defect.
"""

import json
import logging
import os
import sys
import tempfile
import tomllib
from pathlib import Path

# One thread: sums in one order, so that a rerun on the same machine gives the same bytes.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).resolve().parent
FLOAT = HERE.parent / "surface-defect" / "1.1.0"
sys.path[:0] = [str(FLOAT.parent), str(HERE.parents[1] / "tools")]
import modelkit  # noqa: E402
import train  # noqa: E402

OUT = HERE / "1.0.0"
STEM, FIRST = ("stem",), ("stem", "0.depth", "0.project")
KINDS = ("Conv", "Clip", "Add")
CALIBRATION = 60
# Answers of other processors (README.md): float sums in another order move some activations by one step of 8 bits.
TOLERANCE = 0.05
U8, S8 = QuantType.QUInt8, QuantType.QInt8


class Photographs(CalibrationDataReader):
    def __init__(self, images):
        self.images = iter(images)

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {"input": image[None, None]}


def quantise(images, path, kept=FIRST, reduce=True, activation=U8, weight=S8, channels=True, method="MinMax",
             photographs=CALIBRATION, **options):
    """The float model with its backbone, but for the convolutions `kept`, in int8. `images` are of training alone."""
    model = onnx.load(FLOAT / "model.onnx")
    for node in model.graph.node:
        node.name = node.output[0]
    of_backbone = [n.name for n in model.graph.node if n.op_type in KINDS and (n.name[0].isdigit() or n.name.startswith("stem"))]
    names = [name for name in of_backbone if name.removesuffix(".relu6") not in kept]
    every = np.linspace(0, len(images) - 1, photographs).astype(int)
    logging.disable(logging.WARNING)
    quantize_static(model, path, Photographs(images[every]), QuantFormat.QDQ, list(KINDS), channels, reduce,
                    activation, weight, names, calibrate_method=CalibrationMethod[method], extra_options=options)
    made = onnx.load(path)
    # What the quantiser left behind of its own work.
    made.graph.ClearField("value_info")
    made.ClearField("metadata_props")
    made.producer_name, made.producer_version = "andon models", ""
    onnx.checker.check_model(made, full_check=True)
    Path(path).write_bytes(made.SerializeToString(deterministic=True))


def descriptions(path, images):
    """What the heads of `path` read, as train.run_levels gives it."""
    model = onnx.load(path)
    read = {n.output[0]: n.input[0] for n in model.graph.node}
    levels = [read[f"head{train.CELL * times}.cell"] for times, _ in train.LEVELS]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(level, onnx.TensorProto.FLOAT, None) for level in levels)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(model, file.name)
        session = modelkit.session(file.name)
    return np.stack([train.run_levels(image[None, None], session, levels)[0].astype(np.float16) for image in images])


VARIANTS = {
    "shipped: stem and first block in float": {},
    "the stem in float": {"kept": STEM},
    "nothing of the backbone in float": {"kept": ()},
    "the same, weights of 8 bits (needs VNNI)": {"kept": (), "reduce": False},
    "the stem in float, one scale a tensor": {"kept": STEM, "channels": False},
    "shipped, all 483 photographs": {"photographs": 483},
    "shipped, entropy, 24 photographs": {"method": "Entropy", "photographs": 24},
    "shipped, 99.999 %, 24 photographs": {"method": "Percentile", "photographs": 24, "CalibPercentile": 99.999},
}


def choose(known):
    """Variants by heads that saw nothing of a photograph's area; the limit of 0.5 is that of the float answers."""
    session, levels = train.backbone_session()
    cells = train.Cells(known, train.described(known["image"], session, levels))
    area = np.array([train.ONE_AREA.get(place, place) for place in known["place"]])
    heads = {out: train.train(cells, np.flatnonzero(area != out), train.SEED) for out in np.unique(area)}

    def scores(x):
        rows = x.reshape(len(x), train.ROWS, train.COLUMNS, train.CHANNELS).mean(2, dtype=np.float32)
        return np.array([train.score(train.heat(heads[a], f, row)) for a, f, row in zip(area, x, rows)])

    plain = scores(cells.x[:, 0])
    platt = LogisticRegression(C=1e3).fit(plain[:, None], known["y"])
    chance = lambda s: platt.predict_proba(s[:, None])[:, 1]
    print("float", train.figures(chance(plain), known["y"]), flush=True)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        for name, how in VARIANTS.items():
            quantise(known["image"], file.name, **how)
            p = chance(scores(descriptions(file.name, known["image"])))
            print(f"{name}:", train.figures(p, known["y"]), differences(p, chance(plain)), flush=True)


def differences(p, plain):
    apart = np.abs(p - plain)
    return {"largest": float(apart.max()), "median": float(np.median(apart))}


def measured(path, unseen):
    """Probabilities, and figures, of photographs of positions not seen."""
    model = modelkit.session(path)
    answers = [model.run(["probability", "map"], {"input": np.ascontiguousarray(x[None, None])}) for x in unseen["image"]]
    p = np.array([float(answer[0][0, 0]) for answer in answers])
    near = np.array([train.max_near(c, a[1].argmax()) for c, a in zip(unseen["cells"], answers)])
    at = unseen["place"]
    return p, {"unseen_positions": train.figures(p, unseen["y"]),
               "unseen_by_position": {str(q): float(roc_auc_score(unseen["y"][at == q], p[at == q])) for q in np.unique(at)},
               "worst_cell_in_or_beside_a_box": float((near[unseen["y"]] > 0).mean())}


def main(folder, choosing):
    data = train.read(folder)
    places = np.unique(data["place"])
    tested = np.isin(data["place"], places[list(train.TEST)])
    known = train.part(data, ~tested)
    if choosing:
        return choose(known)
    unseen = train.part(data, tested)
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"
    quantise(known["image"], path)
    plain, of_float = measured(FLOAT / "model.onnx", unseen)
    p, of_int8 = measured(path, unseen)
    golden = train.made_up()
    answer = modelkit.session(path).run(["probability"], {"input": golden})[0]
    numbers = json.dumps([int(v) for v in golden.ravel()], separators=(",", ":"))
    (OUT / "golden.json").write_text(f'{{"input": [{numbers}],\n "output": [{json.dumps(modelkit.exact(answer[0]))}]}}\n')
    result = {"int8": of_int8, "float": of_float, "probability_apart": differences(p, plain),
              "other_side_of_the_limit": int(((p >= 0.5) != (plain >= 0.5)).sum()),
              "bytes": path.stat().st_size, "float_sha256": modelkit.sha256(FLOAT / "model.onnx"),
              "sha256": modelkit.sha256(path)}
    modelkit.write_json(HERE / "figures.json", result)
    write_card(result)
    print((HERE / "figures.json").read_text())


def write_card(result):
    """That of the float model, but for what differs."""
    card = tomllib.loads((FLOAT / "model.toml").read_text())
    card |= {"name": "surface-defect-int8", "version": "1.0.0", "sha256": result["sha256"],
             "description": "surface-defect with its backbone in int8, for a processor without a GPU: pitting on the ball screw?"}
    card["evaluation"]["protocol"] += "; quantised by photographs of training alone"
    unseen = result["int8"]["unseen_positions"]
    card["evaluation"] |= {"unseen_positions_roc_auc": round(unseen["roc_auc"], 4),
                           "unseen_positions_accuracy": round(unseen["accuracy"], 4)}
    card["reference"]["tolerance"] = TOLERANCE
    modelkit.write_card(OUT / "model.toml", ["Written by ../train.py. What the figures mean: README.md."], card)


if __name__ == "__main__":
    wanted = [word for word in sys.argv[1:] if word != "--choose"]
    folder = wanted[0] if len(wanted) == 1 else os.environ.get("BSDATA")
    if not folder:
        sys.exit(__doc__)
    main(folder, "--choose" in sys.argv)

"""Trains operator-note on notes that notes.py makes up, and measures it on templates and words kept apart.

    python3 -m venv .venv-train && .venv-train/bin/pip install -r models/requirements.txt
    .venv-train/bin/python models/operator-note/train.py [FOLDER]

Writes 1.0.0/model.onnx, model.toml and golden.json, and figures.json. A minute on one core. With FOLDER
nothing is trained: the held-out notes go there as CSV for `andon evaluate`.

In the graph: a text to its characters (with a mark at either end), to counts of 2 to 4 neighbouring ones, weighted by
how rare they are and brought to length 1 (TF-IDF), to the probabilities of three classes (logistic regression).
Lower case and single spaces are the daemon's work (`input.text` of the card): ONNX Runtime's StringNormalizer needs
the box to have the locale that the graph names.
"""

import csv
import os
import sys
from pathlib import Path

# One thread: sums in one order, so that a rerun gives the same bytes.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import onnx
from onnx import TensorProto, helper
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]
import modelkit  # noqa: E402
import notes  # noqa: E402

OUT = HERE / "1.0.0"
TRAIN, TEST = 6000, 2000
POSITIVE = notes.LABELS.index("fault")
START, END = "\x02", "\x03"


def prepared(text):
    return " ".join(text.lower().split())


def vectorizer():
    return TfidfVectorizer(analyzer="char", ngram_range=(2, 4), lowercase=False, min_df=20, max_features=3000,
                           dtype=np.float64)


class Model:
    def __init__(self, texts, labels, c):
        self.vectorizer = vectorizer()
        x = self.vectorizer.fit_transform([START + prepared(t) + END for t in texts])
        self.regression = LogisticRegression(C=c, max_iter=2000).fit(x, labels)

    def answer(self, texts):
        return self.regression.predict_proba(self.vectorizer.transform([START + prepared(t) + END for t in texts]))


def export(model, path):
    """The pool of n-grams goes by length, as the operator has it; columns stay where they are."""
    vocabulary = sorted(model.vectorizer.vocabulary_.items(), key=lambda entry: (len(entry[0]), entry[1]))
    starts = [0] + [sum(len(gram) for gram, _ in vocabulary if len(gram) <= n) for n in (1, 2, 3)]
    node = helper.make_node
    nodes = [
        node("Tokenizer", ["text"], ["characters"], domain="com.microsoft", mark=1, mincharnum=1, pad_value="",
             separators=[""]),
        node("TfIdfVectorizer", ["characters"], ["weighted"], mode="TFIDF", min_gram_length=2, max_gram_length=4,
             max_skip_count=0, ngram_counts=starts, ngram_indexes=[int(column) for _, column in vocabulary],
             pool_strings=[c for gram, _ in vocabulary for c in gram],
             weights=[float(np.float32(model.vectorizer.idf_[column])) for _, column in vocabulary]),
        node("ReduceL2", ["weighted"], ["length"], axes=[1], keepdims=1),
        # A text without a known n-gram has no length, and no NaN either.
        node("Max", ["length", "least"], ["above"]),
        node("Div", ["weighted", "above"], ["features"]),
        node("Gemm", ["features", "weight", "bias"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {"least": np.array([1e-12], np.float32), "weight": model.regression.coef_.T.astype(np.float32),
                 "bias": model.regression.intercept_.astype(np.float32)}
    graph = helper.make_graph(
        nodes, "operator-note", [helper.make_tensor_value_info("text", TensorProto.STRING, ["N"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(notes.LABELS)])],
        [onnx.numpy_helper.from_array(v, n) for n, v in constants.items()],
        doc_string="Class of a note: TF-IDF of character n-grams, logistic regression")
    opsets = [modelkit.OPSETS[0], helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=modelkit.IR_VERSION, producer_name="andon models")
    onnx.checker.check_model(made)
    Path(path).write_bytes(made.SerializeToString(deterministic=True))


def best_threshold(score, truth):
    """The highest F1, as a number with two digits."""
    candidates = np.arange(0.05, 0.96, 0.01).round(2)
    return float(max(candidates, key=lambda t: (f1_score(truth, score >= t), -abs(t - 0.5))))


def figures(answer, labels, threshold):
    score, fault = answer[:, POSITIVE], labels == POSITIVE
    told = score >= threshold
    best = answer.argmax(1)
    return {"notes": len(labels), "faults": int(fault.sum()), "threshold": threshold,
            "true_positives": int((told & fault).sum()), "false_positives": int((told & ~fault).sum()),
            "false_negatives": int((~told & fault).sum()), "true_negatives": int((~told & ~fault).sum()),
            "precision": float((told & fault).sum() / max(told.sum(), 1)), "recall": float(told[fault].mean()),
            "f1": float(f1_score(fault, told)), "roc_auc": float(roc_auc_score(fault, score)),
            "pr_auc": float(average_precision_score(fault, score)), "log_loss": float(log_loss(fault, score)),
            "class_accuracy": float((best == labels).mean()),
            "confusion_rows_truth": confusion_matrix(labels, best).tolist()}


def drawn(seed, which, words, count):
    texts, labels, templates = notes.notes(seed, which, words, count)
    return texts, np.array([notes.LABELS.index(label) for label in labels]), templates


def held_out():
    return drawn(2, "kept", "kept", TEST)[:2]


def write_held_out(folder):
    with open(Path(folder) / "operator-note.csv", "w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["text", "label"])
        rows.writerows((text, notes.LABELS[label]) for text, label in zip(*held_out()))


def main():
    texts, labels, templates = drawn(1, "seen", "seen", TRAIN)
    groups = [sorted(set(templates)).index(t) for t in templates]
    folds = list(GroupKFold(5).split(texts, labels, groups))
    pick = lambda at: [texts[i] for i in at]
    strengths, chosen = {}, None
    for c in (0.3, 1.0, 3.0, 10.0, 30.0):
        out = np.zeros((len(texts), len(notes.LABELS)))
        for train, test in folds:
            out[test] = Model(pick(train), labels[train], c).answer(pick(test))
        strengths[str(c)] = float(log_loss(labels, out))
        if strengths[str(c)] == min(strengths.values()):
            chosen, held = c, out
    threshold = best_threshold(held[:, POSITIVE], labels == POSITIVE)

    model = Model(texts, labels, chosen)
    OUT.mkdir(exist_ok=True)
    path = OUT / "model.onnx"
    export(model, path)
    session = modelkit.session(path)
    run = lambda many: session.run(["probabilities"], {"text": np.array([prepared(t) for t in many], object)})[0]
    kept, kept_labels = held_out()
    known = {t.lower() for t in texts}
    others = {}
    for name, which, words in (("kept_templates_seen_words", "kept", "seen"), ("seen_templates_kept_words", "seen", "kept"),
                               ("seen_templates_and_words", "seen", "seen")):
        more, truth, _ = drawn(3, which, words, TEST)
        new = [i for i, t in enumerate(more) if t.lower() not in known]
        others[name] = figures(run([more[i] for i in new]).astype(np.float64), truth[new], threshold)
    difference = max(float(np.abs(run(many) - model.answer(many)).max()) for many in (texts, kept))
    one_by_one = max(float(np.abs(run([t])[0] - row).max()) for t, row in zip(kept[:50], run(kept[:50])))
    assert difference < 1e-4 and one_by_one < 1e-6, (difference, one_by_one)

    golden = kept[:8] + ["öldruck zu niedrig, straße 3 steht", "机器停了", "x", "ok"]
    golden = [prepared(t) for t in golden]
    answers = run(golden)
    modelkit.check_golden_numbers(answers)
    modelkit.write_json(OUT / "golden.json", {"input": golden, "output": modelkit.exact(answers)})
    result = {"strength": chosen, "log_loss_by_strength": strengths, "threshold": threshold,
              "cross_validation_by_template": figures(held, labels, threshold),
              "kept_templates_and_words": figures(run(kept).astype(np.float64), kept_labels, threshold),
              **others,
              "ngrams": len(model.vectorizer.vocabulary_), "bytes": path.stat().st_size,
              "onnx_against_scikit_learn_max_difference": difference, "sha256": modelkit.sha256(path)}
    modelkit.write_json(HERE / "figures.json", result)
    write_card(result)
    print((HERE / "figures.json").read_text())


def write_card(result):
    measured = result["kept_templates_and_words"]
    modelkit.write_card(OUT / "model.toml", ["Written by ../train.py. What the figures mean: README.md."], {
        "name": "operator-note", "version": "1.0.0", "sha256": result["sha256"], "task": "classification",
        "licence": "MIT OR Apache-2.0; trained on notes that the project made up",
        "description": "What is a note of an operator or a message of a controller about? German and English.",
        "input": {"tensor": "text", "layout": "text", "text": {"lowercase": True, "single_spaces": True}},
        "window": {"length": 1},
        "output": {"tensor": "probabilities", "kind": "probability", "labels": notes.LABELS, "positive": "fault"},
        "decision": {"raise": result["threshold"], "severity": 400, "text": "{asset}: “{note}”"},
        "evaluation": {"data": "made up by ../notes.py; no note of a real shop floor",
                       "protocol": f"{TEST} notes of templates and words that training never had",
                       **{k: round(measured[k], 4) for k in ("precision", "recall", "f1", "roc_auc", "pr_auc")}},
        "reference": {"golden": "golden.json", "tolerance": 1e-5},
    })


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write_held_out(sys.argv[1])
    elif len(sys.argv) == 1:
        main()
    else:
        sys.exit(__doc__)

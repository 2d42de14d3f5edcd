"""Figures of scikit-learn 1.5 or later that src/evaluate must reproduce: python golden.py > golden.json"""

import json

import numpy as np
from sklearn import metrics

random = np.random.default_rng(7)
cases = []
for rows, decimals in [(40, 1), (300, 2), (500, 6)]:
    truth = (random.random(rows) < 0.3).astype(int)
    score = np.clip(random.normal(0.35 + 0.25 * truth, 0.2), 0.0, 1.0).round(decimals)
    called = score >= 0.5
    cases.append({
        "score": score.tolist(),
        "truth": truth.tolist(),
        "roc_auc": metrics.roc_auc_score(truth, score),
        "pr_auc": metrics.average_precision_score(truth, score),
        "log_loss": metrics.log_loss(truth, score),
        "accuracy": metrics.accuracy_score(truth, called),
        "precision": metrics.precision_score(truth, called),
        "recall": metrics.recall_score(truth, called),
        "f1": metrics.f1_score(truth, called),
    })

truth = random.uniform(0, 130, 200).round(2)
answer = (truth + random.normal(2, 15, 200)).round(3)
d = answer - truth
value = {
    "answer": answer.tolist(),
    "truth": truth.tolist(),
    "rmse": metrics.mean_squared_error(truth, answer) ** 0.5,
    "mae": metrics.mean_absolute_error(truth, answer),
    "r2": metrics.r2_score(truth, answer),
    "cmapss": float(np.where(d < 0, np.exp(-d / 13) - 1, np.exp(d / 10) - 1).sum()),
}

truth = random.integers(0, 3, 120)
answer = np.where(random.random(120) < 0.7, truth, random.integers(0, 3, 120))
precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, answer)
classes = {
    "truth": truth.tolist(),
    "answer": answer.tolist(),
    "confusion": metrics.confusion_matrix(truth, answer).tolist(),
    "accuracy": metrics.accuracy_score(truth, answer),
    "precision": precision.tolist(),
    "recall": recall.tolist(),
    "f1": f1.tolist(),
    "support": support.tolist(),
}
print(json.dumps({"binary": cases, "value": value, "classes": classes}))

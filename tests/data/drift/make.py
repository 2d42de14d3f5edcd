"""Writes vectors.json: what scipy and river say of streams that tests/drift.rs shows to Andon.

    python3 -m venv VENV && VENV/bin/pip install -r tests/data/drift/requirements.txt
    VENV/bin/python tests/data/drift/make.py
"""

import json
from pathlib import Path

import numpy as np
from river import drift
from scipy import special, stats

LEAST_SHARE = 1e-4
rng = np.random.default_rng(7)


def bins(reference, current, edges):
    count = lambda x: np.bincount(np.digitize(x, edges), minlength=len(edges) + 1)
    p, q = count(reference) / len(reference), count(current) / len(current)
    low_p, low_q = np.maximum(p, LEAST_SHARE), np.maximum(q, LEAST_SHARE)
    psi = special.rel_entr(low_p, low_q).sum() + special.rel_entr(low_q, low_p).sum()
    ks = stats.ks_2samp(np.digitize(reference, edges), np.digitize(current, edges)).statistic
    return {"edges": list(edges), "shares": p.tolist(), "values": current.tolist(),
            "psi": float(psi), "ks": float(ks)}


def watch(detector, stream, figures):
    found, seen = [], []
    for at, value in enumerate(stream):
        detector.update(value)
        if detector.drift_detected:
            found.append(at)
        if at % 50 == 49:
            seen.append(figures(detector))
    return found, seen


def rounded(*parts):
    return np.concatenate(parts).round(6).tolist()


def main():
    reference = rng.normal(0, 1, 2000).round(4)
    deciles = np.quantile(reference, np.arange(1, 10) / 10).round(4)
    currents = [rng.normal(0, 1, 300), rng.normal(0.4, 1, 300), rng.normal(6, 0.1, 200), rng.normal(0, 2, 100)]
    binned = [bins(reference, c.round(4), deciles) for c in currents]
    binned.append(bins(rng.integers(0, 3, 900).astype(float), rng.integers(0, 2, 120).astype(float), [1.0, 2.0]))
    streams = [
        rounded(rng.normal(0, 0.1, 600), rng.normal(0.5, 0.1, 400), rng.normal(0.1, 0.2, 400)),
        rounded((rng.random(700) < 0.05).astype(float), (rng.random(500) < 0.4).astype(float)),
        rounded(rng.normal(0, 1, 800)),
        rounded(rng.normal(5, 2, 500), rng.normal(-5, 2, 300)),
    ]
    adwin, hinkley = [], []
    for at, stream in enumerate(streams):
        for settings in [{}, {"delta": 0.05, "clock": 8, "max_buckets": 3, "min_window_length": 10}]:
            found, seen = watch(drift.ADWIN(**settings), stream, lambda d: [d.width, d.total])
            adwin.append({"stream": at, "settings": settings, "found": found, "seen": seen})
        for settings in [{}, {"threshold": 5.0, "delta": 0.01}, {"threshold": 3.0, "mode": "up", "min_instances": 60},
                         {"threshold": 3.0, "mode": "down", "alpha": 0.99}]:
            found, seen = watch(drift.PageHinkley(**settings), stream, lambda d: d._x_mean.get())
            hinkley.append({"stream": at, "settings": settings, "found": found, "seen": seen})
    out = {"binned": binned, "streams": streams, "adwin": adwin, "page_hinkley": hinkley}
    (Path(__file__).parent / "vectors.json").write_text(json.dumps(out) + "\n")
    print([len(a["found"]) for a in adwin], [len(a["found"]) for a in hinkley])


main()

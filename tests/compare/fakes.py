"""Runs with planted accuracies, as the evaluate stage would leave them."""

import json

import numpy as np
from scipy.stats import norm

from pretextbench.compare.runs import Run

STAGES = ("layer1", "layer2", "layer3", "layer4")
BUDGETS = {"1%": 0.75, "10%": 0.9}


def correctness(rng, accuracies, seeds, n, seed_sd=0.0, redraws=1, redraw_sd=0.0):
    """Per row (seeds, redraws, n) of 0 and 1 of given expected accuracies: probit of example, seed, redraw, noise."""
    total = np.sqrt(2 + seed_sd**2 + 2 * redraw_sd**2)
    example, shared = rng.normal(size=n), redraw_sd * rng.normal(size=(redraws, 1))
    rows = []
    for accuracy in accuracies:
        own = redraw_sd * rng.normal(size=(redraws, 1)) + seed_sd * rng.normal(size=(seeds, 1, 1))
        latent = norm.ppf(accuracy) * total + example + shared + own + rng.normal(size=(seeds, redraws, n))
        rows.append((latent > 0).astype(float))
    return rows


def predictions(correct, labels, rng, classes):
    """Labels where correct, some other class where not."""
    wrong = (labels + rng.integers(1, classes, correct.shape)) % classes
    return np.where(correct > 0, labels, wrong)


def runs(accuracies, seeds=1, n=500, classes=10, images=32_000, seed=0, seed_sd=0.1, few=None):
    """One Run per name and seed; `random` and `supervised` are controls. `few` gives the accuracy at 1% by name."""
    rng, names = np.random.default_rng(seed), list(accuracies)
    labels = rng.integers(0, classes, n)
    tables = {"linear": correctness(rng, list(accuracies.values()), seeds, n, seed_sd)}
    for budget, factor in BUDGETS.items():
        wanted = [(few or {}).get(name, a * factor) if budget == "1%" else a * factor for name, a in accuracies.items()]
        tables[budget] = correctness(rng, wanted, seeds, n, seed_sd, redraws=3, redraw_sd=0.1)
    found = []
    for m, name in enumerate(names):
        for s in range(seeds):
            said = {"index": np.arange(n), "label": labels}
            for i, stage in enumerate(STAGES):
                worse = tables["linear"][m][s, 0] * (rng.random(n) < 1 - 0.05 * abs(i - 2))
                said[f"linear.{stage}"] = predictions(worse, labels, rng, classes)
                said[f"knn.{stage}"] = predictions(worse * (rng.random(n) < 0.95), labels, rng, classes)
            for budget in BUDGETS:
                said[f"budget.{budget}"] = predictions(tables[budget][m][s], labels, rng, classes)
            found.append(run(name, s, said, n, classes, images))
    return found


def run(name, seed, said, n=500, classes=10, images=32_000):
    """One Run with the metrics that go with its predictions."""
    layers = {stage: {"val": 0.9 - 0.05 * abs(i - 2)} for i, stage in enumerate(STAGES)}
    metrics = {
        "labelled": True,
        "classes": [f"class{i}" for i in range(classes)],
        "data": {"train": 6000, "val": 1000, "test": n, "test_labelled": n, "fingerprint": "a" * 64},
        "knn": {"best": "layer3", "last": "layer4", "layers": layers},
        "linear": {"best": "layer3", "last": "layer4", "layers": layers},
        "budgets": {budget: {"labels": labels, "top1": 0.5} for budget, labels in (("1%", 60), ("10%", 600))},
        "labelfree": {"stage": "layer4", "rankme": 30.0 + len(name), "uniformity": -3.1, "feature_std": 0.8},
    }
    idle = name == "random"
    return Run(
        name=name,
        seed=seed,
        control=name in ("random", "supervised"),
        metrics=metrics,
        predictions=said,
        images_seen=0 if idle else images,
        seconds=0.0 if idle else 20.0 + 3 * len(name) + seed,
        images_per_second=0.0 if idle else 1500.0,
        peak_memory_mib=812.3,
        parameters=312_000,
    )


def unlabelled(found):
    """The same run as it would be without any labels."""
    metrics = {key: found.metrics[key] for key in ("labelfree", "data", "classes")}
    metrics |= {"labelled": False, "reason": "no training image has a label"}
    return Run(**{**vars(found), "metrics": metrics, "predictions": {}})


def on_disk(found, evaluated, pretrained):
    """Write a run as the stages do; returns the name of its folder."""
    folder = f"{found.name}-{found.seed}"
    (evaluated / folder).mkdir(parents=True)
    (pretrained / folder).mkdir(parents=True)
    (evaluated / folder / "metrics.json").write_text(json.dumps(found.metrics))
    np.savez_compressed(evaluated / folder / "predictions.npz", **found.predictions)
    card = {"method": found.name, "seed": found.seed, "control": found.control, "parameters": found.parameters}
    card |= {"images_seen": found.images_seen, "seconds": found.seconds, "images_per_second": found.images_per_second}
    card |= {"peak_memory_bytes": int(found.peak_memory_mib * 2**20), "peak_device_memory_bytes": 0}
    (pretrained / folder / "encoder.json").write_text(json.dumps(card))
    return folder

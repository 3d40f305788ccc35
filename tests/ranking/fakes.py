"""Runs with planted accuracies, as the evaluate stage would leave them."""

import itertools
import json

import numpy as np
from scipy.stats import norm

from pretextbench.ranking.runs import Run

STAGES = ("layer1", "layer2", "layer3", "layer4")
BUDGETS = {"1%": 0.75, "10%": 0.9}
CORRUPTIONS = ("noise", "blur", "rotate")


def correctness(rng, accuracies, seeds, n, seed_sd=0.0, redraws=1, redraw_sd=0.0):
    """Per row (seeds, redraws, n) of 0 and 1 of given expected accuracies: probit of example, seed, redraw, noise."""
    return encoders(rng, accuracies, seeds, n, seed_sd, redraws, redraw_sd)[0]


def encoders(rng, accuracies, seeds, n, seed_sd=0.0, redraws=1, redraw_sd=0.0):
    """The same, and per row (seeds, redraws, 1) the accuracies of these very encoders over all images."""
    total = np.sqrt(2 + seed_sd**2 + 2 * redraw_sd**2)
    example, shared = rng.normal(size=n), redraw_sd * rng.normal(size=(redraws, 1))
    rows, truths = [], []
    for accuracy in accuracies:
        own = redraw_sd * rng.normal(size=(redraws, 1)) + seed_sd * rng.normal(size=(seeds, 1, 1))
        latent = norm.ppf(accuracy) * total + example + shared + own + rng.normal(size=(seeds, redraws, n))
        rows.append((latent > 0).astype(float))
        truths.append(norm.cdf((norm.ppf(accuracy) * total + shared + own) / np.sqrt(2)))
    return rows, truths


def predictions(correct, labels, rng, classes):
    """Labels where correct, some other class where not."""
    wrong = (labels + rng.integers(1, classes, correct.shape)) % classes
    return np.where(correct > 0, labels, wrong)


def runs(accuracies, seeds=1, n=500, classes=10, images=32_000, seed=0, seed_sd=0.1, few=None):
    """One Run per name and seed; `random` and `supervised` are controls. `few` gives the accuracy at 1% by name."""
    rng, names = np.random.default_rng(seed), list(accuracies)
    labels = rng.integers(0, classes, n)
    linear, truths = encoders(rng, list(accuracies.values()), seeds, n, seed_sd)
    tables = {"linear": linear}
    for budget, factor in BUDGETS.items():
        wanted = [(few or {}).get(name, a * factor) if budget == "1%" else a * factor for name, a in accuracies.items()]
        tables[budget] = correctness(rng, wanted, seeds, n, seed_sd, redraws=3, redraw_sd=0.1)
    results = []
    for m, name in enumerate(names):
        for s in range(seeds):
            predicted = {"index": np.arange(n), "label": labels}
            for i, stage in enumerate(STAGES):
                worse = tables["linear"][m][s, 0] * (rng.random(n) < 1 - 0.05 * abs(i - 2))
                predicted[f"linear.{stage}"] = predictions(worse, labels, rng, classes)
                predicted[f"knn.{stage}"] = predictions(worse * (rng.random(n) < 0.95), labels, rng, classes)
            predicted |= other_predictions(predicted, tables["linear"][m][s, 0], classes, rng)
            for budget in BUDGETS:
                predicted[f"budget.{budget}"] = predictions(tables[budget][m][s], labels, rng, classes)
            val = np.random.default_rng([seed, m, s]).binomial(1000, truths[m][s, 0, 0]) / 1000
            results.append(run(name, s, predicted, n, classes, images, val))
    return results


def other_predictions(predicted, correct, classes, rng):
    """Predictions of corrupted images (worse with severity), of another data set, and of a fine-tuned network."""
    n, results, same = len(correct), {}, np.random.default_rng(1)  # the images and labels are those of every run
    few = same.permutation(n)[: n // 2]
    results |= {"robust.index": np.sort(few), "robust.label": predicted["label"][np.sort(few)]}
    for name, stage in itertools.product(CORRUPTIONS, STAGES):
        kept = np.stack([correct[np.sort(few)] * (rng.random(len(few)) < 1 - 0.15 * s) for s in range(5)])
        results[f"robust.{stage}.{name}"] = predictions(kept, results["robust.label"], rng, classes)
    results |= {"transfer.index": np.arange(n), "transfer.label": same.integers(0, classes, n)}
    for stage in STAGES:
        results[f"transfer.linear.{stage}"] = predictions(
            correct * (rng.random(n) < 0.8), results["transfer.label"], rng, classes
        )
    better = np.maximum(correct, rng.random(n) < 0.3)
    return results | {"finetune.100%": predictions(better, predicted["label"], rng, classes)}


def run(name, seed, predicted, n=500, classes=10, images=32_000, val=0.9):
    """One Run with the metrics that go with its predictions."""
    layers = {
        stage: {"val": val * (1 - 0.05 * abs(i - 2))} | test(predicted, f"linear.{stage}")
        for i, stage in enumerate(STAGES)
    }
    metrics = {
        "labelled": True,
        "classes": [f"class{i}" for i in range(classes)],
        "data": {"train": 6000, "val": 1000, "test": n, "test_labelled": n, "fingerprint": "a" * 64},
        "knn": {"best": "layer3", "last": "layer4", "layers": layers},
        "linear": {"best": "layer3", "last": "layer4", "layers": layers},
        "budgets": {budget: {"labels": labels, "top1": 0.5} for budget, labels in (("1%", 60), ("10%", 600))},
        "labelfree": {"stage": "layer4", "rankme": 30.0 + len(name), "uniformity": -3.1, "feature_std": 0.8},
        **further(layers, predicted),
    }
    idle = name in ("random", "pixels")
    return Run(
        name=name,
        seed=seed,
        kind="control" if name in ("random", "pixels", "supervised") else "method",
        metrics=metrics,
        predictions=predicted,
        images_seen=0 if idle else images,
        seconds=0.0 if idle else 20.0 + 3 * len(name) + seed,
        images_per_second=0.0 if idle else 1500.0,
        peak_memory_mib=812.3,
        parameters=312_000,
        views=0 if idle else 2,
        multiply_adds=6_172_839,
        training_multiply_adds=0 if idle else 13_000_000,
    )


def test(predicted, key):
    """The scores of one set of predictions, where there are any."""
    if key not in predicted:
        return {}
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (predicted["label"] % 10, predicted[key] % 10), 1)
    recall = np.diag(counts) / np.maximum(counts.sum(1), 1)
    scores = {"top1": float((predicted[key] == predicted["label"]).mean()), "balanced_accuracy": float(recall.mean())}
    return {"test": {**scores, "macro_f1": float(recall.mean()), "per_class": recall.tolist(), "ece": 0.031}}


def further(layers, predicted):
    """The parts of an evaluation that not every one has."""
    if "robust.index" not in predicted:
        return {}
    best = {n: predicted[f"robust.layer3.{n}"] == predicted["robust.label"] for n in CORRUPTIONS}
    curves = {name: hits.mean(1).tolist() for name, hits in best.items()}
    mean = np.mean(list(curves.values()), 0).tolist()
    robust = {"layer": "layer3", "images": len(predicted["robust.index"]), "clean": 0.6, "corruptions": curves}
    robust |= {"mean": mean, "relative_drop": float(np.mean(1 - np.array(mean) / 0.6))}
    probe = {"best": "layer3", "last": "layer4", "layers": layers}
    transfer = {"source": "folder", "classes": ["x", "y"], "data": {"fingerprint": "b" * 64}, "linear": probe}
    tuned = {"labels": 6000, "top1": 0.7, "kept": 8000, "stopped": True, "history": [[2000, 0.5], [8000, 0.7]]}
    alike = {"layer": "layer3", "map": 0.3, "recall": {"1": 0.4, "5": 0.7, "10": 0.8}, "chance": 0.1, "queries": 200}
    return {"robustness": robust, "retrieval": alike, "transfer": transfer, "finetune": {"100%": tuned}}


def unlabelled(results):
    """The same run as it would be without any labels."""
    metrics = {key: results.metrics[key] for key in ("labelfree", "data", "classes")}
    metrics |= {"labelled": False, "reason": "no training image has a label"}
    return Run(**{**vars(results), "metrics": metrics, "predictions": {}})


def on_disk(run, root):
    """Write a run as the stages do; returns the name of its folder."""
    folder = root / f"{run.name}-{run.seed}"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(run.metrics))
    np.savez_compressed(folder / "predictions.npz", **run.predictions)
    card = {"method": run.name, "seed": run.seed, "control": run.kind != "method", "parameters": run.parameters}
    card["encoder"] = {"name": run.encoder}
    if run.kind == "reference":
        card |= {"method": "untouched", "row": run.name}
    card |= {"views": run.views, "multiply_adds": run.multiply_adds}
    card["training_multiply_adds"] = run.training_multiply_adds
    card |= {"images_seen": run.images_seen, "seconds": run.seconds, "images_per_second": run.images_per_second}
    card |= {"peak_memory_bytes": int(run.peak_memory_mib * 2**20), "peak_device_memory_bytes": 0}
    (folder / "encoder.json").write_text(json.dumps(card))
    return folder.name

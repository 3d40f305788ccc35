"""The protocol: features, probes at every stage, the further protocols, one read of the test labels.

The further protocols are few labels, fine-tuning, corrupted images and transfer to a second data set.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretextbench.data.prepared import Prepared, spread
from pretextbench.errors import UserError
from pretextbench.evaluate import evaluation, label_budgets, retrieval, scoring
from pretextbench.evaluate.curve import learning_curve
from pretextbench.evaluate.evaluation import ALIKE, GALLERY, MAP, Evaluation, record
from pretextbench.evaluate.label_budgets import Budget, Few
from pretextbench.evaluate.pictures import FEWEST, Side, alike, feature_map, find_neighbours, gallery
from pretextbench.evaluate.probes import Bench, Prediction, Probed, linear_probes, neighbours
from pretextbench.evaluate.scoring import score_test
from pretextbench.evaluate.subject import SPLITS, Features, Subject
from pretextbench.evaluate.task_evaluation import evaluate_task
from pretextbench.measures import alignment, effective_rank, feature_std, uniformity


def measure(features: Tensor) -> dict[str, float]:
    """RankMe, uniformity and feature std of (n, D) features.

    Raises:
        UserError: fewer than two images.
    """
    if len(features) < 2:
        raise UserError(f"Label-free measures need two validation images or more; found {len(features)}.")
    return {
        "rankme": effective_rank(features),
        "uniformity": uniformity(features),
        "feature_std": feature_std(features),
    }


def evaluate(subject: Subject, data: Prepared) -> Evaluation:
    """Judge a frozen encoder. Training and validation choose; test labels are read once, after every choice.

    Labels that are no classes have probes of their own (`task_evaluation`), in the same protocol.

    Without enough labels the label-free measures are all there is, and `metrics["reason"]` says why.

    Args:
        subject: the encoder, and how it is judged.
        data: images and labels (-1 where there is none), opened with the labels folder.

    Raises:
        UserError: features are not finite (names the stage), a split is empty, or a budget is not one.
    """
    params = subject.params
    for budget in (*params.budgets, *params.finetune, *params.scratch):
        Budget.parse(budget)
    held_out, labels = subject.features(data.images("val")), _labels(data)
    base = {
        "data": {**{split: len(data.images(split)) for split in SPLITS}, "fingerprint": data.fingerprint},
        "classes": data.classes,
        "labelfree": _label_free(subject, held_out),
    }
    if data.task != "class":
        pooled = {"train": subject.features(data.images("train")), "val": held_out}
        return evaluate_task(subject, data, base, _pictures(subject, data, pooled["train"], held_out), pooled)
    if reason := _unusable(labels, data.classes):
        files = _pictures(subject, data, subject.features(data.images("train")), held_out)
        return Evaluation({"labelled": False, "reason": reason, **base}, files=files)
    bench, clock = subject.bench(data, held_out, labels), subject.clock
    with clock.part("k-NN"):
        probed = {"knn": neighbours(bench)}
    with clock.part("linear probes"):
        probed["linear"] = linear_probes(bench)
    few = _with_few_labels(subject, data, bench, probed["linear"])
    files = _pictures(subject, data, bench.features["train"], held_out, probed["linear"].best)
    base["curve"] = _curve(subject, bench, data)
    predictions = _predictions(subject, probed, few)
    scored = score_test(data, predictions)
    if scored is None:
        return Evaluation({"labelled": False, "reason": "no test image has a label", **base}, files=files)
    extras = {kind: label_budgets.scored(kind, results, scored) for kind, results in few.items()}
    if subject.views:
        extras["robustness"] = (
            scoring.curves(subject.views, probed["linear"], scored),
            scoring.arrays(subject.views, probed["linear"], scored),
        )
    extras["transfer"] = _transferred(subject)
    base["retrieval"] = _look_alikes(bench, scored, probed["knn"].best)
    judged = record(base, labels, probed, extras, scored, files)
    groups = data.groups("test")
    if groups is None:
        return judged
    return replace(judged, predictions=judged.predictions | {"group": groups[scored.index]})


def _predictions(
    subject: Subject, probed: Mapping[str, Probed], few: Mapping[str, dict[str, Few]]
) -> dict[str, Prediction]:
    """All that is scored on test images, by name."""
    predictions = {}
    with subject.clock.part("corrupted images"):
        if views := subject.views:
            batch = subject.params.batch_size
            predictions = scoring.corrupted(subject.encoder, views, probed["linear"], subject.device, batch)
    for kind, measured in probed.items():
        predictions |= {f"{kind}.{stage}": prediction for stage, prediction in measured.test.items()}
    for kind, results in few.items():
        predictions |= label_budgets.named(kind, results)
    return predictions


def _look_alikes(bench: Bench, scored: scoring.Scored, stage: str) -> dict[str, Any]:
    """Whether the training images that are most similar to a test image are of its class, at the k-NN stage."""
    asked = spread(len(scored.index), retrieval.QUERIES)
    labelled = np.flatnonzero(bench.labels["train"].numpy() >= 0)
    bank = torch.from_numpy(labelled[spread(len(labelled), retrieval.BANK)])
    queries = bench.features["test"][stage][torch.from_numpy(scored.index[asked])]
    truth, labels = torch.from_numpy(scored.labels[asked]), bench.labels["train"][bank]
    return {"layer": stage, **retrieval.retrieve(queries, bench.features["train"][stage][bank], truth, labels)}


def _with_few_labels(subject: Subject, data: Prepared, bench: Bench, linear: Probed) -> dict[str, dict[str, Few]]:
    """Kind of protocol -> label budget -> result."""
    params, encoder, clock = subject.params, subject.encoder, subject.clock
    with clock.part("few labels"):
        budgets = {budget: label_budgets.probes(bench, budget, linear) for budget in params.budgets}
    with clock.part("fine-tuning"):
        tuned = {budget: label_budgets.tuned(encoder, data, bench, budget) for budget in params.finetune}
    with clock.part("training from scratch"):
        asked = params.scratch if subject.untrained else ()
        scratch = {budget: label_budgets.scratch(encoder, data, bench, budget) for budget in asked}
    return {"budget": budgets, "finetune": tuned, "scratch": scratch}


def _curve(subject: Subject, bench: Bench, data: Prepared) -> dict[str, Any]:
    with subject.clock.part("learning curve"):
        return learning_curve(subject.snapshots.moments, subject.snapshots.seen, bench, data)


def _labels(data: Prepared) -> dict[str, Tensor]:
    """Those that may be chosen by."""
    return {split: torch.from_numpy(np.array(data.labels(split))) for split in ("train", "val")}


def _label_free(subject: Subject, stages: Features) -> dict[str, Any]:
    """Of the last stage, which a user without labels would use."""
    last = list(stages)[-1]
    measured: dict[str, Any] = {"stage": last, **measure(stages[last])}
    if subject.views:
        first, second = (subject.features(pair)[last] for pair in subject.views.pairs)
        measured["alignment"] = alignment(first, second)
    return measured


def _unusable(labels: Mapping[str, Tensor], classes: list[str]) -> str | None:
    """Why these labels cannot judge an encoder, if they cannot."""
    for split, name in (("train", "training"), ("val", "validation")):
        if not (labels[split] >= 0).any():
            return f"no {name} image has a label"
    present = labels["train"][labels["train"] >= 0].unique()
    if len(present) < 2:
        return f"all labelled training images are of one class, {classes[int(present[0])]!r}"
    return None


def _pictures(
    subject: Subject, data: Prepared, train: Features, held_out: Features, stage: str | None = None
) -> dict[str, bytes]:
    """The map of the validation images and their neighbours, at the best stage (without labels, the last)."""
    stage = stage or list(held_out)[-1]
    files: dict[str, bytes] = {}
    bank = Side(data.images("train"), train[stage], data.labels("train"))
    queries = Side(data.images("val"), held_out[stage], data.labels("val"))
    with subject.clock.part("pictures"):
        nearby = find_neighbours(bank, queries)
        files[GALLERY] = gallery(bank, queries, nearby, data.classes, stage)
        files[ALIKE] = alike(bank, queries, nearby, data.classes)
        shown = min(subject.params.map_images, len(queries.images))
        if shown >= FEWEST:
            names = [data.classes[label] if label >= 0 else "" for label in queries.labels[:shown]]
            files[MAP] = feature_map(queries.features[:shown], names, subject.params.seed)
    return files


def _transferred(subject: Subject) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.int64]]]:
    """Metrics and predictions on the second data set, or the reason why there are none; empty where there is no set."""
    if subject.transfer is None:
        return {}, {}
    labels = _labels(subject.transfer)
    if reason := _unusable(labels, subject.transfer.classes):
        return {"reason": f"{reason} of the transfer data"}, {}
    bench = subject.bench(subject.transfer, subject.features(subject.transfer.images("val")), labels)
    with subject.clock.part("transfer"):
        return evaluation.probe(bench, subject.transfer)

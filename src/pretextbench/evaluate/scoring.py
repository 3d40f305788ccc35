"""The one place where test labels are read: the scores of all predictions, on clean and on corrupted images."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import Prediction, Probed, predict
from pretextbench.views.frozen import Views

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BINS = 15  # of the calibration error (Guo 2017)


def confusion(labels: Ints, predictions: Ints, classes: int) -> Ints:
    """(classes, classes) counts: row = the label, column = the prediction."""
    from sklearn.metrics import confusion_matrix  # type: ignore[import-untyped]  # the map's t-SNE imports it anyway

    return np.asarray(confusion_matrix(labels, predictions, labels=np.arange(classes)), np.int64)


def scores(labels: Ints, predictions: Ints, classes: int, confidence: Floats | None = None) -> dict[str, Any]:
    """Scores of (n,) predictions as fractions in [0, 1], ready for JSON.

    Balanced accuracy and macro F1 average over the classes that the labels contain; a class they do not contain has the
    accuracy None. The calibration error `ece` is there when the (n,) confidences are.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    present = np.unique(labels)  # named, so that a class without a test image is in no average
    _, recall, f1, _ = precision_recall_fscore_support(labels, predictions, labels=present, zero_division=0)
    by_class = dict(zip(present.tolist(), recall.tolist(), strict=True))
    result: dict[str, Any] = {
        "top1": float(accuracy_score(labels, predictions)),
        "balanced_accuracy": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "per_class": [by_class.get(label) for label in range(classes)],
    }
    if confidence is not None:
        result["ece"] = calibration_error(labels == predictions, confidence)
    return result


def calibration_error(hit: npt.NDArray[np.bool_], confidence: Floats) -> float:
    """Expected calibration error: mean |accuracy - confidence| over 15 equal bins of confidence, weighted by count.

    Both are (n,): whether a prediction is right, and the probability that it was given. scikit-learn has no such
    function: its `calibration_curve` is of two classes, returns no counts, and has bins [a, b).
    """
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # bins are (a, b], as in the paper
    gaps = np.bincount(index, hit - confidence, minlength=BINS)  # count x (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(hit))


@dataclass(frozen=True)
class Scored:
    """Scores of finished predictions on the labelled test images."""

    index: Ints  # (n,) rows of the test split that have a label
    labels: Ints  # (n,)
    rows: dict[str, Ints]  # name -> those of `index` that it speaks of: all, or fewer for the corrupted ones
    truth: dict[str, Ints]  # name -> their labels
    predictions: dict[str, Ints]  # name -> predicted classes
    scores: dict[str, dict[str, Any]]  # name -> see scores.scores
    classes: int
    fingerprint: str  # of images and test labels: equal exactly when two evaluations are comparable

    def confusion(self, name: str) -> Ints:
        """(classes, classes) counts: row = the label, column = what `name` predicted."""
        return confusion(self.truth[name], self.predictions[name], self.classes)


def score_test(data: Prepared, predictions: Mapping[str, Prediction]) -> Scored | None:
    """Score predictions of the test split; None when no test image has a label.

    Call it once per data set, last: the results may be reported but must not decide anything. A prediction that speaks
    of no labelled image is left out.
    """
    labels, classes = data.labels("test"), len(data.classes)
    index = np.flatnonzero(labels >= 0)
    if not len(index):
        return None
    fingerprint = hashlib.sha256(data.fingerprint.encode() + np.ascontiguousarray(labels).tobytes()).hexdigest()
    scored = Scored(index, np.asarray(labels[index]), {}, {}, {}, {}, classes, fingerprint)
    for name, prediction in predictions.items():
        rows = np.arange(len(labels)) if prediction.rows is None else prediction.rows
        labelled = labels[rows] >= 0
        if labelled.any():
            scored.rows[name], scored.truth[name] = rows[labelled], np.asarray(labels[rows[labelled]])
            scored.predictions[name] = prediction.classes[labelled]
            scored.scores[name] = _scores(prediction, labelled, scored.truth[name], classes)
    return scored


def _scores(prediction: Prediction, labelled: npt.NDArray[np.bool_], labels: Ints, classes: int) -> dict[str, Any]:
    predicted = prediction.classes[labelled]
    if prediction.brief:
        return {"top1": float((predicted == labels).mean())}
    confidence = None if prediction.confidence is None else prediction.confidence[labelled]
    return scores(labels, predicted, classes, confidence)


NAME = "robust"


def _keys(views: Views, stage: str) -> dict[str, list[str]]:
    """corruption -> the names of its predictions at one layer, one per severity."""
    return {name: [f"{NAME}.{stage}.{name}.{severity}" for severity in views.severities] for name in views.names}


def corrupted(
    encoder: Encoder, views: Views, probed: Probed, device: torch.device, batch_size: int
) -> dict[str, Prediction]:
    """Predictions of the probe of every layer: `robust.<layer>.<corruption>.<severity>` -> those of `views.rows`.

    Every layer, because a row of several seeds is reported at one, which need not be the best of each.
    """
    predicted, keys = {}, {stage: _keys(views, stage) for stage in probed.models}
    for name, images in zip(views.names, views.corrupted, strict=True):
        for i, severity in enumerate(images):
            features = extract(encoder, severity, device, batch_size)
            for stage, model in probed.models.items():
                result = predict(model, features[stage], views.rows)
                predicted[keys[stage][name][i]] = replace(result, brief=True)
    return predicted


def curves(views: Views, probed: Probed, scored: Scored) -> dict[str, Any]:
    """Accuracy per corruption and severity at the best layer, their mean, and the mean relative drop from clean images.

    The drop is 1 - accuracy / clean accuracy, averaged over corruptions and severities; None where clean is 0.
    """
    keys = _keys(views, probed.best)
    if not all(key in scored.scores for row in keys.values() for key in row):
        return {"reason": "none of the corrupted test images has a label"}
    accuracies = {name: [float(scored.scores[key]["top1"]) for key in row] for name, row in keys.items()}
    whole = f"linear.{probed.best}"
    same = np.isin(scored.rows[whole], views.rows)
    clean = float((scored.predictions[whole][same] == scored.truth[whole][same]).mean())
    mean = np.mean(list(accuracies.values()), 0)
    drop = float(np.mean(1 - mean / clean)) if clean else None
    base = {"layer": probed.best, "images": int(same.sum()), "clean": clean}
    return {**base, "corruptions": accuracies, "mean": mean.tolist(), "relative_drop": drop}


def arrays(views: Views, probed: Probed, scored: Scored) -> dict[str, np.ndarray]:
    """For predictions.npz: `robust.index` and `robust.label` (n,), `robust.<layer>.<corruption>` (severities, n)."""
    first = _keys(views, probed.best)[views.names[0]][0]
    if first not in scored.rows:
        return {}
    predicted = {
        f"{NAME}.{stage}.{name}": np.stack([scored.predictions[key] for key in row])
        for stage in probed.models
        for name, row in _keys(views, stage).items()
    }
    return {f"{NAME}.index": scored.rows[first], f"{NAME}.label": scored.truth[first], **predicted}

"""Robustness: the linear probe of clean images, asked about corrupted ones. Nothing is trained or chosen here."""

from typing import Any

import numpy as np
import torch

from pretextbench.encoder import Encoder
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.final import Scored
from pretextbench.evaluate.layers import Prediction, Probed, predict
from pretextbench.views import Views

NAME = "robust"


def _keys(views: Views) -> dict[str, list[str]]:
    """corruption -> the names of its predictions, one per severity."""
    return {name: [f"{NAME}.{name}.{severity}" for severity in views.severities] for name in views.names}


def corrupted(
    encoder: Encoder, views: Views, probed: Probed, device: torch.device, batch_size: int
) -> dict[str, Prediction]:
    """What the probe of the best stage says: `robust.<corruption>.<severity>` -> predictions of `views.rows`."""
    stage, said = probed.best, {}
    for images, keys in zip(views.corrupted, _keys(views).values(), strict=True):
        for severity, key in zip(images, keys, strict=True):
            features = extract(encoder, severity, device, batch_size)[stage]
            said[key] = predict(probed.models[stage], features, views.rows)
    return said


def curves(views: Views, probed: Probed, scored: Scored) -> dict[str, Any]:
    """Accuracy per corruption and severity, their mean, and the mean relative drop from the same images uncorrupted.

    The drop is 1 - accuracy / clean accuracy, averaged over corruptions and severities; None where clean is 0.
    """
    keys = _keys(views)
    if not all(key in scored.scores for row in keys.values() for key in row):
        return {"reason": "none of the corrupted test images has a label"}
    found = {name: [float(scored.scores[key]["top1"]) for key in row] for name, row in keys.items()}
    whole = f"linear.{probed.best}"
    same = np.isin(scored.rows[whole], views.rows)
    clean = float((scored.predictions[whole][same] == scored.truth[whole][same]).mean())
    mean = np.mean(list(found.values()), 0)
    drop = float(np.mean(1 - mean / clean)) if clean else None
    base = {"layer": probed.best, "images": int(same.sum()), "clean": clean}
    return {**base, "corruptions": found, "mean": mean.tolist(), "relative_drop": drop}


def arrays(views: Views, scored: Scored) -> dict[str, np.ndarray]:
    """For predictions.npz: `robust.index` and `robust.label` (n,), and `robust.<corruption>` (severities, n)."""
    keys = _keys(views)
    first = keys[views.names[0]][0]
    if first not in scored.rows:
        return {}
    said = {f"{NAME}.{name}": np.stack([scored.predictions[key] for key in row]) for name, row in keys.items()}
    return {f"{NAME}.index": scored.rows[first], f"{NAME}.label": scored.truth[first], **said}

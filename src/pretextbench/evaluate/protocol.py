"""The whole protocol for one encoder: features, probes at every stage, few labels, label-free measures, one scoring."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate import budgets, labelfree
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.final import score_test
from pretextbench.evaluate.layers import Bench, Prediction, Probed, linear_probes, neighbours, predict
from pretextbench.evaluate.record import Evaluation, Few, record
from pretextbench.measures import alignment
from pretextbench.params import Evaluate

Views = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def evaluate(
    encoder: Encoder, data: Prepared, params: Evaluate, device: torch.device, views: Views | None = None
) -> Evaluation:
    """Judge a frozen encoder. Training and validation choose; test labels are read once, after every choice.

    Without enough labels the label-free measures are all there is, and `metrics["reason"]` says why.

    Args:
        encoder: as pretrained; its weights and modes are left as they were.
        data: images and labels (-1 where there is none), opened with the labels folder.
        device: where features are computed and probes are fitted.
        views: two augmented versions of the same held-out images, each (n, H, W, 3), for the alignment.

    Raises:
        UserError: features are not finite (names the stage), a split is empty, or a budget is not one.
    """
    for budget in params.budgets:
        budgets.Budget.parse(budget)

    def features(images: npt.NDArray[np.uint8]) -> dict[str, Tensor]:
        return extract(encoder, images, device, params.batch_size)

    held_out = features(data.images("val"))
    sizes = {split: len(data.images(split)) for split in ("train", "val", "test")}
    base = {
        "data": {**sizes, "fingerprint": data.fingerprint},
        "classes": data.classes,
        "labelfree": _label_free(held_out, tuple(map(features, views or ()))),
    }
    labels = {split: torch.from_numpy(np.array(data.labels(split))) for split in ("train", "val")}
    if reason := _unusable(labels, data.classes):
        return Evaluation({"labelled": False, "reason": reason, **base})
    cached = {"train": features(data.images("train")), "val": held_out, "test": features(data.images("test"))}
    bench = Bench(cached, labels, len(data.classes), params, device)
    probed = {"knn": neighbours(bench), "linear": linear_probes(bench)}
    few = {budget: few_labels(bench, budget, probed["linear"].best) for budget in params.budgets}
    scored = score_test(data, _named(probed, few))
    if scored is None:
        return Evaluation({"labelled": False, "reason": "no test image has a label", **base})
    return record(base, labels, probed, few, scored)


def _label_free(stages: dict[str, Tensor], views: tuple[dict[str, Tensor], ...]) -> dict[str, Any]:
    """Of the last stage: it is what a user without labels would take."""
    last = list(stages)[-1]
    found: dict[str, Any] = {"stage": last, **labelfree.measure(stages[last])}
    if views:
        found["alignment"] = alignment(views[0][last], views[1][last])
    return found


def _unusable(labels: Mapping[str, Tensor], classes: list[str]) -> str | None:
    """Why these labels cannot judge an encoder, if they cannot."""
    for split, name in (("train", "training"), ("val", "validation")):
        if not (labels[split] >= 0).any():
            return f"no {name} image has a label"
    present = labels["train"][labels["train"] >= 0].unique()
    if len(present) < 2:
        return f"all labelled training images are of one class, {classes[int(present[0])]!r}"
    return None


def few_labels(bench: Bench, budget: str, stage: str) -> Few:
    """Linear probes of one stage on the redrawn subsets of one budget; an unaffordable budget is a `Few.reason`."""
    labels, train, test = bench.labels["train"], bench.features["train"][stage], bench.features["test"][stage]
    l2, said, size, params = [], [], 0, bench.params
    try:
        for redraw in range(params.redraws):
            rows = torch.from_numpy(budgets.subset(labels.numpy(), budget, params.seed, redraw))
            draw, size = (budget, redraw), len(rows)
            model = budgets.few(train[rows], labels[rows], bench.classes, params, draw, bench.device)
            l2.append(model.l2)
            said.append(predict(model, test))
    except UserError as error:
        return Few(reason=str(error))  # an empty cell with its reason: the other cells stand
    return Few(size, tuple(l2), tuple(said))


def _named(probed: dict[str, Probed], few: dict[str, Few]) -> dict[str, Prediction]:
    named = {f"{probe}.{stage}": said for probe, found in probed.items() for stage, said in found.test.items()}
    draws = {f"budget.{budget}.{i}": said for budget, found in few.items() for i, said in enumerate(found.test)}
    return named | draws

"""What an evaluation leaves behind: nested numbers for JSON, predictions per test image, two tables for plots."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pretextbench.evaluate.final import Scored
from pretextbench.evaluate.layers import Prediction, Probed
from pretextbench.files import whole_folder

METRICS, PREDICTIONS, LAYERS, CONFUSION = "metrics.json", "predictions.npz", "layers.csv", "confusion.csv"


@dataclass(frozen=True)
class Evaluation:
    """What one encoder is worth. Accuracies are fractions in [0, 1].

    `metrics`, ready for JSON: `labelled` (and `reason` where it is false), `data` (counts, `fingerprint`), `classes`,
    `knn` and `linear` (`best`, `last`, and per stage `val`, what was chosen, `test` scores), `budgets` (per budget
    `labels`, `redraws`, `top1` or the `reason` why there is none), `labelfree`, `confusion` (linear, best stage).

    `predictions`, for NumPy: `index` (n,) rows of the test split, `label` (n,), `knn.<stage>` (n,), `linear.<stage>`
    (n,), `budget.<budget>` (redraws, n). Empty without labels.
    """

    metrics: dict[str, Any]
    predictions: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Few:
    """The probes of one label budget, or why there are none."""

    labels: int = 0  # that the budget granted
    l2: tuple[float, ...] = ()  # per redraw
    test: tuple[Prediction, ...] = ()  # per redraw
    reason: str | None = None


def record(
    base: Mapping[str, Any],
    labels: Mapping[str, Tensor],
    probed: Mapping[str, Probed],
    few: Mapping[str, Few],
    scored: Scored,
) -> Evaluation:
    """Put what was chosen beside what was scored. `base` holds what is known without labels."""
    counts = {f"{split}_labelled": int((values >= 0).sum()) for split, values in labels.items()}
    metrics = {
        "labelled": True,
        **base,
        "data": {**base["data"], **counts, "test_labelled": len(scored.index), "fingerprint": scored.fingerprint},
        **{probe: _stages(probe, found, scored) for probe, found in probed.items()},
        "budgets": {budget: _budget(budget, found, scored) for budget, found in few.items()},
        "confusion": scored.confusion(f"linear.{probed['linear'].best}").tolist(),
    }
    said = {name: values for name, values in scored.predictions.items() if not name.startswith("budget.")}
    for budget, found in few.items():
        if found.test:
            draws = [scored.predictions[f"budget.{budget}.{redraw}"] for redraw in range(len(found.test))]
            said[f"budget.{budget}"] = np.stack(draws)
    return Evaluation(metrics, {"index": scored.index, "label": scored.labels, **said})


def _stages(probe: str, found: Probed, scored: Scored) -> dict[str, Any]:
    layers = {
        stage: {"val": found.val[stage], **found.detail[stage], "test": scored.scores[f"{probe}.{stage}"]}
        for stage in found.val
    }
    return {"best": found.best, "last": found.last, "layers": layers}


def _budget(budget: str, found: Few, scored: Scored) -> dict[str, Any]:
    if found.reason:
        return {"top1": None, "reason": found.reason}
    tests = [scored.scores[f"budget.{budget}.{redraw}"] for redraw in range(len(found.test))]
    redraws = [{"l2": l2, "test": test} for l2, test in zip(found.l2, tests, strict=True)]
    return {"labels": found.labels, "top1": float(np.mean([test["top1"] for test in tests])), "redraws": redraws}


def save(evaluation: Evaluation, folder: Path) -> None:
    """Write metrics.json, predictions.npz and, with labels, layers.csv and confusion.csv (for plots); whole or nothing.

    Raises:
        UserError: the folder cannot be written.
    """
    with whole_folder(folder) as scratch:
        text = json.dumps(evaluation.metrics, indent=2, allow_nan=False)
        (scratch / METRICS).write_text(text + "\n", encoding="utf-8")
        np.savez_compressed(scratch / PREDICTIONS, **evaluation.predictions)  # type: ignore[arg-type]
        if evaluation.metrics["labelled"]:
            _write_csv(scratch / LAYERS, ("probe", "layer", "split", "accuracy"), _layer_rows(evaluation.metrics))
            _write_csv(scratch / CONFUSION, ("actual", "predicted"), _class_pairs(evaluation))


def _layer_rows(metrics: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (probe, stage, split, accuracy)
        for probe in ("knn", "linear")
        for stage, layer in metrics[probe]["layers"].items()
        for split, accuracy in (("val", layer["val"]), ("test", layer["test"]["top1"]))
    ]


def _class_pairs(evaluation: Evaluation) -> list[tuple[Any, ...]]:
    names, best = evaluation.metrics["classes"], evaluation.metrics["linear"]["best"]
    said = evaluation.predictions[f"linear.{best}"]
    return [(names[a], names[p]) for a, p in zip(evaluation.predictions["label"], said, strict=True)]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    path.write_text(stream.getvalue(), encoding="utf-8")

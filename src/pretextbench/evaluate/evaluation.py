"""The result of one evaluation: its numbers and predictions, and the files that hold them."""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pretextbench.base.files import whole_folder
from pretextbench.base.measure import measure_of
from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.probes import Bench, Probed, linear_probes, neighbours
from pretextbench.evaluate.scoring import Scored, score_test
from pretextbench.project import layout

NAME = "transfer"


def probe(bench: Bench, data: Prepared) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metrics and arrays of k-NN and linear probes on the second data set; without test labels, the reason alone."""
    probed = {"knn": neighbours(bench), "linear": linear_probes(bench)}
    named = {
        f"{kind}.{stage}": predicted for kind, result in probed.items() for stage, predicted in result.test.items()
    }
    scored = score_test(data, named)
    if scored is None:
        return {"reason": "no test image of the transfer data has a label"}, {}
    sizes = {split: len(features) for split, features in _sizes(bench).items()}
    base = {"source": data.card.source, "classes": data.classes, "data": {**sizes, "fingerprint": scored.fingerprint}}
    metrics = {**base, **{kind: stages(kind, result, scored) for kind, result in probed.items()}}
    arrays = {f"{NAME}.{name}": predicted for name, predicted in scored.predictions.items()}
    return metrics, {f"{NAME}.index": scored.index, f"{NAME}.label": scored.labels, **arrays}


def _sizes(bench: Bench) -> dict[str, Any]:
    return {split: next(iter(stages.values())) for split, stages in bench.features.items()}


def stages(probe: str, result: Probed, scored: Scored) -> dict[str, Any]:
    """The choices and test scores of one probe at every stage."""
    layers = {
        stage: {"val": result.val[stage], **result.detail[stage], "test": scored.scores[f"{probe}.{stage}"]}
        for stage in result.val
    }
    return {"best": result.best, "last": result.last, "layers": layers}


METRICS, PREDICTIONS, LAYERS, CONFUSION = layout.METRICS, "predictions.npz", "layers.csv", "confusion.csv"
MAP, GALLERY, ALIKE = "map.csv", "neighbours.png", "neighbours.csv"
COPIED = (layout.CARD, "history.csv", "samples.png")  # from the folder of a training
FEW_CLASSES = 100  # up to which metrics.json has the confusion table; of 1,000 it would be a million lines
Arrays = Mapping[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one encoder. Accuracies are fractions in [0, 1].

    `metrics`, ready for JSON: `labelled` (and `reason` where it is false), `data` (counts, `fingerprint`), `classes`,
    `cost`, `knn` and `linear` (`best`, `last`, and per stage `val`, the choices, `test` scores), `budgets` and
    `finetune` and, of the control `random`, `scratch` (per budget `labels`, `redraws`, `top1` or the `reason` why there
    is none), `robustness` and `transfer` where they were asked for, `curve` (see `curve.learning_curve`), `labelfree`,
    and up to 100 classes `confusion` (linear, best stage), which can be counted from `predictions`.

    `predictions`, for NumPy: `index` (n,) rows of the test split, `label` (n,), `knn.<stage>` (n,), `linear.<stage>`
    (n,), `budget.<budget>`, `finetune.<budget>` and `scratch.<budget>` (redraws, n), `robust.<layer>.<corruption>`
    (severities, m) with
    `robust.index` and `robust.label` (m,), `transfer.<probe>.<stage>` with its own index and label. Empty
    without labels.

    `files`: name -> content of pictures and maps.
    """

    metrics: dict[str, Any]
    predictions: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def record(
    base: Mapping[str, Any],
    labels: Mapping[str, Tensor],
    probed: Mapping[str, Probed],
    extras: Mapping[str, tuple[dict[str, Any], Arrays]],
    scored: Scored,
    files: dict[str, bytes],
) -> Evaluation:
    """Combine the choices with the scores.

    Args:
        base: the metrics that need no labels.
        labels: of train and val.
        probed: k-NN and linear, at every stage.
        extras: the other protocols: metrics and arrays of each; one without metrics was not asked for.
        scored: the test split.
        files: pictures and maps.
    """
    counts = {f"{split}_labelled": int((values >= 0).sum()) for split, values in labels.items()}
    metrics = {
        "labelled": True,
        **base,
        "data": {**base["data"], **counts, "test_labelled": len(scored.index), "fingerprint": scored.fingerprint},
        **{probe: stages(probe, result, scored) for probe, result in probed.items()},
        **{"budgets" if name == "budget" else name: result for name, (result, _) in extras.items() if result},
    }
    if len(base["classes"]) <= FEW_CLASSES:
        metrics["confusion"] = scored.confusion(f"linear.{probed['linear'].best}").tolist()
    predicted = {"index": scored.index, "label": scored.labels}
    for probe, result in probed.items():
        predicted |= {f"{probe}.{stage}": scored.predictions[f"{probe}.{stage}"] for stage in result.test}
    for _, arrays in extras.values():
        predicted |= arrays
    return Evaluation(metrics, predicted, files)


def save(evaluation: Evaluation, folder: Path, training: Path | None = None) -> None:
    """Write metrics.json, predictions.npz, pictures and, with labels, layers.csv and confusion.csv; whole or nothing.

    Of the folder of a training the files that a comparison shows are copied too: a comparison reads only evaluations.

    Raises:
        UserError: the folder cannot be written.
    """
    with whole_folder(folder) as scratch:
        text = json.dumps(evaluation.metrics, indent=2, allow_nan=False)
        (scratch / METRICS).write_text(text + "\n", encoding="utf-8")
        for name, content in evaluation.files.items():
            (scratch / name).write_bytes(content)
        np.savez_compressed(scratch / PREDICTIONS, **evaluation.predictions)  # type: ignore[arg-type]
        for file in COPIED if training else ():
            if training and (training / file).is_file():
                shutil.copy(training / file, scratch)
        if evaluation.metrics["labelled"]:
            _write_csv(
                scratch / LAYERS,
                ("probe", "layer", "split", measure_of(evaluation.metrics).name),
                _layer_rows(evaluation.metrics),
            )
            if "task" not in evaluation.metrics:
                _write_csv(scratch / CONFUSION, ("actual", "predicted"), _class_pairs(evaluation))


def _layer_rows(metrics: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (probe, stage, split, accuracy)
        for probe in ("knn", "linear")
        for stage, layer in metrics[probe]["layers"].items()
        for split, accuracy in (("val", layer["val"]), ("test", measure_of(metrics).of(layer["test"])))
    ]


def _class_pairs(evaluation: Evaluation) -> list[tuple[Any, ...]]:
    names, best = evaluation.metrics["classes"], evaluation.metrics["linear"]["best"]
    predicted = evaluation.predictions[f"linear.{best}"]
    return [(names[a], names[p]) for a, p in zip(evaluation.predictions["label"], predicted, strict=True)]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    path.write_text(stream.getvalue(), encoding="utf-8")

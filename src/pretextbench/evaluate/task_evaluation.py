"""The evaluation of an encoder where labels are no classes: several labels, a number or a mask per image.

The protocol is that of classes: probes at every stage, chosen on validation; few labels; corrupted images; a learning
curve; and the test targets are read once, after every choice. A prediction is kept as its value per image (`task`), so
that a comparison treats it as it treats right and wrong.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pretextbench.base.measure import MEASURES
from pretextbench.data.prepared import Prepared, spread
from pretextbench.errors import UserError
from pretextbench.evaluate import retrieval
from pretextbench.evaluate.curve import MOST
from pretextbench.evaluate.evaluation import Evaluation
from pretextbench.evaluate.label_budgets import Budget
from pretextbench.evaluate.mask import Mask
from pretextbench.evaluate.subject import Features, Subject
from pretextbench.evaluate.task import Array, Probed, Task, error
from pretextbench.evaluate.task_probes import Part, Probes, task_for
from pretextbench.evaluate.task_scoring import Few, TaskScoring

VALIDATION = 500  # masks by which a probe is chosen, at most: each is judged with every penalty at every stage
MOVING = ("rotate",)  # corruptions that move pixels, so that a mask no longer fits its image
CLASSES_ONLY = "needs one class per image"


def evaluate_task(
    subject: Subject, data: Prepared, base: dict[str, Any], files: dict[str, bytes], pooled: Mapping[str, Features]
) -> Evaluation:
    """Judge a frozen encoder by labels that are no classes.

    Args:
        subject: the encoder, and how it is judged.
        data: images and targets, opened with the labels folder.
        base: the metrics that need no labels.
        files: pictures.
        pooled: features of all training and validation images, by split.
    """
    names = {"name": data.task, "names": data.targets("train").names}
    base = {**base, "task": names}
    train, val = (_part(data, split, pooled[split]) for split in ("train", "val"))
    for part, title in ((train, "training"), (val, "validation")):
        if not len(part.images):
            return Evaluation({"labelled": False, "reason": f"no {title} image has a label", **base}, files=files)
    images = data.images("test")
    test, task = Part(images, subject.features(images), np.empty(0)), task_for(data.targets("train"))
    probes = Probes(task, subject.encoder, subject.params, subject.device)
    probes.prepare(train)
    try:
        with subject.clock.part("linear probes"):
            probed = {"linear": probes.linear(_fewer(val), test)}
    except UserError as refusal:
        return Evaluation({"labelled": False, "reason": str(refusal), **base}, files=files)
    with subject.clock.part("k-NN"):
        probed["knn"] = probes.neighbours(train, val, test)
    with subject.clock.part("few labels"):
        few = {budget: _few(probes, budget, test) for budget in subject.params.budgets}
    with subject.clock.part("corrupted images"):
        corrupted = _corrupted(subject, probes, probed["linear"])
    base["curve"] = _curve(subject, probes, data)
    scoring = TaskScoring(task, data, subject.views)
    if not len(scoring.rows):
        return Evaluation({"labelled": False, "reason": "no test image has a label", **base}, files=files)
    metrics, arrays = scoring.record(probed, few, corrupted)
    metrics |= _classes_only(subject, data)
    sizes = {**base["data"], "train_labelled": len(train.images), "val_labelled": len(val.images), **metrics["data"]}
    notes = [*task.notes(train.targets, scoring.truth), *_resolution(task, subject, data)]
    card = {**names, **metrics["task"], "notes": notes}
    if data.task == "multi-label":
        metrics["retrieval"] = _retrieval(train, test, scoring, probed["knn"].best)
    return Evaluation({"labelled": True, **base, **metrics, "data": sizes, "task": card}, arrays, files)


def _classes_only(subject: Subject, data: Prepared) -> dict[str, Any]:
    """The protocols that were asked for and need classes: empty cells with their reason."""
    empty = {MEASURES[data.task].key: None, "reason": f"this protocol {CLASSES_ONLY}"}
    asked = {"finetune": subject.params.finetune, "scratch": subject.params.scratch if subject.untrained else ()}
    gaps: dict[str, Any] = {kind: {budget: empty for budget in budgets} for kind, budgets in asked.items() if budgets}
    return gaps | ({"transfer": {"reason": f"this protocol {CLASSES_ONLY}"}} if subject.transfer else {})


def _resolution(task: Task, subject: Subject, data: Prepared) -> list[str]:
    """Of masks: their size and that of the maps, which decide how fine a probe can be."""
    if not isinstance(task, Mask) or subject.encoder.image_size is None:
        return []
    side = data.image_size
    maps = {stage: shape[1] for stage, shape in subject.encoder.shapes.items()}
    sizes = ", ".join(f"{stage} {size} x {size} (stride {side // size})" for stage, size in maps.items())
    return [f"Masks have {side} x {side} pixels. Maps of this encoder, enlarged to that: {sizes}."]


def _retrieval(train: Part, test: Part, scoring: TaskScoring, stage: str) -> dict[str, Any]:
    """Look-alikes among the training images at the k-NN stage: those that share a label."""
    asked = spread(len(scoring.rows), retrieval.QUERIES)
    bank = torch.tensor(spread(len(train.images), retrieval.BANK))
    queries, truth = test.pooled[stage][torch.from_numpy(scoring.rows[asked])], torch.from_numpy(scoring.truth[asked])
    result = retrieval.retrieve(queries, train.pooled[stage][bank], truth, torch.from_numpy(train.targets)[bank])
    return {"layer": stage, **result}


def _part(data: Prepared, split: str, pooled: Features) -> Part:
    """The images of a split whose targets are known."""
    targets = data.targets(split)
    rows = np.flatnonzero(targets.known())
    known = {stage: x[torch.from_numpy(rows)] for stage, x in pooled.items()}
    return Part(data.images(split)[rows], known, np.asarray(targets.values[rows]))


def _fewer(part: Part) -> Part:
    """At most VALIDATION images where targets are masks."""
    rows = np.array(spread(len(part.images), VALIDATION if part.targets.ndim == 3 else len(part.images)))
    return Part(part.images[rows], {stage: x[torch.from_numpy(rows)] for stage, x in part.pooled.items()},
                part.targets[rows])  # fmt: skip


def _few(probes: Probes, budget: str, test: Part) -> Few:
    share = Budget.parse(budget).share
    if share is None:
        return Few(reason=f"{budget} labels per class {CLASSES_ONLY}: give a share, such as 10%")
    try:
        redraws = [probes.few(share, (budget, i), test) for i in range(1 if share == 1 else probes.params.redraws)]
    except UserError as refusal:
        return Few(reason=str(refusal))
    return Few(redraws[0][0], [outputs for _, outputs, _ in redraws], [choice for *_, choice in redraws])


def _corrupted(subject: Subject, probes: Probes, linear: Probed) -> dict[str, list[dict[str, Array]]]:
    """Corruption -> per severity, stage -> outputs for the images of the views."""
    if not subject.views:
        return {}
    models, result = {stage: [model] for stage, model in linear.models.items()}, {}
    masks = isinstance(probes.task, Mask)  # which are probed on maps
    for name, images in zip(subject.views.names, subject.views.corrupted, strict=True):
        if masks and name in MOVING:
            continue
        parts = [Part(severity, {} if masks else subject.features(severity), np.empty(0)) for severity in images]
        each = [probes.outputs(part, models) for part in parts]
        result[name] = [{stage: outputs[0] for stage, outputs in severity.items()} for severity in each]
    return result


def _curve(subject: Subject, probes: Probes, data: Prepared) -> dict[str, Any]:
    """As `curve.learning_curve`: the main measure of k-NN on validation at each snapshot and at the end."""
    moments: list[int] = []
    stages: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    rows = {split: np.flatnonzero(data.targets(split).known()) for split in ("train", "val")}
    rows = {split: each[spread(len(each), MOST)] for split, each in rows.items()}

    def add(snapshot: Subject) -> None:
        parts = {}
        for split, each in rows.items():
            images = data.images(split)[each]
            parts[split] = Part(images, snapshot.features(images), np.asarray(data.targets(split).values[each]))
        for stage in parts["train"].pooled:
            outputs = probes.vote(parts["train"], parts["val"], stage)
            stages.setdefault(stage, []).append(probes.task.score(outputs, parts["val"].targets))
            errors.setdefault(stage, []).append(error(probes.task.values(outputs, parts["val"].targets)))

    with subject.clock.part("learning curve"):
        for images, encoder in subject.snapshots.moments:
            moments.append(images)
            add(Subject(encoder, subject.params, subject.device))
        if not moments:
            return {}
        add(subject)
    seen = [*moments, subject.snapshots.seen]
    return {"images": len(rows["val"]), "bank": len(rows["train"]), "seen": seen, "layers": stages, "error": errors}

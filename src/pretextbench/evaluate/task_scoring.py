"""The one read of the test targets of a task: made after every choice, it scores all outputs for the test images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pretextbench.base.measure import MEASURES
from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.task import Array, Floats, Probed, Task
from pretextbench.views.frozen import Views

Arrays = dict[str, npt.NDArray[Any]]
Corrupted = Mapping[str, Sequence[Mapping[str, Array]]]  # corruption -> per severity, stage -> outputs


@dataclass(frozen=True)
class Few:
    """The outputs of one label budget, or the reason why there are none."""

    labels: int = 0  # images
    outputs: Sequence[Array] = ()  # per redraw, for all test images
    choices: Sequence[dict[str, object]] = field(default_factory=list)  # per redraw
    reason: str = ""


class TaskScoring:
    """Scores of outputs for all images of the test split; `rows` are those that have a label, and `truth` theirs."""

    def __init__(self, task: Task, data: Prepared, views: Views | None) -> None:
        self.task, self.views, self.name = task, views, data.task
        targets, groups = data.targets("test"), data.groups("test")
        self.rows = np.flatnonzero(targets.known())
        self.targets = np.asarray(targets.values)
        self.truth = self.targets[self.rows]
        self.groups = None if groups is None else groups[self.rows]
        content = data.fingerprint.encode() + np.ascontiguousarray(self.targets).tobytes()
        self.fingerprint = hashlib.sha256(content).hexdigest()

    def record(
        self, probed: Mapping[str, Probed], few: Mapping[str, Few], corrupted: Corrupted
    ) -> tuple[dict[str, Any], Arrays]:
        """Metrics and arrays: a prediction is kept as its value per labelled test image (n,), float64."""
        best = probed["linear"].best
        metrics: dict[str, Any] = {
            "data": {"test_labelled": len(self.rows), "fingerprint": self.fingerprint},
            "task": {"chance": self.task.chance(self.truth)},
            **{probe: self._stages(result) for probe, result in probed.items()},
        }
        arrays: Arrays = {"index": self.rows}
        for probe, result in probed.items():
            arrays |= {f"{probe}.{stage}": self._values(outputs) for stage, outputs in result.test.items()}
        metrics["budgets"], budgets = self._few(few)
        if self.truth.ndim < 3:
            arrays |= {"output": probed["linear"].test[best][self.rows], "target": self.truth}
        if self.groups is not None:
            arrays["group"] = self.groups
        robust: Arrays = {}
        if corrupted:
            metrics["robustness"], robust = self._robust(corrupted, best, arrays[f"linear.{best}"])
        return metrics, arrays | budgets | robust

    def _values(self, outputs: Array) -> Floats:
        return self.task.values(outputs[self.rows], self.truth)

    def _stages(self, result: Probed) -> dict[str, Any]:
        layers = {
            stage: {
                "val": result.val[stage],
                "val_error": result.error[stage],
                **result.detail[stage],
                "test": self.task.scores(outputs[self.rows], self.truth),
            }
            for stage, outputs in result.test.items()
        }
        return {"best": result.best, "last": list(result.val)[-1], "layers": layers}

    def _few(self, few: Mapping[str, Few]) -> tuple[dict[str, Any], Arrays]:
        metrics: dict[str, Any] = {}
        arrays: Arrays = {}
        key = MEASURES[self.name].key
        for budget, result in few.items():
            if result.reason:
                metrics[budget] = {key: None, "reason": result.reason}
                continue
            values = np.stack([self._values(outputs) for outputs in result.outputs])
            metrics[budget] = {"labels": result.labels, key: float(values.mean()), "redraws": list(result.choices)}
            if not all(choice["chosen"] for choice in result.choices):
                metrics[budget]["fixed"] = (
                    f"{result.labels:,} labels are too few to choose layer and penalty by cross-validation among them; "
                    f"the last layer and the penalty {result.choices[0]['l2']:g} were fixed in advance"
                )
            arrays[f"budget.{budget}"] = values
        return metrics, arrays

    def _robust(self, corrupted: Corrupted, best: str, clean: Floats) -> tuple[dict[str, Any], Arrays]:
        """The main measure on the corrupted images: the numbers of the best stage, and the values of all."""
        assert self.views is not None
        rows = np.asarray(self.views.rows)
        known = np.isin(rows, self.rows)
        if not known.any():
            return {"reason": "none of the corrupted test images has a label"}, {}
        truth = self.targets[rows[known]]
        arrays: Arrays = {
            f"robust.{stage}.{name}": np.stack([self.task.values(each[stage][known], truth) for each in severities])
            for name, severities in corrupted.items()
            for stage in severities[0]
        }
        scores = {name: arrays[f"robust.{best}.{name}"].mean(1).tolist() for name in corrupted}
        mean, level = np.mean(list(scores.values()), 0), float(clean[np.isin(self.rows, rows)].mean())
        numbers = {"layer": best, "images": int(known.sum()), "clean": level, "corruptions": scores}
        drop = float(np.mean(1 - mean / level)) if level > 0 else None
        return {**numbers, "mean": mean.tolist(), "relative_drop": drop}, {**arrays, "robust.index": rows[known]}

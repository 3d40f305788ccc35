"""Probes of a task at every stage: fitted on training images, chosen on validation, or chosen inside few labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.base.seed import Seed
from pretextbench.data.targets import Targets
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate import mask
from pretextbench.evaluate.mask import Mask, PixelModel
from pretextbench.evaluate.multi_label import MultiLabel
from pretextbench.evaluate.number import Number
from pretextbench.evaluate.task import Array, Model, Probed, Setup, Task, error
from pretextbench.params import Evaluate

FOLDS, FEWEST = 5, 10  # of cross-validation inside few labels, and labels from which it is done
CHUNK = 256  # queries of k-NN at once


def task_for(targets: Targets) -> Task:
    """The task of these targets."""
    if targets.task == "mask":
        return Mask(len(targets.names))
    return {"multi-label": MultiLabel, "number": Number}[targets.task]()


@dataclass(frozen=True)
class Part:
    """Images whose targets are known, and their pooled features: stage -> (n, D)."""

    images: npt.NDArray[np.uint8]
    pooled: Mapping[str, Tensor]
    targets: Array  # (n, ...); of the test images an empty array, until they are scored


@dataclass(frozen=True)
class Probes:
    """The probes of one encoder under one task."""

    task: Task
    encoder: Encoder
    params: Evaluate
    device: torch.device
    tables: dict[str, tuple[Tensor, Array]] = field(default_factory=dict)  # stage -> features and targets to fit on

    @property
    def setup(self) -> Setup:
        """How a probe is fitted."""
        return Setup(self.params.linear_steps, self.device, self.params.linear_l2)

    def prepare(self, train: Part) -> None:
        """Make the tables of the training images: pooled features or, for masks, those of drawn pixels."""
        if not isinstance(self.task, Mask):
            self.tables.update({stage: (x, train.targets) for stage, x in train.pooled.items()})
            return
        side = train.images.shape[1]
        pixels = mask.places(len(train.images), side, Seed(self.params.seed).numpy("mask", "pixels"))
        values = np.take_along_axis(train.targets.reshape(len(pixels), -1), pixels, 1)
        parts: dict[str, list[Tensor]] = {}
        for rows, stages in mask.maps(self.encoder, train.images, self.device, self.params.batch_size):
            for stage, maps in stages.items():
                parts.setdefault(stage, []).append(mask.at_pixels(maps, pixels[rows], side).cpu())
        self.tables.update({stage: (torch.cat(each), values) for stage, each in parts.items()})

    def outputs(self, part: Part, models: Mapping[str, Sequence[Model]]) -> dict[str, list[Array]]:
        """Stage -> the outputs of its models for all images of a part."""
        if not isinstance(self.task, Mask):
            return {stage: [model.outputs(part.pooled[stage]) for model in each] for stage, each in models.items()}
        side = part.images.shape[1]
        parts: dict[str, list[list[Array]]] = {stage: [[] for _ in each] for stage, each in models.items()}
        for _, stages in mask.maps(self.encoder, part.images, self.device, self.params.batch_size):
            for stage, each in models.items():
                for i, model in enumerate(each):
                    assert isinstance(model, PixelModel)
                    parts[stage][i].append(model.mask(stages[stage], side))
        return {stage: [np.concatenate(batches) for batches in each] for stage, each in parts.items()}

    def linear(self, val: Part, test: Part) -> Probed:
        """The probe of every stage, its penalty chosen on validation."""
        fitted = {stage: self.task.fit(x, y, self.setup) for stage, (x, y) in self.tables.items()}
        probed, outputs = Probed(), self.outputs(val, fitted)
        for stage, models in fitted.items():
            scores = [self.task.score(each, val.targets) for each in outputs[stage]]
            best = int(np.argmax(scores))  # of equals the strongest penalty
            probed.val[stage], probed.models[stage] = scores[best], models[best]
            probed.error[stage] = error(self.task.values(outputs[stage][best], val.targets))
            probed.detail[stage] = {"l2": models[best].penalty}
        chosen = {stage: [model] for stage, model in probed.models.items()}
        probed.test.update({stage: each[0] for stage, each in self.outputs(test, chosen).items()})
        return probed

    def neighbours(self, train: Part, val: Part, test: Part) -> Probed:
        """k-NN at every stage; the bank is the whole training split."""
        probed = Probed()
        for stage in train.pooled:
            held_out = self.vote(train, val, stage)
            probed.val[stage] = self.task.score(held_out, val.targets)
            probed.error[stage] = error(self.task.values(held_out, val.targets))
            probed.test[stage] = self.vote(train, test, stage)
            probed.detail[stage] = {"k": min(self.params.knn_k, len(train.images))}
        return probed

    def vote(self, bank: Part, queries: Part, stage: str) -> Array:
        """Outputs for the queries by their most similar images of the bank, each with exp(similarity / temperature)."""
        known, k = F.normalize(bank.pooled[stage]), min(self.params.knn_k, len(bank.images))
        outputs = []
        for chunk in F.normalize(queries.pooled[stage]).split(CHUNK):
            nearest, index = (chunk @ known.T).topk(k, 1)
            weights = (nearest / self.params.knn_temperature).softmax(1)
            outputs.append(self.task.vote(weights, bank.targets[index.numpy()]))
        return np.concatenate(outputs)

    def few(self, share: float, name: tuple[str, int], test: Part) -> tuple[int, Array, dict[str, object]]:
        """A probe on a share of the training images, layer and penalty chosen by cross-validation among them.

        Returns:
            The number of images, outputs for the test images, and the choices.

        Raises:
            UserError: nothing can be learned from these images.
        """
        count = len(next(iter(self.tables.values()))[1])
        draws = Seed(self.params.seed).numpy("budget", *name)
        rows = np.sort(draws.permutation(count)[: max(1, int(count * share + 0.5))])
        stage, place, chosen = self._choose(rows, name)
        features, targets = self.tables[stage]
        model = self.task.fit(features[rows], targets[rows], self.setup)[place]
        (outputs,) = self.outputs(test, {stage: [model]})[stage]
        return len(rows), outputs, {"layer": stage, "l2": model.penalty, "chosen": chosen}

    def _choose(self, rows: npt.NDArray[np.int64], name: tuple[str, int]) -> tuple[str, int, bool]:
        """Stage, place of the penalty, and whether they were chosen; else the last and the middle one."""
        fixed = list(self.tables)[-1], len(self.params.linear_l2) // 2, False
        if len(rows) < FEWEST:
            return fixed
        order = Seed(self.params.seed).numpy("folds", *name).permutation(len(rows)) % FOLDS
        merits = {}
        for stage, (features, targets) in self.tables.items():
            try:
                folds = [self._held_out(features, targets, rows, order == fold) for fold in range(FOLDS)]
            except UserError:  # a fold without, say, a second value
                return fixed
            back = np.argsort(np.concatenate([np.flatnonzero(order == fold) for fold in range(FOLDS)]))
            for place, each in enumerate(zip(*folds, strict=True)):
                merits[stage, place] = self.task.score(np.concatenate(each)[back], targets[rows])
        return *max(merits, key=lambda pair: merits[pair]), True

    def _held_out(
        self, features: Tensor, targets: Array, rows: npt.NDArray[np.int64], out: npt.NDArray[np.bool_]
    ) -> list[Array]:
        inside, outside = rows[~out], rows[out]
        return [
            model.outputs(features[outside]) for model in self.task.fit(features[inside], targets[inside], self.setup)
        ]

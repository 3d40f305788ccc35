"""Trials of one method: each is trained by the one loop and judged by k-NN on validation images.

A finished trial is kept in a scratch folder and not run again; one that was killed goes on from its checkpoint.
"""

import functools
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pretextbench.base.files import write_whole
from pretextbench.data.prepared import Prepared, labelled
from pretextbench.encoder import Encoder
from pretextbench.errors import Diverged, UserError
from pretextbench.evaluate import features, probes
from pretextbench.project.search_space import Setting
from pretextbench.train.batches import Batches
from pretextbench.train.budget import Job
from pretextbench.train.checkpoint import Checkpoint
from pretextbench.train.loop import Training, run
from pretextbench.train.pretrain import facts, start_fabric
from pretextbench.tune.halving import Outcome

K, TEMPERATURE = 20, 0.07  # of the k-NN: the usual protocol (Wu 2018), whatever `evaluate` says
BANK = 10_000  # training images that vote, at most


def untunable(data: Prepared) -> str:
    """The reason why nothing can be tuned on these images; empty where it can. Test labels are not looked at."""
    if data.task != "class":
        return "the labels are no classes"
    if not data.classes:
        return "there are no labels"
    for split, title in (("train", "training"), ("val", "validation")):
        _, labels = labelled(data, split, BANK)
        if not len(labels):
            return f"no {title} image has a label"
        if split == "train" and len(np.unique(labels)) < 2:
            return "all labelled training images are of one class"
    return ""


class Trials:
    """Measures settings of one method; made for `halving.halve`.

    Args:
        job: the training of a setting on so many images; a UserError that it raises makes the trial lost.
        data: the prepared images with their labels, of which those of train and validation are read.
        scratch: a folder of this method.
        tell: takes a line about each trial.
    """

    def __init__(
        self, job: Callable[[Setting, int], Job], data: Prepared, scratch: Path, tell: Callable[[str], object] = str
    ) -> None:
        self.job, self.data, self.scratch, self.tell = job, data, scratch, tell
        self.bank, self.queries = labelled(data, "train", BANK), labelled(data, "val", len(data.images("val")))
        digest = hashlib.sha256(self.bank[1].tobytes() + self.queries[1].tobytes())
        self.labels = hashlib.sha256(digest.digest() + _code()).hexdigest()

    def __call__(self, number: int, setting: Setting, images: int) -> Outcome:
        """Train and judge one trial, unless that was done before."""
        try:
            job = self.job(setting, images)
        except UserError as refusal:  # of the recipe, by the method
            return self._tell(number, images, Outcome(0, 0.0, None, str(refusal)))
        key = job.key(self.data.fingerprint, self.labels)
        kept = self.scratch / f"{key}.json"
        if kept.is_file():
            return self._tell(number, images, Outcome(*json.loads(kept.read_text())), " (kept)")
        outcome = self._measure(job, Checkpoint(self.scratch / key))
        write_whole(kept, json.dumps(outcome).encode())
        return self._tell(number, images, outcome)

    def _tell(self, number: int, images: int, outcome: Outcome, more: str = "") -> Outcome:
        result = f"lost: {outcome.reason}" if outcome.score is None else f"k-NN {outcome.score:.1%} on validation"
        self.tell(f"trial {number}, {images:,} images: {result}{more}")
        return outcome

    def _measure(self, job: Job, checkpoint: Checkpoint) -> Outcome:
        fabric = start_fabric(job.pretrain)
        try:
            training = Training(job, facts(self.data, job), fabric, key=checkpoint.key)
        except UserError as refusal:  # of the setting, by the method or for its batch
            return Outcome(0, 0.0, None, str(refusal))
        checkpoint.remove_stale()
        stream = Batches(self.data.images("train"), fabric.device, job.pretrain.resident)
        score, reason, began = None, "", time.perf_counter()
        try:
            run(training, stream, checkpoint, show=False)
            began = time.perf_counter()
            score = self._score(training.method.encoder, fabric.device)
        except (Diverged, torch.OutOfMemoryError) as error:
            reason = str(error).splitlines()[0]
        checkpoint.remove()
        judging = time.perf_counter() - began if score is not None else 0.0
        return Outcome(training.step * training.budget.batch, round(training.seconds + judging, 3), score, reason)

    def _score(self, encoder: Encoder, device: torch.device) -> float:
        """Accuracy of k-NN on validation, at the layer that is best there; 0 to 1."""
        banks, queries = (features.extract(encoder, images, device) for images, _ in (self.bank, self.queries))
        labels, truth = (torch.from_numpy(labels) for _, labels in (self.bank, self.queries))
        accuracies = []
        for layer, bank in banks.items():
            votes = probes.knn(bank, labels, queries[layer], len(self.data.classes), K, TEMPERATURE, device)
            accuracies.append(float((votes.predictions == truth).double().mean()))
        return max(accuracies)


@functools.cache
def _code() -> bytes:
    """Hash of the code that judges a trial; the code that trains it is in the key of its job."""
    files = (__file__, features.__file__, probes.__file__)
    return hashlib.sha256(b"".join(Path(str(file)).read_bytes() for file in files)).digest()

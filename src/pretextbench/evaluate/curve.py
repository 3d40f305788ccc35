"""Learning curve of an encoder: k-NN on validation along its training, by the same code for every row."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pretextbench.data.prepared import Prepared, labelled_rows
from pretextbench.encoder import Encoder
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import Bench, knn

MOST = 1000  # images that vote, and images that are classified, at most: a snapshot takes about two seconds of a core
Moment = tuple[int, Encoder]  # images seen, and the encoder after them


def learning_curve(snapshots: Iterable[Moment], seen: int, bench: Bench, data: Prepared) -> dict[str, Any]:
    """Accuracy on validation of every stage at each snapshot and at the end, as fractions: no test label is read.

    Args:
        snapshots: of the training, in its order; empty where it kept none, or where nothing was trained.
        seen: images at the end.
        bench: features of the trained encoder, labels, and the parameters of the k-NN.
        data: the images.

    Returns:
        The number of `images` that are classified, of the `bank` that votes, of images `seen` at each moment, and
        `layers`: stage -> accuracies. Empty without snapshots.
    """
    rows = {split: labelled_rows(bench.labels[split].numpy(), MOST) for split in ("train", "val")}
    stages: dict[str, list[float]] = {stage: [] for stage in bench.features["val"]}
    moments = []
    for images, encoder in snapshots:
        moments.append(images)
        features = {split: _features(encoder, data, split, rows[split], bench) for split in rows}
        _add(stages, features, rows, bench)
    if not moments:
        return {}
    end = {split: {stage: x[rows[split]] for stage, x in bench.features[split].items()} for split in rows}
    _add(stages, end, rows, bench)
    return {"images": len(rows["val"]), "bank": len(rows["train"]), "seen": [*moments, seen], "layers": stages}


def _features(
    encoder: Encoder, data: Prepared, split: str, rows: npt.NDArray[np.int64], bench: Bench
) -> dict[str, Tensor]:
    return extract(encoder, np.array(data.images(split)[rows]), bench.device, bench.params.batch_size)


def _add(
    stages: Mapping[str, list[float]],
    features: Mapping[str, Mapping[str, Tensor]],
    rows: Mapping[str, npt.NDArray[np.int64]],
    bench: Bench,
) -> None:
    """Add the accuracy of every stage at one moment."""
    bank, truth = (bench.labels[split][rows[split]] for split in ("train", "val"))
    k, temperature = bench.params.knn_k, bench.params.knn_temperature
    for stage, accuracies in stages.items():
        voters, asked = features["train"][stage], features["val"][stage]
        votes = knn(voters, bank, asked, bench.classes, k, temperature, bench.device)
        accuracies.append(float((votes.predictions == truth).double().mean()))

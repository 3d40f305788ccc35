"""Probes of frozen features: k-NN and the linear probe, at every stage of the encoder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.evaluate import linear
from pretextbench.params import Evaluate

CHUNK = 2**25  # similarities held at once: 128 MiB


@dataclass(frozen=True)
class Votes:
    """The votes of the neighbours for each query."""

    predictions: Tensor  # (n,) int64, on the CPU
    scores: Tensor  # (n, classes) float32, shares of the votes' weight; rows sum to 1
    k: int  # neighbours that voted: fewer than asked where the bank is smaller


def knn(
    bank: Tensor, labels: Tensor, queries: Tensor, classes: int, k: int, temperature: float, device: torch.device
) -> Votes:
    """Classify queries by the k most similar rows of the bank, each with the weight exp(similarity / temperature).

    Args:
        bank: (m, D) features of un-augmented training images.
        labels: (m,) int64; rows labelled -1 leave the bank.
        queries: (n, D).

    Raises:
        UserError: no row of the bank has a label.
    """
    labelled = labels >= 0
    if not labelled.any():
        raise UserError("k-NN needs labelled training images, and none of the bank has a label.")
    bank, labels = F.normalize(bank[labelled].to(device)), labels[labelled].to(device)
    k = min(k, len(bank))
    scores = [
        _vote(F.normalize(chunk.to(device)) @ bank.T, labels, classes, k, temperature).cpu()
        for chunk in queries.split(max(1, CHUNK // len(bank)))
    ]
    votes = torch.cat(scores)
    return Votes(votes.argmax(1), votes, k)


def _vote(similarity: Tensor, labels: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """(B, m) similarities -> (B, classes) shares of the weight."""
    nearest, index = similarity.topk(k, 1)  # (B, k)
    weights = ((nearest - nearest[:, :1]) / temperature).exp()  # the common factor cancels; exp cannot overflow
    votes = torch.zeros(len(similarity), classes, device=similarity.device)
    return F.normalize(votes.scatter_add_(1, labels[index], weights), p=1, dim=1)


@dataclass(frozen=True)
class Bench:
    """The data of the probes, without test labels."""

    features: Mapping[str, Mapping[str, Tensor]]  # split -> stage -> (n, D)
    labels: Mapping[str, Tensor]  # "train" and "val" -> (n,) int64, -1 unlabelled
    classes: int
    params: Evaluate
    device: torch.device


@dataclass(frozen=True)
class Prediction:
    """Predictions of a probe for test images."""

    classes: npt.NDArray[np.int64]  # (n,)
    confidence: npt.NDArray[np.float64] | None = None  # (n,) probability of that class; None for k-NN, which has none
    rows: npt.NDArray[np.int64] | None = None  # (n,) of the test split; None = all of them
    brief: bool = False  # no more than its accuracy is wanted

    @classmethod
    def of(cls, probabilities: Tensor, rows: npt.NDArray[np.int64] | None = None) -> "Prediction":
        """From (n, K) probabilities, which are not kept: with a thousand classes they would fill the memory."""
        confidence, classes = probabilities.double().max(1)
        return cls(classes.numpy(), confidence.numpy(), rows)


@dataclass(frozen=True)
class Probed:
    """One protocol at every stage."""

    val: dict[str, float] = field(default_factory=dict)  # stage -> accuracy on validation, first to last
    test: dict[str, Prediction] = field(default_factory=dict)  # stage -> predictions
    detail: dict[str, dict[str, Any]] = field(default_factory=dict)  # stage -> the choices, and how the fit converged
    models: dict[str, linear.Model] = field(default_factory=dict)  # stage -> the linear probe; empty for k-NN

    @property
    def best(self) -> str:
        """The stage with the highest validation accuracy; the earlier one in a tie."""
        return max(self.val, key=lambda stage: self.val[stage])

    @property
    def last(self) -> str:
        """The stage that peers probe alone."""
        return list(self.val)[-1]


def predict(model: linear.Model, features: Tensor, rows: npt.NDArray[np.int64] | None = None) -> Prediction:
    """Predictions of a linear probe from (n, D) features, for these rows of the test split."""
    return Prediction.of(model.probabilities(features), rows)


def neighbours(bench: Bench) -> Probed:
    """k-NN at every stage; the bank is the whole training split, for validation and test alike."""
    probed, truth = Probed(), bench.labels["val"]
    for stage in bench.features["train"]:
        val, test = _best_vote(bench, stage, "val"), _best_vote(bench, stage, "test")
        probed.val[stage] = float((val.predictions == truth)[truth >= 0].double().mean())
        probed.test[stage] = Prediction(test.predictions.numpy())
        probed.detail[stage] = {"k": test.k}
    return probed


def _best_vote(bench: Bench, stage: str, split: str) -> Votes:
    bank, queries, params = bench.features["train"][stage], bench.features[split][stage], bench.params
    labels = bench.labels["train"]
    return knn(bank, labels, queries, bench.classes, params.knn_k, params.knn_temperature, bench.device)


def linear_probes(bench: Bench) -> Probed:
    """The linear probe at every stage, its penalty chosen on validation."""
    probed, params = Probed(), bench.params
    for stage, train in bench.features["train"].items():
        labels = bench.labels["train"]
        models = linear.path(train, labels, bench.classes, params.linear_l2, params.linear_steps, bench.device)
        model, probed.val[stage] = linear.choose(models, bench.features["val"][stage], bench.labels["val"])
        probed.test[stage], probed.models[stage] = predict(model, bench.features["test"][stage]), model
        probed.detail[stage] = {
            "l2": model.l2,
            "loss": model.loss,
            "iterations": model.iterations,
            "converged": model.converged,
        }
    return probed

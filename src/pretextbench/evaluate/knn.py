"""Weighted k-nearest neighbours on cosine similarity (Wu 2018, section 3.4): nothing is trained, nothing is tuned."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.errors import UserError

CHUNK = 2**25  # similarities held at once: 128 MiB


@dataclass(frozen=True)
class Votes:
    """What the neighbours say about each query."""

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

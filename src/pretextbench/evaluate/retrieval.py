"""Look-alikes: which of the training images are most similar to a test image, and are they of its kind?

Similarity is the cosine of features. Relevant is a training image of the same class or, with several labels, one that
shares a label. Average precision as in `multi_label`: the mean precision at the relevant images of the whole ranking.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

QUERIES, BANK = 1000, 10_000  # images at most, evenly spaced
AT = (1, 5, 10)


def relevant(queries: Tensor, bank: Tensor) -> Tensor:
    """(q, m): whether class numbers (q,), (m,) are equal, or label tables (q, K), (m, K) share a label."""
    if queries.ndim == 1:
        return queries[:, None] == bank
    return (queries > 0).float() @ (bank > 0).float().T > 0


def retrieve(queries: Tensor, bank: Tensor, asked: Tensor, labels: Tensor, chunk: int = 100) -> dict[str, Any]:
    """Mean average precision, and the share of queries with a relevant image among the first k.

    Args:
        queries: (q, D) features of test images, with `asked` (q,) classes or (q, K) labels.
        bank: (m, D) features of training images, with `labels` (m,) or (m, K).

    Returns:
        `map`, `recall` (k -> share), `chance` (mean share of relevant images, about the map of a random order) and
        `queries`, those that have a relevant image. Empty where none has.
    """
    bank, precisions, hits, shares = F.normalize(bank), [], [], []
    for start in range(0, len(queries), chunk):
        similarity = F.normalize(queries[start : start + chunk]) @ bank.T
        same = relevant(asked[start : start + chunk], labels)
        same = same.gather(1, similarity.argsort(stable=True, dim=1, descending=True))
        same = same[same.any(1)]
        correct = same.cumsum(1).double()
        place = torch.arange(1, same.shape[1] + 1)
        precisions.append((correct / place * same).sum(1) / correct[:, -1])
        hits.append(torch.stack([same[:, :k].any(1) for k in AT], 1))
        shares.append(same.double().mean(1))
    precision, hit = torch.cat(precisions), torch.cat(hits).double()
    if not len(precision):
        return {}
    recall = dict(zip((str(k) for k in AT), hit.mean(0).tolist(), strict=True))
    return {
        "map": float(precision.mean()),
        "recall": recall,
        "chance": float(torch.cat(shares).mean()),
        "queries": len(precision),
    }

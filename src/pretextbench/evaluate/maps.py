"""The features of held-out images in two dimensions, for people to look at. A map shows groups; it measures nothing."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST, PERPLEXITY = 8, 30.0  # images below which there is nothing to see; neighbours that t-SNE tries to keep together
HEADER = ("class", "pca_x", "pca_y", "tsne_x", "tsne_y")


def feature_map(features: Tensor, labels: Sequence[str], seed: int) -> bytes:
    """A CSV with one line per image: its class ("" = unlabelled) and its place by PCA and by t-SNE.

    Args:
        features: (n, D); only their directions count, as in k-NN and the label-free measures.
        labels: of the n images.
        seed: of t-SNE.
    """
    unit = F.normalize(features.double(), dim=1)
    places = np.concatenate([pca(unit).numpy(), tsne(unit, seed)], 1)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((name, *(f"{x:.4g}" for x in row)) for name, row in zip(labels, places, strict=True))
    return stream.getvalue().encode()


def pca(x: Tensor) -> Tensor:
    """(n, D) to the first two principal components (n, 2), each with its largest value positive."""
    centred = x - x.mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    places: Tensor = u[:, :2] * s[:2]
    if places.shape[1] < 2:
        places = F.pad(places, (0, 2 - places.shape[1]))
    largest = places.gather(0, places.abs().argmax(0, keepdim=True))
    return places * torch.where(largest < 0, -1.0, 1.0)


def tsne(x: Tensor, seed: int) -> np.ndarray:
    """(n, D) to (n, 2) by t-SNE (van der Maaten 2008) from the PCA; where all points are one, they stay one."""
    from sklearn.manifold import TSNE  # type: ignore[import-untyped]  # 3.5 s to import, and only this map needs it

    if not x.std(0).any():
        return np.zeros((len(x), 2))
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    method = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed, n_jobs=1)
    return np.asarray(method.fit_transform(x.float().numpy()), np.float64)

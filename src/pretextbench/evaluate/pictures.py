"""Pictures of the features: two-dimensional maps, and queries with their nearest neighbours."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.base.picture import Picture, png

FEWEST, PERPLEXITY = 8, 30.0  # images below which there is nothing to see; neighbours that t-SNE tries to keep together
HEADER = ("class", "pca_x", "pca_y", "tsne_x", "tsne_y")
ALIKE_HEADER = ("query", "query_class", "rank", "image", "class")


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
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]  # 3.5 s to import, and only the map needs it

    places = torch.zeros(len(x), 2, dtype=torch.float64)
    if not x.std(0).any():
        return places
    fitted = PCA(min(2, *x.shape), svd_solver="full").fit_transform(x.double().numpy())
    places[:, : fitted.shape[1]] = torch.from_numpy(fitted)
    largest = places.gather(0, places.abs().argmax(0, keepdim=True))  # the sign of a component is arbitrary
    return places * torch.where(largest < 0, -1.0, 1.0)


def tsne(x: Tensor, seed: int) -> np.ndarray:
    """(n, D) to (n, 2) by t-SNE (van der Maaten 2008) from the PCA; where all points are one, they stay one."""
    from sklearn.manifold import TSNE  # type: ignore[import-untyped]

    if not x.std(0).any():
        return np.zeros((len(x), 2))
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    method = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed, n_jobs=1)
    return np.asarray(method.fit_transform(x.float().numpy()), np.float64)


QUERIES, NEIGHBOURS = 8, 8
LETTERS = 12  # of a class under a cell
RIGHT, WRONG = (0.0, 0.45, 0.70), (0.84, 0.37, 0.0)  # blue and vermilion: distinguishable with any colour vision
Images = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


class Side(NamedTuple):
    """A split, as one stage of the encoder sees it."""

    images: Images  # (n, H, W, 3)
    features: Tensor  # (n, D)
    labels: Ints  # (n,), -1 where there is none


def queries(labels: Ints) -> Ints:
    """Rows of one image per class, for up to eight classes spread evenly; without labels the first images."""
    known = np.unique(labels[labels >= 0])
    if not len(known):
        return np.arange(min(QUERIES, len(labels)))
    chosen = known[np.linspace(0, len(known) - 1, min(QUERIES, len(known))).astype(int)]
    return np.array([np.flatnonzero(labels == label)[0] for label in chosen])


def nearest(bank: Tensor, query: Tensor) -> Ints:
    """(m, D) and (q, D) features to the rows (q, k) of the most similar images, nearest first, by cosine."""
    similarity = F.normalize(query) @ F.normalize(bank).T
    return similarity.topk(min(NEIGHBOURS, len(bank)), 1).indices.numpy()


class Neighbours(NamedTuple):
    """Queries, as rows of the held-out images, and their neighbours, as rows of the bank (q, k), nearest first."""

    queries: Ints
    neighbours: Ints


def find_neighbours(bank: Side, held_out: Side) -> Neighbours:
    """What is most alike to the queries."""
    rows = queries(held_out.labels)
    return Neighbours(rows, nearest(bank.features, held_out.features[torch.from_numpy(rows)]))


def gallery(bank: Side, held_out: Side, nearby: Neighbours, classes: Sequence[str], stage: str) -> bytes:
    """A PNG: a row per query, then its neighbours in train, framed in blue where they are of its class, else orange."""
    cells, names = [], []
    for query, near in zip(*nearby, strict=True):
        label = held_out.labels[query]
        cells.append([_cell(held_out.images[query]), *(_cell(bank.images[i], label, bank.labels[i]) for i in near)])
        names.append(tuple(_name(x, classes)[:LETTERS] for x in (label, *bank.labels[near])))
    columns = ("image", "most alike", *(str(k) for k in range(2, nearby.neighbours.shape[1] + 1)))
    title = f"Validation images, and the training images that {stage} takes for the most alike"
    images = torch.stack([torch.stack(row) for row in cells])
    return png([Picture(title, columns, images, tuple(names) if classes else ())])


def alike(bank: Side, held_out: Side, nearby: Neighbours, classes: Sequence[str]) -> bytes:
    """A CSV of what `gallery` shows: a line per query (a row of validation) and neighbour (a row of train).

    The nearest has rank 1. Classes are names; "" where there is none.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(ALIKE_HEADER)
    for query, near in zip(*nearby, strict=True):
        asked = (query, _name(held_out.labels[query], classes))
        writer.writerows((*asked, rank, i, _name(bank.labels[i], classes)) for rank, i in enumerate(near, 1))
    return stream.getvalue().encode()


def _cell(image: Images, wanted: int = -1, label: int = -1) -> Tensor:
    """(H, W, 3) uint8 to (3, H + 2, W + 2) in [0, 1], in a frame that says if the labels are one; white if open."""
    cell = F.pad(torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255, (1, 1, 1, 1), value=1.0)
    if wanted >= 0 and label >= 0:
        paint = torch.tensor(RIGHT if wanted == label else WRONG)[:, None]
        cell[:, 0], cell[:, -1], cell[:, :, 0], cell[:, :, -1] = paint, paint, paint, paint
    return cell


def _name(label: int, classes: Sequence[str]) -> str:
    return classes[label] if label >= 0 else ""

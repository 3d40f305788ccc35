"""Evaluation: features per second; k-NN and the linear probe on features of 512 numbers, against scikit-learn."""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from benchmarks.harness import Measure, alternate, ratio, seconds, spread
from benchmarks.loops import Case, pixels, training
from pretextbench.evaluate import linear, probes
from pretextbench.evaluate.features import extract

DIM, CLASSES, QUERIES = 512, 10, 1000
GRID = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]  # the protocol's


def measure(rounds: int) -> Iterator[Measure]:
    """Images/s through the encoder; seconds of both classifiers at three sizes, ratios where both can be run."""
    case = Case("simclr")
    images = pixels(case, 5000)
    encoder = training(case, images).method.encoder
    passes = [seconds(lambda: extract(encoder, images, torch.device("cpu"))) for _ in range(rounds)]
    yield spread(
        f"{case.encoder} x{case.width}, features of every stage", [len(images) / s for s in passes], "images/s"
    )
    for count in (10_000, 50_000, 500_000):
        yield from classifiers(count, 1 if count > 50_000 else min(rounds, 3))


def classifiers(count: int, rounds: int) -> Iterator[Measure]:
    """k-NN of 1,000 queries and the path of penalties, on `count` features: round clouds, and tilted ones."""
    cpu = torch.device("cpu")
    bank, labels, queries = features(count)
    flat = tilted(bank)
    library = {
        "k-NN": lambda: probes.knn(bank, labels, queries, CLASSES, 20, 0.07, cpu),
        "probe, five penalties": lambda: linear.path(bank, labels, CLASSES, GRID, 200, cpu),
        "probe, five penalties, tilted": lambda: linear.path(flat, labels, CLASSES, GRID, 200, cpu),
    }
    neighbours = KNeighborsClassifier(20, metric="cosine", algorithm="brute")
    scikit = {
        "k-NN": lambda: neighbours.fit(bank.numpy(), labels.numpy()).predict(queries.numpy()),
        "probe, five penalties": lambda: regressions(bank, labels),
        "probe, five penalties, tilted": lambda: regressions(flat, labels),
    }
    for name, work in library.items():
        rivals = {"ours": work} | ({"scikit-learn": scikit[name]} if count <= 50_000 else {})
        times = alternate(rivals, rounds)
        yield spread(f"{name}, {count:,} x {DIM}: ours", times["ours"], "s")
        if len(rivals) == 2:
            yield ratio(f"{name}, {count:,} x {DIM}: ours", times["scikit-learn"], times["ours"], "times scikit-learn")


def regressions(x: torch.Tensor, labels: torch.Tensor) -> None:
    """scikit-learn's fits of the same objectives on standardised features; where 200 steps do not do, it warns."""
    scaled = StandardScaler().fit_transform(x.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for l2 in GRID:
            LogisticRegression(C=1 / (l2 * len(x)), max_iter=200).fit(scaled, labels.numpy())


def tilted(x: torch.Tensor) -> torch.Tensor:
    """The same points with axes from 1 down to 1/1000, turned: as uneven as the features of a narrow encoder."""
    turn, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(0)))
    return (x * torch.logspace(0, -3, DIM)) @ turn


def features(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ten overlapping clouds in 512 dimensions: bank (count, 512), labels (count,), queries (1000, 512)."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLASSES, DIM)).astype(np.float32)
    labels = random.integers(0, CLASSES, count + QUERIES)
    cloud = 0.12 * centres[labels] + random.standard_normal((count + QUERIES, DIM), dtype=np.float32)
    points = torch.from_numpy(cloud)
    return points[:count], torch.from_numpy(labels[:count]), points[count:]

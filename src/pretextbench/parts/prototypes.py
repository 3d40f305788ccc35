"""Prototypes: unit vectors that embeddings are compared with, and their equal shares of a batch (Caron 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.base.picture import Picture
from pretextbench.distributed import gather, rank
from pretextbench.errors import UserError
from pretextbench.parts.pairs import in_float32

ROWS, COLUMNS = 6, 4  # prototypes and images of a picture, at most


class Prototypes(nn.Module):
    """Unit vectors (count, dim), trained by the scores that they give: cosines with embeddings.

    `frozen`: share of the budget in which they get no step.
    """

    def __init__(self, dim: int, count: int, frozen: float = 0.0) -> None:
        super().__init__()
        self.frozen = frozen
        self.weight = nn.Parameter(F.normalize(torch.randn(count, dim), dim=1))

    @in_float32
    def forward(self, z: Tensor) -> Tensor:
        """Cosines (..., count) of embeddings z (..., dim), of any length, with the prototypes; in float32 at least."""
        return F.linear(F.normalize(z, dim=-1), F.normalize(self.weight, dim=1))

    def no_step(self, progress: float) -> set[str]:
        """What the host gives no step at this share of the budget."""
        return {"weight"} if progress < self.frozen else set()

    @torch.no_grad()
    def normalise(self) -> None:
        """Give the vectors length one again, after an optimizer's step: else Adam's steps turn them less and less."""
        self.weight.copy_(F.normalize(self.weight, dim=1))


@torch.no_grad()
@in_float32
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = 3, extra: Tensor | None = None) -> Tensor:
    """Assignments (B, K) of the images of this process by Sinkhorn-Knopp, without gradients.

    `iterations` times, exp(scores / epsilon) over the images of all processes is divided so that every prototype has
    an equal share of the images, and then so that every row sums to 1. In logarithms: no epsilon overflows.

    Args:
        scores: (B, K); computed in float32 at least.
        epsilon: temperature; the smaller, the nearer to one prototype for each image.
        iterations: more make the shares more equal; the rows sum to 1 after each.
        extra: (n, K), scores of a queue, equal in all processes; they take part, and no row is returned for them.
    """
    gathered = gather(scores)
    logits = (gathered if extra is None else torch.cat([gathered, extra.to(gathered)])) / epsilon
    for _ in range(iterations):
        logits = logits - logits.logsumexp(0)
        logits = logits - logits.logsumexp(1, keepdim=True)
    return logits[rank() * len(scores) :][: len(scores)].exp()


def prototype_count(method: str, asked: int | None, usual: int, images: int) -> int:
    """The number of prototypes or outputs: as set; if None, `usual`, or a quarter of the training images if less.

    Raises:
        UserError: more are asked for than there are training images, or only one.
    """
    if asked is None:
        return max(2, min(usual, images // 4))
    if not 2 <= asked <= images:
        raise UserError(
            f"Method {method!r} needs 2 to {images} prototypes, as many as there are training images at most, found "
            f"{asked}. Lower `prototypes`, or leave it out."
        )
    return asked


def entropies(probabilities: Tensor) -> tuple[float, float]:
    """Of rows (B, K) that sum to 1: the mean entropy of a row and the entropy of the mean row, as shares of ln K.

    1 and 1: every row is uniform. Both 0: every row is the same one prototype. A sound method has a first value that
    is smaller than the second.
    """
    p, most = probabilities.double(), torch.tensor(float(probabilities.shape[1])).log()
    return float(torch.special.entr(p).sum(1).mean() / most), float(torch.special.entr(p.mean(0)).sum() / most)


def uniform_predictions(row: float, limit: float = 0.995) -> list[str]:
    """A symptom where every image is given all prototypes alike; `row`: mean entropy of an image's row, 0 to 1."""
    if row < limit:
        return []
    return [
        f"predictions are uniform: their entropy is {row:.3f} of the largest possible 1; lower optimizer.lr, or train "
        "longer"
    ]


def same_for_all(row: float, mean: float, limit: float = 0.005) -> list[str]:
    """A symptom where the rows of all images are nearly equal, whatever they are; values as of `entropies`.

    The difference is the mutual information of image and prototype, as a share of ln K. Rows that are all uniform, or
    all the same one prototype, are left to the two others.
    """
    if mean - row >= limit or uniform_predictions(row) or dominant_prototype(row, mean):
        return []
    return [
        f"all images have nearly the same prototypes: the entropy of a row, {row:.3f}, is that of the mean row; lower "
        "optimizer.lr, or train longer"
    ]


def dominant_prototype(row: float, mean: float, limit: float = 0.1) -> list[str]:
    """A symptom where one prototype takes all images; values as of `entropies`."""
    if max(row, mean) >= limit:
        return []
    return [
        f"one prototype takes all images: the entropy of their mean is {mean:.3f} of a possible 1; raise the batch "
        "size, or lower optimizer.lr"
    ]


def prototype_pictures(images: Tensor, scores: Tensor) -> list[Picture]:
    """For the prototypes that most images of a batch (B, 3, H, W) are nearest to, by scores (B, K): their best images.

    Captions are the scores.
    """
    chosen = scores.argmax(1).bincount(minlength=scores.shape[1])
    shown = chosen.argsort(descending=True, stable=True)[:ROWS]
    best, order = scores.float().T[shown].topk(min(COLUMNS, len(images)), dim=1)  # (rows, columns)
    captions = tuple(tuple(f"{score:.2f}" for score in row) for row in best.tolist())
    names = tuple("nearest" if i == 0 else f"{i + 1}." for i in range(best.shape[1]))
    return [Picture("images of a prototype, one prototype a row", names, images[order], captions)]

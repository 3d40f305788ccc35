"""Bins of the colours: the ab grid in gamut, soft codes, and the weights that balance rare colours."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pretext_colorization import lab

EDGE_SAMPLES = 17  # per edge of the RGB cube; from 5 on the 313 bins no longer change, from 17 on those of g = 5


def gamut() -> np.ndarray:
    """ab of colours along the 12 edges of the sRGB cube, (n, 2): their convex hull is the hull of the gamut."""
    steps = np.linspace(0, 1, EDGE_SAMPLES)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    edges = cube[((cube == 0) | (cube == 1)).sum(1) >= 2]
    return lab.ab(torch.from_numpy(edges.T[None, :, None]))[0, :, 0].T.numpy()


def hull(points: np.ndarray) -> np.ndarray:
    """Corners (m, 2) of the convex hull of points (n, 2), counter-clockwise (Andrew's monotone chain)."""

    def chain(ordered: list[list[float]]) -> list[list[float]]:
        kept: list[list[float]] = []
        for x, y in ordered:
            while len(kept) > 1:
                (x0, y0), (x1, y1) = kept[-2:]
                if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):  # a left turn
                    break
                kept.pop()
            kept.append([x, y])
        return kept[:-1]

    ordered = np.unique(points, axis=0).tolist()
    return np.array(chain(ordered) + chain(ordered[::-1]))


@cache
def ab_bins(grid: int = 10) -> np.ndarray:
    """The bins (Q, 2) in ab units, int64, sorted by a, then b; Q = 313 for the paper's grid of 10.

    p + (-g, g)^2 meets H exactly when n p < max over H of n h + g |n|_1 for every outward normal n of H and the square.
    """
    corners = hull(gamut())
    along = np.roll(corners, -1, 0) - corners
    directions = np.concatenate((np.stack((along[:, 1], -along[:, 0]), 1), [[1, 0], [-1, 0], [0, 1], [0, -1]]))
    reach = (directions @ corners.T).max(1) + grid * np.abs(directions).sum(1)  # (m,)
    span = np.arange(-200 // grid, 200 // grid + 1) * grid
    lattice = np.stack(np.meshgrid(span, span, indexing="ij"), -1).reshape(-1, 2)
    bins: np.ndarray = lattice[(lattice @ directions.T < reach - 1e-9).all(1)]
    return bins


class Code(nn.Module):
    """Soft coding over the k nearest bins, with weights exp(-d^2 / (2 sigma^2)) that sum to one.

    k = 1 is the one-hot code of the nearest bin (equation 6 of the lesson). The nearest are looked for among a few
    candidates only: the plane is cut into squares of half a grid step, and for each of them the bins are listed, once,
    that can be among the k nearest of any of its points. At k = 5 these are 13 at most instead of 313.
    """

    centres: Tensor  # (Q, 2), ab units
    candidates: Tensor  # (squares, M) numbers of bins, row by row of a
    places: Tensor  # (squares, 2M) their centres, all a, then all b: one look-up of a row is faster than M of a bin

    def __init__(self, grid: int = 10, k: int = 5, sigma: float = 5.0) -> None:
        super().__init__()
        bins = ab_bins(grid)
        self.k, self.sigma, self.side = k, sigma, grid / 2
        self.low = (bins.min(0) - grid).tolist()
        self.squares = ((bins.max(0) - bins.min(0) + 2 * grid) / self.side).astype(int).tolist()
        near = self._candidates(bins)
        # Not in the checkpoint: all of them follow from the parameters.
        self.register_buffer("centres", torch.from_numpy(bins).float(), persistent=False)
        self.register_buffer("candidates", torch.from_numpy(near), persistent=False)
        self.register_buffer(
            "places", torch.from_numpy(np.hstack((bins[near, 0], bins[near, 1]))).float(), persistent=False
        )

    def _candidates(self, bins: np.ndarray) -> np.ndarray:
        middles = [low + (np.arange(n) + 0.5) * self.side for low, n in zip(self.low, self.squares, strict=True)]
        middle = np.stack(np.meshgrid(*middles, indexing="ij"), -1)[..., None, :]  # (A, B, 1, 2)
        away = np.abs(middle - bins)  # (A, B, Q, 2)
        nearest = (np.maximum(away - self.side / 2, 0) ** 2).sum(-1)  # squared, from the square's nearest point
        farthest = np.partition(((away + self.side / 2) ** 2).sum(-1), self.k - 1)[..., self.k - 1, None]
        slack = 0.1  # ab units squared: a point may be rounded into the neighbouring square
        most = int((nearest <= farthest + slack).sum(-1).max())
        near: np.ndarray = nearest.argpartition(most - 1)[..., :most].reshape(-1, most)  # in no order
        return near

    def encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (N, 2) of the sRGB gamut to the numbers (N, k) of their nearest bins, nearest first, and weights."""
        squares = (((ab[:, i] - self.low[i]) / self.side).long() for i in (0, 1))
        row, column = (square.clamp(0, n - 1) for square, n in zip(squares, self.squares, strict=True))
        which = row * self.squares[1] + column  # (N,)
        near, centre = self.candidates.index_select(0, which), self.places.index_select(0, which)
        from_a, from_b = (ab[..., None] - centre.unflatten(1, (2, -1))).square_().unbind(1)
        distance = from_a + from_b  # (N, M), squared
        distance, place = distance.topk(self.k, 1, largest=False)
        return near.gather(1, place), (distance / (-2 * self.sigma**2)).softmax(1)

    def decode(self, logits: Tensor, temperature: float) -> Tensor:
        """Annealed mean: logits (..., Q) to the mean colour (..., 2) under softmax(logits / T); T -> 0 is the mode."""
        return (logits / temperature).softmax(-1) @ self.centres.to(logits)


GREY = 5.0  # ab units; an image whose |a| and |b| never exceed it is grey (the authors' code)
ROWS = 1024  # pixels at a time on a CPU: 1024 x 313 float32 stay in the cache


def weights(prior: Tensor, uniform: float) -> Tensor:
    """w (Q,) proportional to 1 / ((1 - lambda) p + lambda / Q), with sum p w = 1 (section 2.2 of the paper).

    The uniform share runs over all Q bins, those that never occurred included, so that no weight is infinite: the
    authors' code leaves them out, and 0 times infinity is not a number. lambda = 0 is refused by the parameters.
    """
    w = 1 / ((1 - uniform) * prior + uniform / len(prior))
    return w / (prior * w).sum()


def coloured(ab: Tensor) -> Tensor:
    """Which images (B, 2, h, w) have colour at all: (B,) bool."""
    return (ab.abs() > GREY).flatten(1).any(1)


class _SoftCrossEntropy(Function):
    """Loss and gradient in one pass over the logits: float32 copies of all of them would cost more than the network."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, share: Tensor) -> Tensor:
        rows = ROWS if logits.device.type == "cpu" else max(1, len(logits))
        slope, losses = torch.empty_like(logits), []
        wide = torch.promote_types(logits.dtype, torch.float32)
        for start in range(0, len(logits), rows):
            part = slice(start, start + rows)
            z, i, s = logits[part].to(wide), index[part], share[part].to(wide)
            p = z.softmax(1)
            log_sum = z.amax(1) - p.amax(1).log()  # log sum exp z; the largest p is at least 1 / Q, its log is safe
            losses.append(log_sum - (s * z.gather(1, i)).sum(1))
            slope[part] = p.scatter_add_(1, i, -s)
        ctx.save_for_backward(slope)
        return torch.cat(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * grad[:, None].to(slope.dtype), None, None


def soft_cross_entropy(logits: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """-sum_q Z_q log softmax(logits)_q, in nats, for logits (N, Q) and Z of k bins `index` with `share`, both (N, k).

    The shares of a row sum to one. Returns (N,) in float32 at least, whatever the precision of the logits.
    """
    return _SoftCrossEntropy.apply(logits, index, share)  # type: ignore[no-any-return]  # torch does not type it

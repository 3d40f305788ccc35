"""The similarity of images: a coarse comparison of colours that finds candidates, and one of edges that decides."""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

Images = npt.NDArray[np.uint8]  # (n, H, W, 3)
Floats = npt.NDArray[np.float32]
# CIFAR-10 (JPEG), test in train, by eye: 0.5 names 282 images (2.8 %). Of 80 of them, evenly spread by similarity,
# 77 are the same shot, 3 in doubt (other paint). Of the 56 in 0.45-0.5, 8 are not; of the 73 in 0.4-0.45, 19 are not.
NEAR = 0.5
COARSE, CANDIDATES = 0.75, 4  # correlation at least, images at most; 8 candidates find 1 % more on CIFAR-10
GRID, SIDE = 8, 32  # pixels: candidates, edges; in larger images the grain of two JPEGs would drown what they share
SOFT = 8.0  # grey levels between neighbours: an edge this strong counts half of the strongest
FAINT = 0.1  # root mean square of an image's edges that is worth comparing; the least of 2,000 in CIFAR-10: 0.24
SCALE = 1024  # descriptors are whole numbers of this length: float32 adds their products exactly, in chunks of any size
SCORES, VALUES = 8 << 20, 4 << 20  # held at once: correlations, and values of images as floats
BATCH = 64  # pairs whose edges are compared at once: they stay in the cache


class Index:
    """A split with the keys of the comparison: a hash and a coarse descriptor, in two halves, for each image."""

    def __init__(self, split: str, images: Images, names: Sequence[str] | None) -> None:
        self.split, self.images, self.names, self.digests = split, images, names, list[bytes]()
        self.even = np.zeros((len(images), GRID * GRID // 2 * 3), np.float32)
        self.odd = np.zeros_like(self.even)
        step = max(1, VALUES // max(1, images[:1].size))
        for start in range(0, len(images), step):
            chunk, rows = np.array(images[start : start + step]), slice(start, start + step)
            self.digests += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in chunk]
            self.even[rows], self.odd[rows] = descriptors(chunk)


def shrunk(images: Images, side: int) -> Tensor:
    """Area averages (n, 3, side, side), grey levels."""
    return adaptive_avg_pool2d(torch.from_numpy(images).permute(0, 3, 1, 2).float(), side)


def descriptors(images: Images) -> tuple[Floats, Floats]:
    """Left halves (n, d) of x ± mirror(x), of the coarse image x: their products are x·x' ± x·mirror(x')."""
    x = shrunk(images, GRID)
    x = x - x.mean((2, 3), keepdim=True)
    length = x.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(1)  # an image of one colour stays 0
    x = (x * (SCALE / length)).round()
    left, right = x[..., : GRID // 2], x.flip(-1)[..., : GRID // 2]
    return (left + right).flatten(1).numpy(), (left - right).flatten(1).numpy()


def candidates(query: Index, reference: Index) -> Iterator[tuple[int, int]]:
    """Pairs of rows, of `query` and of `reference`, whose edges are worth comparing."""
    step, floor = max(1, SCORES // max(1, len(reference.images))), COARSE * 2 * SCALE**2
    for start in range(0, len(query.images), step):
        rows = slice(start, start + step)
        scores = np.abs(query.odd[rows] @ reference.odd.T)  # (step, len(reference))
        scores += query.even[rows] @ reference.even.T  # 2 max(x·x', x·mirror(x'))
        for i in np.flatnonzero(scores.max(1, initial=0) >= floor):
            yield from ((start + int(i), int(row)) for row in _highest(scores[i], floor))


def _highest(scores: Floats, floor: float) -> npt.NDArray[np.int64]:
    """At most CANDIDATES rows of at least `floor`, highest first; of equal ones those that come first."""
    rows = np.flatnonzero(scores >= floor)
    if len(rows) > CANDIDATES:  # where all images are alike: sort few of them
        rows = rows[scores[rows] >= np.partition(scores[rows], -CANDIDATES)[-CANDIDATES]]
    return rows[np.argsort(-scores[rows], kind="stable")[:CANDIDATES]]


def edges(images: Images) -> Floats:
    """(n, (h + 2)(h + 2) 6): steps to the right and down, curbed, centred, of length 1, in a frame of zeros."""
    x = shrunk(images, min(SIDE, images.shape[1]))
    corner = x[:, :, :-1, :-1]
    e = torch.cat([x[:, :, :-1, 1:] - corner, x[:, :, 1:, :-1] - corner], 1)  # (n, 6, h, h)
    e = e / (e.abs() + SOFT)  # or a horizon would outweigh everything else, and all ships at sea would be one
    e = e - e.mean((2, 3), keepdim=True)  # a smooth gradient is no content
    e = e / e.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(FAINT * e[0].numel() ** 0.5)
    return pad(e, (1, 1, 1, 1)).permute(0, 2, 3, 1).flatten(1).numpy()


def agreement(a: Floats, b: Floats) -> list[float]:
    """Largest inner product (n,) over shifts of one pixel: offsets in the flat arrays, as the frame is zero."""
    line = math.isqrt(a.shape[1] // 6) * 6
    margin = line + 6
    middle, width = np.ascontiguousarray(a[:, margin:-margin]), a.shape[1] - 2 * margin
    offsets = [margin + down * line + right * 6 for down in (-1, 0, 1) for right in (-1, 0, 1)]
    best = np.max([np.vecdot(middle, b[:, offset : offset + width]) for offset in offsets], 0)
    return [round(value, 4) for value in best.tolist()]  # the order of a sum must not decide


def similarities(
    query: Images, reference: Images, pairs: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], float, float]]:
    """Pairs of rows, the similarity of their images, and that with the first one mirrored."""
    for start in range(0, len(pairs), BATCH):
        rows, other_rows = np.array(pairs[start : start + BATCH]).T
        a, b = query[rows], edges(reference[other_rows])
        straight, mirrored = (agreement(edges(x), b) for x in (a, np.ascontiguousarray(a[:, :, ::-1])))
        yield from zip(pairs[start : start + BATCH], straight, mirrored, strict=True)

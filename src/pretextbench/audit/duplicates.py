"""The leak audit: images of one split that have an exact or near duplicate in another split.

A test image that is also in train inflates the result: 3.3 % of CIFAR-10's are (Barz & Denzler 2020, "Do we train on
test data?"). An image is matched with the most similar one of the other split, mirrored or not: of the few
whose colours on a coarse grid correlate most, the one whose edges agree best over shifts of a pixel. An image without
edges has exact duplicates only. Made for photographs of things: where all are alike, look at pairs.png first.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from pretextbench.base.files import whole_folder, write_whole
from pretextbench.base.picture import Picture, draw
from pretextbench.data.prepared import Prepared, spread
from pretextbench.errors import UserError

Images = npt.NDArray[np.uint8]  # (n, H, W, 3)
Floats = npt.NDArray[np.float32]

LEAKS = (("test", "train"), ("test", "val"), ("val", "train"))  # whose images must not be in whose
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
PICTURE_PAIRS, ROW_PAIRS = 16, 4  # pairs in the picture, and in a row of it


class Pair(BaseModel, frozen=True):
    """An image and the most similar one of another split. Rows count from the start of their split."""

    split: str
    row: int
    other_split: str
    other_row: int
    similarity: float  # of the edges, at most 1
    exact: bool  # pixel for pixel, as they stand
    flipped: bool  # it is the mirror image that is similar
    file: str | None
    other_file: str | None


class Count(BaseModel, frozen=True):
    """Number of images of a split that have a duplicate in another split."""

    split: str
    other_split: str
    images: int  # of the first split
    exact: int
    near: int  # the exact ones too
    exact_share: float
    near_share: float


class Audit(BaseModel, frozen=True):
    """Duplicates between the splits, and the thresholds of the search."""

    sha256: str  # of the images
    near: float = NEAR
    coarse: float = COARSE
    candidates: int = CANDIDATES
    counts: tuple[Count, ...]
    pairs: tuple[Pair, ...]  # most similar first, exact ones before all


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


def audit(data: Prepared, names: Sequence[str] | None = None) -> Audit:
    """Find the images of test and val that another split also holds; `names` are the files, one per row of the array.

    Raises:
        UserError: there is not one name per image.
    """
    if names is not None and len(names) != (rows := max(stop for _, stop in data.splits.values())):
        raise UserError(f"There are {len(names)} file names for {rows} images. Run the prepare stage again.")
    index = {s: Index(s, data.images(s), names and names[first:stop]) for s, (first, stop) in data.splits.items()}
    compared = [(index[a], index[b]) for a, b in LEAKS if a in index and b in index]
    matched = [matches(a, b) for a, b in compared]
    counts = tuple(_count(a, b, pairs) for (a, b), pairs in zip(compared, matched, strict=True))
    ordered = sorted((pair for pairs in matched for pair in pairs), key=lambda pair: (not pair.exact, -pair.similarity))
    return Audit(sha256=data.fingerprint, counts=counts, pairs=tuple(ordered))


def _count(query: Index, reference: Index, pairs: Sequence[Pair]) -> Count:
    images, exact, near = len(query.images), sum(pair.exact for pair in pairs), len(pairs)
    shares = {"exact_share": exact / max(1, images), "near_share": near / max(1, images)}
    return Count(split=query.split, other_split=reference.split, images=images, exact=exact, near=near, **shares)


def _pair(
    query: Index, reference: Index, rows: tuple[int, int], similarity: float, *, exact: bool, flipped: bool
) -> Pair:
    row, match = rows
    position = {"split": query.split, "row": row, "other_split": reference.split, "other_row": match}
    names = {"file": query.names and query.names[row], "other_file": reference.names and reference.names[match]}
    return Pair.model_validate({**position, "similarity": similarity, "exact": exact, "flipped": flipped, **names})


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


def matches(query: Index, reference: Index) -> list[Pair]:
    """Images of `query` with an exact or near duplicate in `reference`, each with the most similar one; by row."""
    first = {digest: row for row, digest in reversed(list(enumerate(reference.digests)))}
    exact = {i: first[digest] for i, digest in enumerate(query.digests) if digest in first}
    best = {pair[0]: _pair(query, reference, pair, 1, exact=True, flipped=False) for pair in exact.items()}
    open_pairs = [pair for pair in candidates(query, reference) if pair[0] not in exact]
    for start in range(0, len(open_pairs), BATCH):
        pairs = open_pairs[start : start + BATCH]
        rows, reference_rows = np.array(pairs).T
        a, b = query.images[rows], edges(reference.images[reference_rows])
        agree = [agreement(edges(x), b) for x in (a, np.ascontiguousarray(a[:, :, ::-1]))]
        for pair, straight, mirrored in zip(pairs, *agree, strict=True):
            i, similarity = pair[0], max(straight, mirrored)
            if similarity >= NEAR and (i not in best or similarity > best[i].similarity):
                best[i] = _pair(query, reference, pair, similarity, exact=False, flipped=mirrored > straight)
    return [best[i] for i in sorted(best)]


def save(result: Audit, data: Prepared, folder: Path) -> None:
    """Write audit.json (counts and measure), pairs.csv (all pairs) and, if there are any of test and train, pairs.png.

    Raises:
        UserError: the folder cannot be written.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, list(Pair.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(pair.model_dump() for pair in result.pairs)
    with whole_folder(folder) as out:
        content = {"said": sentence(result), **result.model_dump(mode="json", exclude={"pairs"})}
        write_whole(out / "audit.json", (json.dumps(content, indent=2) + "\n").encode())
        write_whole(out / "pairs.csv", table.getvalue().encode())
        if pairs := picture_pairs(result):
            draw([picture(pairs, data)], out / "pairs.png")


def picture_pairs(result: Audit) -> list[Pair]:
    """At most PICTURE_PAIRS pairs of test and train, evenly from most to least similar; exact pairs fill the rest."""
    pairs = [pair for pair in result.pairs if (pair.split, pair.other_split) == LEAKS[0]]
    near, exact = [pair for pair in pairs if not pair.exact], [pair for pair in pairs if pair.exact]
    return ([near[i] for i in spread(len(near), PICTURE_PAIRS)] + exact)[:PICTURE_PAIRS]


def picture(pairs: Sequence[Pair], data: Prepared) -> Picture:
    """The pairs side by side, test | train, ROW_PAIRS in a row."""
    width = 2 * min(ROW_PAIRS, len(pairs))
    cells = [data.images(split)[row] for p in pairs for split, row in ((p.split, p.row), (p.other_split, p.other_row))]
    rows = [(f"{'mirror' if p.flipped else 'row'} {p.row}", f"{p.other_row}: {p.similarity:.2f}") for p in pairs]
    texts = [text for row in rows for text in row]
    blank = -len(cells) % width
    images = torch.from_numpy(np.stack(cells + [np.full_like(cells[0], 255)] * blank)).permute(0, 3, 1, 2) / 255
    captions = tuple(tuple([*texts, *[""] * blank][i : i + width]) for i in range(0, len(texts), width))
    title = "Test images, and the image of train that is most similar: row, similarity"
    return Picture(title, ("test", "train") * (width // 2), images.unflatten(0, (-1, width)), captions)


def sentence(result: Audit) -> str:
    """The result of the audit as one sentence, for a report."""
    leaks = [
        f"{100 * n.near_share:.1f} % of the {n.split} images ({n.near:,} of {n.images:,}) have a near duplicate in "
        f"{n.other_split}, {n.exact:,} of them pixel for pixel"
        for n in result.counts
        if n.near
    ]
    if leaks:
        return f"{'; '.join(leaks)}. Such images inflate the results; pairs.csv lists them."
    measure = f"the edges of no two images, mirrored or not, correlate by {result.near:g} or more"
    return f"No image of test or val has an exact or near duplicate in another split: {measure}."

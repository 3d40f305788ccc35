"""The leak audit: images of one split that have an exact or near duplicate in another split.

A test image that is also in train inflates the result: 3.3 % of CIFAR-10's are (Barz & Denzler 2020, "Do we train on
test data?"). An image is matched with the most similar one of the other split, mirrored or not: of the few
whose colours on a coarse grid correlate most, the one whose edges agree best over shifts of a pixel. An image without
edges has exact duplicates only. Made for photographs of things: where all are alike, look at pairs.png first.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel

from pretextbench.audit.shared_groups import LEAKS, Shared, in_words
from pretextbench.audit.similarity import CANDIDATES, COARSE, NEAR, Index, candidates, similarities
from pretextbench.base.files import whole_folder, write_whole
from pretextbench.base.picture import Picture, draw
from pretextbench.data.prepared import Prepared, spread
from pretextbench.errors import UserError

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
    groups: tuple[Shared, ...] = ()  # where the images have groups


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


def matches(query: Index, reference: Index) -> list[Pair]:
    """Images of `query` with an exact or near duplicate in `reference`, each with the most similar one; by row."""
    first = {digest: row for row, digest in reversed(list(enumerate(reference.digests)))}
    exact = {i: first[digest] for i, digest in enumerate(query.digests) if digest in first}
    best = {pair[0]: _pair(query, reference, pair, 1, exact=True, flipped=False) for pair in exact.items()}
    open_pairs = [pair for pair in candidates(query, reference) if pair[0] not in exact]
    for (i, row), straight, mirrored in similarities(query.images, reference.images, open_pairs):
        similarity = max(straight, mirrored)
        if similarity >= NEAR and (i not in best or similarity > best[i].similarity):
            best[i] = _pair(query, reference, (i, row), similarity, exact=False, flipped=mirrored > straight)
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
        content = {
            "said": sentence(result),
            **result.model_dump(mode="json", exclude={"pairs"} if result.groups else {"pairs", "groups"}),
        }
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
    shared = " ".join(["", *map(in_words, result.groups)])
    if leaks:
        return f"{'; '.join(leaks)}. Such images inflate the results; pairs.csv lists them.{shared}"
    measure = f"the edges of no two images, mirrored or not, correlate by {result.near:g} or more"
    return f"No image of test or val has an exact or near duplicate in another split: {measure}.{shared}"

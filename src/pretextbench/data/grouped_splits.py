"""Splits that keep groups together: whole patients, films or places are held out, with about the share of every class.

scikit-learn's splitters hold out a share of the groups (GroupShuffleSplit), or one of k equal parts of the images
(StratifiedGroupKFold). Here it is any share of the images: of TRIES orders of the groups, each cut where the share is
nearest, the one is taken in which the kinds of image are nearest to their shares.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pretextbench.data.class_folders import some
from pretextbench.errors import UserError
from pretextbench.params import Prepare

Rows = npt.NDArray[np.int64]
TRIES = 200
OFF = 0.05  # difference from a share that is asked for, of all images, above which a note says so


def hold_out(rows: Rows, strata: Rows, groups: Rows, share: float, rng: np.random.Generator, stay: int) -> Rows:
    """The rows of whole groups, about `share` of them; sorted.

    Args:
        rows: (n,) numbers of images.
        strata: (all,) the kind of each image, -1 where it has no label.
        groups: (all,) the group of each image.
        share: of the rows.
        rng: draws.
        stay: groups that are not taken, at least: one for each split that is left.

    Raises:
        UserError: there are too few groups.
    """
    _, kind = np.unique(strata[rows], return_inverse=True)
    labelled = np.bincount(kind, strata[rows] >= 0) > 0
    names, of = np.unique(groups[rows], return_inverse=True)
    counts = np.zeros((len(names), len(labelled)), np.int64)  # images of each group and kind
    np.add.at(counts, (of, kind), 1)
    if labelled.any():  # a group without a label has nothing to measure
        kept = np.flatnonzero(counts[:, labelled].any(1))
    else:
        kept, labelled = np.arange(len(names)), np.ones(1, bool)
    if len(kept) <= stay:
        raise UserError(
            f"prepare.group: {len(kept)} group(s) with labels are left for {stay + 1} splits, and every group stays in "
            "one split. Give more groups, or another column."
        )
    taken = kept[_best(counts[np.ix_(kept, labelled)], share, rng, stay)]
    chosen: Rows = np.sort(rows[np.isin(of, taken)])
    return chosen


def _best(counts: Rows, share: float, rng: np.random.Generator, stay: int) -> Rows:
    """Numbers of the groups to hold out; `counts` (groups, kinds) are their images."""
    totals, best, lowest = counts.sum(0), np.arange(1), np.inf
    for _ in range(TRIES):
        order = rng.permutation(len(counts))
        sums = counts[order].sum(1).cumsum()[:-stay]
        taken = order[: 1 + int(np.abs(sums - share * totals.sum()).argmin())]
        shares = counts[taken].sum(0) / totals
        lost = (shares == 1).sum()  # kinds of which no image is left to train on
        distance = np.abs(shares - share).mean() + abs(counts[taken].sum() / totals.sum() - share) + lost
        if distance < lowest:
            best, lowest = taken, distance
    return best


FOLDER = "folder"  # of `prepare.group`, where it is no column: the folder that an image is in


def of_folders(names: Sequence[str], classes: Sequence[str], labels: Rows) -> tuple[Rows, list[str]]:
    """(n,) the number of the folder of each image, and the names of the folders; `names` are paths.

    Raises:
        UserError: all images are in one folder, or the folders are the classes.
    """
    folders, groups = np.unique([name.rpartition("/")[0] or "." for name in names], return_inverse=True)
    of_class = len({(k, group) for k, group in zip(labels.tolist(), groups.tolist(), strict=True) if k >= 0})
    if len(folders) < 2 or (classes and of_class == len(classes)):
        what = "all images are in one folder" if len(folders) < 2 else "each class has a single folder"
        raise UserError(
            f"prepare.group is {FOLDER}, and {what}: {some(folders)}. Make a folder for each group, such as "
            "class/patient/1.png, or give a table with a column of the groups."
        )
    return groups.astype(np.int64), folders.tolist()


def joined(groups: Rows | None, more: Rows) -> Rows:
    """(n,) groups such that images which are together in `groups` or in `more` are so; numbers of `groups` are kept."""
    if groups is None:
        return more
    count = len(groups)
    _, a = np.unique(groups, return_inverse=True)
    _, b = np.unique(more, return_inverse=True)
    edges = coo_matrix((np.ones(count), (a, b + a.max() + 1)), shape=(a.max() + b.max() + 2,) * 2)
    parts = connected_components(edges, directed=False)[1][a]
    lowest = np.full(parts.max() + 1, groups.max() + 1)
    np.minimum.at(lowest, parts, groups)
    return np.asarray(lowest[parts])


def notes(
    parts: Mapping[str, Rows], drawn: Sequence[str], groups: Rows, names: Sequence[str], params: Prepare
) -> Iterator[str]:
    """Sentences on the groups: their number, splits whose size is not the one asked for, and groups in several splits.

    `drawn` are the splits that were drawn; `names` those of the first groups, as far as they have one.
    """
    total = sum(map(len, parts.values()))
    sizes = {split: len(np.unique(groups[rows])) for split, rows in parts.items()}
    largest = np.bincount(groups).max()
    yield (
        f"Groups stay together: {', '.join(f'{n:,} in {split}' for split, n in sizes.items())}; the largest has "
        f"{largest:,} of {total:,} images."
    )
    wanted = {"test": params.test_fraction, "val": params.val_fraction}
    for split in drawn:
        share = len(parts[split]) / (total if split == "test" else len(parts[split]) + len(parts["train"]))
        if abs(share - wanted[split]) > OFF:
            yield (
                f"The {split} split has {share:.0%} of the images, where {wanted[split]:.0%} are asked for: groups are "
                "kept whole, and no other choice of them comes nearer."
            )
    for split, other in (("test", "train"), ("test", "val"), ("val", "train")):
        shared = np.intersect1d(groups[parts[split]], groups[parts[other]])
        if len(shared):
            images = int(np.isin(groups[parts[split]], shared).sum())
            named = some(names[group] if group < len(names) else f"number {group}" for group in shared.tolist())
            yield (
                f"{len(shared):,} groups are in {split} and in {other} ({named}): {images:,} of "
                f"{len(parts[split]):,} {split} images are of a group that {other} knows, which inflates the results."
            )

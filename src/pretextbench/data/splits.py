"""The images of train, val and test: splits of the source are kept, missing ones are drawn class by class, seeded."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pretextbench.base.seed import Seed
from pretextbench.base.source_params import MIN_IMAGES
from pretextbench.data import grouped_splits
from pretextbench.data.source import SPLITS
from pretextbench.errors import UserError
from pretextbench.params import Prepare

Rows = npt.NDArray[np.int64]


def assign(splits: Sequence[str], labels: Rows, params: Prepare, groups: Rows | None = None) -> dict[str, Rows]:
    """The numbers of the images of train, val and test, each in a shuffled order.

    Splits of the source are kept. A missing test split takes `test_fraction` of the images, a missing val split takes
    `val_fraction` of train, class by class; a class's only image, and in a partly labelled set every image without a
    label, stays in train. With `groups`, the number of the group of each image, whole groups are held out.
    `max_images` keeps the proportions of splits and classes.

    Raises:
        UserError: there are too few images, or a split ends empty.
    """
    seed, rows = Seed(params.seed), np.arange(len(labels))
    names = np.array(splits)
    parts = {split: rows[names == split] for split in SPLITS}
    if params.max_images is not None and params.max_images < len(rows):
        parts = _fewer(parts, labels, params.max_images, seed.numpy("split", "max_images"))
    images = sum(map(len, parts.values()))
    if images < MIN_IMAGES:
        raise UserError(
            f"There are {images} images to use; at least {MIN_IMAGES} are needed for train, val and test. "
            "Add images (or raise prepare.max_images)."
        )
    for split, share in (("test", params.test_fraction), ("val", params.val_fraction)):
        if not len(parts[split]):
            rng, stay = seed.numpy("split", split), 1 + (split == "test" and not len(parts["val"]))
            if groups is None:
                taken = _hold_out(parts["train"], share, labels, rng)
            else:
                taken = grouped_splits.hold_out(parts["train"], labels, groups, share, rng, stay)
            parts |= {split: taken, "train": np.setdiff1d(parts["train"], taken)}
    _check(parts, params)
    return {split: seed.numpy("order", split).permutation(parts[split]) for split in SPLITS}


def _fewer(parts: dict[str, Rows], labels: Rows, total: int, rng: np.random.Generator) -> dict[str, Rows]:
    counts = _shares(np.array([len(parts[split]) for split in SPLITS]), total, rng)
    return {split: _draw(parts[split], labels, n, rng, spare=0) for split, n in zip(SPLITS, counts, strict=True)}


def _hold_out(train: Rows, share: float, labels: Rows, rng: np.random.Generator) -> Rows:
    eligible = train[labels[train] >= 0] if (labels[train] >= 0).any() else train
    return _draw(eligible, labels, round(share * len(eligible)), rng, spare=1)


def _draw(rows: Rows, labels: Rows, total: int, rng: np.random.Generator, spare: int) -> Rows:
    """Draw `total` of the rows, from every class its share, and leave at least `spare` of each class; sorted."""
    members = [rng.permutation(rows[labels[rows] == k]) for k in np.unique(labels[rows])]
    sizes = np.array([len(member) for member in members], np.int64)
    counts = np.minimum(_shares(sizes, total, rng), sizes - spare)
    drawn: Rows = np.concatenate([rows[:0], *(member[:n] for member, n in zip(members, counts, strict=True))])
    drawn.sort()
    return drawn


def _shares(sizes: Rows, total: int, rng: np.random.Generator) -> Rows:
    """Whole numbers that add up to `total`, in proportion to `sizes`: largest remainders, ties drawn."""
    quota = sizes * (total / max(1, sizes.sum()))
    counts: Rows = np.floor(quota).astype(np.int64)
    order = np.lexsort((rng.random(len(sizes)), counts - quota))
    counts[order[: total - counts.sum()]] += 1
    return counts


def _check(parts: dict[str, Rows], params: Prepare) -> None:
    empty = [split for split in SPLITS if not len(parts[split])]
    if empty:
        sizes = ", ".join(f"{split} {len(parts[split])}" for split in SPLITS)
        raise UserError(
            f"No image is left for {' and '.join(empty)} ({sizes}). Add images, or change prepare.val_fraction "
            f"(found {params.val_fraction}), prepare.test_fraction ({params.test_fraction}) or prepare.max_images."
        )

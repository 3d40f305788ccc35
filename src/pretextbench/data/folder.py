"""A user's folder of images: splits and labels come from its layout, without opening a file.

The rules, in order. (1) Where there is a `train/`, the folder is made of splits: `train/`, `val/` (or `valid/`,
`validation/`), `test/`, and `unlabelled/`, which joins train. (2) In a split, or in the folder itself where there are
none, the first-level folders are classes if there are two or more of them and each holds images directly; deeper images
belong to the class above them. Images next to the class folders have no label. (3) Otherwise nothing is labelled.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pretextbench.base.names import printable
from pretextbench.data.decode import Fit, decode_all
from pretextbench.data.source import Image, Listing, explore
from pretextbench.errors import UserError

ALIASES = {"training": "train", "valid": "val", "validation": "val", "testing": "test", "unlabeled": "unlabelled"}
PLACES = frozenset({"train", "val", "test", "unlabelled"})
LAYOUT = (
    "With labels: one folder per class (cats/1.jpg, dogs/2.jpg), if you like below train/, val/ and test/. "
    "Without labels: the images directly in the folder."
)


def listing(root: Path, side: int, fit: Fit) -> Listing:
    """The images of a folder, to be read as (side, side, 3).

    Raises:
        UserError: the folder is missing or is a file, it holds no images, it has a val or test split but no train, or
            all of it is one class.
    """
    walk = explore(root, "prepare.path")
    places = [_place(name) for name in walk.images]
    if has_splits := _has_splits(root, places):
        kept = [i for i, place in enumerate(places) if place]
    else:
        kept = list(range(len(places)))
    names = [walk.images[i] for i in kept]
    splits = [places[i] if has_splits else "train" for i in kept]
    within = [name.parts[1:] if has_splits else name.parts for name in names]
    classes = _classes(root, [parts for parts, split in zip(within, splits, strict=True) if split != "unlabelled"])
    index = {name: k for k, name in enumerate(classes)}
    labelled = [len(parts) > 1 and split != "unlabelled" for parts, split in zip(within, splits, strict=True)]
    outside = len(places) - len(kept)

    def read(numbers: Sequence[int]) -> Iterator[Image | str]:
        return decode_all([root / names[i] for i in numbers], side, fit)

    return Listing(
        names=[name.as_posix() for name in names],
        splits=["train" if split == "unlabelled" else split for split in splits],
        labels=np.array(
            [index.get(p[0], -1) if has else -1 for p, has in zip(within, labelled, strict=True)], np.int64
        ),
        classes=[printable(name) for name in classes],
        read=read,
        refused=walk.refused,
        ignored=walk.ignored.total() + outside,
        notes=tuple(map(printable, _notes(classes, walk.ignored, outside))),
    )


def _place(name: Path) -> str:
    """The split that the first folder of a path stands for, or an empty string."""
    first = name.parts[0].lower() if len(name.parts) > 1 else ""
    first = ALIASES.get(first, first)
    return first if first in PLACES else ""


def _has_splits(root: Path, places: Sequence[str]) -> bool:
    splits = sorted({place for place in places if place in ("train", "val", "test")})
    if splits and "train" not in splits:
        raise UserError(
            f"prepare.path: {root} has images in {' and '.join(f'{place}/' for place in splits)} but none in train/. "
            "Add a train/ folder, or rename these folders if they are classes."
        )
    return bool(splits)


def _classes(root: Path, within: Sequence[tuple[str, ...]]) -> list[str]:
    """Names of the classes; none where the layout says that nothing is labelled."""
    folders = {parts[0] for parts in within if len(parts) > 1}
    direct = {parts[0] for parts in within if len(parts) == 2}
    loose = any(len(parts) == 1 for parts in within)
    if len(folders) == 1 and folders == direct and not loose:
        only = folders.pop()
        raise UserError(
            f"prepare.path: {root} has only one class, {only!r}; labels need at least two. Add a second class, "
            f"or, to use the images without labels, point prepare.path at the images themselves. {LAYOUT}"
        )
    return sorted(folders) if len(folders) > 1 and folders == direct else []


def _notes(classes: Sequence[str], ignored: Counter[str], outside: int) -> tuple[str, ...]:
    notes = []
    if classes:
        listed = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        notes.append(f"{len(classes)} classes, from the names of the folders: {listed}.")
    else:
        notes.append(f"No labels: the layout has none. {LAYOUT}")
    if ignored:
        notes.append(f"Passed over: {', '.join(f'{n} {suffix}' for suffix, n in ignored.most_common(8))}.")
    if outside:
        notes.append(f"{outside} images lie outside train/, val/ and test/ and were passed over.")
    return tuple(notes)

"""A user's folder of images as a source: splits and labels come from its layout, without opening a file.

The rules are in `arrangement`, `split_folders` and `class_folders`, and in words in the README of this folder.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pretextbench.base.names import printable
from pretextbench.data.arrangement import Arrangement, arrange
from pretextbench.data.class_folders import some
from pretextbench.data.decode import Decoder, Fit
from pretextbench.data.source import Image, Listing, Walk, advice, explore, pictures
from pretextbench.data.split_names import nfc
from pretextbench.errors import UserError


def listing(root: Path, side: int, fit: Fit, layout: str = "auto") -> Listing:
    """The images of a folder, to be read as (side, side, 3); `layout` is `prepare.layout`.

    Raises:
        UserError: the folder is missing or is a file, it holds no images, or its layout asks a question: see `arrange`.
    """
    walk = explore(root, "prepare.path")
    made = _arranged(walk, layout)
    names = [walk.images[i] for i in made.used]
    index = {name: k for k, name in enumerate(made.classes)}
    outside = len(walk.images) - len(names)
    decoder = Decoder(side, fit, scale=None)

    def read(numbers: Sequence[int]) -> Iterator[Image | str]:
        return decoder.images([root / names[i] for i in numbers])

    return Listing(
        names=[name.as_posix() for name in names],
        splits=["train" if split == "unlabelled" else split for split in made.splits],
        labels=np.array([index.get(label, -1) for label in made.labels], np.int64),
        classes=[printable(name) for name in made.classes],
        read=read,
        refused=walk.refused,
        ignored=walk.ignored.total() + outside,
        unused=outside + pictures(walk.ignored),
        notes=tuple(map(printable, [*made.notes, *_passed_over(walk.ignored)])),
        warnings=tuple(map(printable, [*made.warnings, *advice(walk.ignored), *_hidden(walk)])),
        remarks=lambda: decoder.findings.sentences(),
        rescale=decoder.rescale,
    )


def _arranged(walk: Walk, layout: str) -> Arrangement:
    """The layout of what the walk came by, with the remedy for formats that are not read in its errors."""
    try:
        made = arrange(walk.images, layout, str(walk.root))
        made.notes += _no_class_is_lost(walk, made) if layout != "last" else []
    except UserError as error:
        raise UserError(" ".join([str(error), *advice(walk.ignored)])) from None
    return made


def _no_class_is_lost(walk: Walk, made: Arrangement) -> list[str]:
    """Refuse a folder that stands where the classes stand and holds only images that are not read; name empty ones."""
    homes = {(walk.images[i].parent, label) for i, label in zip(made.used, made.labels, strict=True) if label}
    used = {folder for image in walk.images for folder in (image.parent, *image.parent.parents)}
    parents = {folder.parent for home, label in homes for folder in (home, *home.parents) if nfc(folder.name) == label}
    empty = [folder for folder in walk.folders if folder.parent in parents and folder not in used]
    lost = Counter(folder.as_posix() for folder in empty for path in walk.foreign if folder in path.parents)
    if lost:
        raise UserError(
            f"prepare.path: {walk.root}: {some(f'{name}/ ({n:,} images)' for name, n in lost.items())} would be "
            f"missing among the classes, since none of the images can be read. "
            "Convert the images, or take the folder out."
        )
    return [f"No images in {some(folder.as_posix() + '/' for folder in empty)}."] if empty else []


def _passed_over(ignored: Counter[str]) -> list[str]:
    return [f"Passed over: {', '.join(f'{n} {suffix}' for suffix, n in ignored.most_common(8))}."] if ignored else []


def _hidden(walk: Walk) -> list[str]:
    if not walk.hidden:
        return []
    listed = some(f"{path.as_posix()}/ {n:,}" for path, n in walk.hidden.most_common())
    return [f"Images in hidden folders are not used: {listed}. Rename the folders if they are yours."]

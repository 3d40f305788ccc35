"""A user's folder of images as a source: the split and the class of each path, without opening a file.

Only names are looked at. Where they can be meant in two ways an error asks, and `prepare.layout` answers. More rules
are in `split_folders` and `class_folders`; the README of this folder has all of them in words.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pretextbench.base.names import printable
from pretextbench.data import split_folders
from pretextbench.data.class_folders import LAYOUT, Row, classes_of, first_folders, is_container, some, stripped
from pretextbench.data.decode import Decoder, Fit
from pretextbench.data.file_kinds import advice, pictures
from pretextbench.data.source import Image, Listing, Walk, explore
from pretextbench.data.split_folders import Splits
from pretextbench.data.split_names import looks, nfc
from pretextbench.errors import UserError, nearest

NO_LABELS = f"No labels: the layout has none. {LAYOUT}"
REMEDY = (
    "Rename these folders as in train/, add their classes to train/, or take them out. Your folders can stay as they "
    "are: a folder of links is enough."
)


def has_no_classes(rows: Sequence[Row], classes: Collection[str]) -> bool:
    """Whether a split has no class folder at all: its images lie flat, or in one folder that is no class."""
    folders = set(first_folders(rows))
    return not folders or (folders.isdisjoint(classes) and len(folders) == 1 and is_container(*folders))


def check_classes(
    splits: Mapping[str, Sequence[Row]], shown: Mapping[str, str], classes: Sequence[str], where: str
) -> None:
    """Compare the class folders of val and test with those of train.

    Raises:
        UserError: a split has a class folder that train lacks, for example in another case; or train has none.
    """
    strange: Counter[tuple[str, str]] = Counter()
    for split, rows in splits.items():
        if split in ("val", "test") and not has_no_classes(rows, classes):
            strange += Counter({(split, name): n for name, n in first_folders(rows).items() if name not in classes})
    if not strange:
        return
    if not classes:
        names = some(f"{shown[split]}{name}/" for split, name in strange)
        raise UserError(
            f"prepare.path: {where} has class folders in {names} but none in {shown['train']}: there is nothing to "
            "learn the classes from. Make class folders in train/ too, or give `prepare.layout: none`."
        )
    listed = some((f"{shown[split]}{name}/ ({n:,} images){_class_hint(name, classes)}" for (split, name), n in
                   strange.items()), 8)  # fmt: skip
    raise UserError(
        f"prepare.path: {where} has classes that {shown['train']} does not have, which no method could learn: "
        f"{listed}. {REMEDY}"
    )


def _class_hint(name: str, classes: Sequence[str]) -> str:
    """A hint at the class that is meant: the same but for case and spaces, or nearly the same."""
    for known in classes:
        if looks(known) == looks(name):
            return f", which is {known}/ in train but for case, spaces or marks"
    hint = nearest(name, classes).strip()
    return f" - {hint[:1].lower()}{hint[1:]}" if hint else ""


def absent_classes(splits: Mapping[str, Sequence[Row]], shown: Mapping[str, str], classes: Sequence[str]) -> list[str]:
    """Sentences on classes of train that a split with labels does not have: they are not measured there."""
    notes = []
    for split in ("val", "test"):
        rows = splits.get(split, ())
        missing = sorted(set(classes) - set(first_folders(rows)))
        if rows and missing and not has_no_classes(rows, classes):
            notes.append(
                f"{shown[split]} has no image of {len(missing)} of the {len(classes)} classes: {some(missing)}."
            )
    return notes


@dataclass
class Arrangement:
    """The split and the class of each path; `splits` and `labels` are parallel to `used`."""

    used: list[int]  # numbers of the paths that are used
    splits: list[str]  # train, val, test or unlabelled
    labels: list[str]  # name of the class, "" where there is none
    classes: list[str]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def arrange(paths: Sequence[Path], layout: str, where: str) -> Arrangement:
    """Understand the paths of all images below a folder; `layout` is `prepare.layout`, `where` names the folder.

    Raises:
        UserError: the names can be meant in two ways, or contradict each other; says which and what to do.
    """
    splits = split_folders.find([path.parts for path in paths], layout, where)
    used = [i for i, split in enumerate(splits.of) if split]
    made = Arrangement(used, [splits.of[i] for i in used], [], [])
    made.notes += splits.notes
    made.warnings += _outside_warning(splits)
    rows = [splits.rows[i] for i in used]
    if layout in ("none", "last"):
        by_parent = [nfc(row[-2]) if len(row) > 1 else "" for row in rows]
        unlabelled = [layout == "none" or split == "unlabelled" for split in made.splits]
        made.labels = ["" if without else name for name, without in zip(by_parent, unlabelled, strict=True)]
        made.classes = sorted({label for label in made.labels if label})
    else:
        _label(made, rows, splits.shown, layout, "/".join((where, *splits.base)))
    if made.classes:
        made.notes.insert(0, f"{len(made.classes)} classes, from the names of the folders: {some(made.classes, 10)}.")
    else:
        made.notes.append(NO_LABELS)
    return made


def _outside_warning(splits: Splits) -> list[str]:
    """A warning about images outside the splits: their number and their folders."""
    places = Counter(place for place, split in zip(splits.places, splits.of, strict=True) if not split)
    if not places:
        return []
    listed = some(f"{place} {n:,}" for place, n in places.most_common())
    return [f"{places.total():,} images lie outside train/, val/ and test/ and were passed over: {listed}."]


def _label(made: Arrangement, inner: list[Row], shown: dict[str, str], layout: str, where: str) -> None:
    """Fill in the labels; images of a test or val split without any label are dropped, since they measure nothing."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row, split in zip(inner, made.splits, strict=True):
        groups[split].append(row)
    train = stripped(groups["train"])
    made.classes, notes = classes_of(train, where, ask=layout == "auto")
    rows = {split: train if split == "train" else stripped(below, made.classes) for split, below in groups.items()}
    check_classes(rows, shown, made.classes, where)
    made.notes += notes + absent_classes(rows, shown, made.classes)
    known, queues = set(made.classes), {split: iter(below) for split, below in rows.items()}
    made.labels = [_class(next(queues[split]), split, known) for split in made.splits]
    if made.classes:
        made.warnings += _unlabelled(made, rows, shown)


def _class(row: Row, split: str, known: set[str]) -> str:
    name = nfc(row[0]) if len(row) > 1 and split != "unlabelled" else ""
    return name if name in known else ""


def _unlabelled(made: Arrangement, rows: dict[str, list[Row]], shown: dict[str, str]) -> Iterator[str]:
    """Drop splits without labels, and count the images next to the class folders that have no label."""
    for split in ("val", "test"):
        if split in rows and has_no_classes(rows[split], made.classes):
            n = len(rows[split])
            keep = [i for i, name in enumerate(made.splits) if name != split]
            made.used = [made.used[i] for i in keep]
            made.splits, made.labels = [made.splits[i] for i in keep], [made.labels[i] for i in keep]
            yield (
                f"{n:,} images in {shown[split]} have no labels, so nothing can be measured on them: they are not "
                f"used, and a {split} split is held out from {shown['train']}. To train on them, move them to "
                "unlabelled/."
            )
    loose = Counter(s for s, label in zip(made.splits, made.labels, strict=True) if not label and s != "unlabelled")
    if loose:
        yield f"{loose.total():,} image(s) next to the class folders have no label."


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

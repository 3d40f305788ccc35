"""The layout of a folder of images: which split and which class each path stands for, and what is not used.

Only names are looked at. Where they can be meant in two ways an error asks, and `prepare.layout` answers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pretextbench.data import held_out_classes, split_folders
from pretextbench.data.class_folders import LAYOUT, Row, classes_of, some, stripped
from pretextbench.data.split_folders import Splits
from pretextbench.data.split_names import nfc


@dataclass
class Arrangement:
    """What the paths stand for; `splits` and `labels` are parallel to `kept`."""

    kept: list[int]  # numbers of the paths that are used
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
    kept = [i for i, split in enumerate(splits.of) if split]
    made = Arrangement(kept, [splits.of[i] for i in kept], [], [])
    made.notes += splits.notes
    made.warnings += _outside(splits)
    rows = [splits.rows[i] for i in kept]
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
        made.notes.append(f"No labels: the layout has none. {LAYOUT}")
    return made


def _outside(splits: Splits) -> list[str]:
    """What lies outside the splits: how many images, and where."""
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
    held_out_classes.check(rows, shown, made.classes, where)
    made.notes += notes + held_out_classes.absent(rows, shown, made.classes)
    known, queues = set(made.classes), {split: iter(below) for split, below in rows.items()}
    made.labels = [_class(next(queues[split]), split, known) for split in made.splits]
    if made.classes:
        made.warnings += _unlabelled(made, rows, shown)


def _class(row: Row, split: str, known: set[str]) -> str:
    name = nfc(row[0]) if len(row) > 1 and split != "unlabelled" else ""
    return name if name in known else ""


def _unlabelled(made: Arrangement, rows: dict[str, list[Row]], shown: dict[str, str]) -> Iterator[str]:
    """Drop splits that cannot measure; and say how many images beside the class folders have no label."""
    for split in ("val", "test"):
        if split in rows and held_out_classes.unlabelled(rows[split], made.classes):
            n = len(rows[split])
            keep = [i for i, name in enumerate(made.splits) if name != split]
            made.kept = [made.kept[i] for i in keep]
            made.splits, made.labels = [made.splits[i] for i in keep], [made.labels[i] for i in keep]
            yield (
                f"{n:,} images in {shown[split]} have no labels, so nothing can be measured on them: they are not "
                f"used, and a {split} split is held out from {shown['train']}. To train on them, move them to "
                "unlabelled/."
            )
    loose = Counter(s for s, label in zip(made.splits, made.labels, strict=True) if not label and s != "unlabelled")
    if loose:
        yield f"{loose.total():,} image(s) beside the class folders have no label."

"""Labels from where they are: `prepare.labels` is a table, annotations or masks, which are matched with the images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pretextbench.base.names import printable
from pretextbench.data import annotations, folder, label_task, label_values, mask_files, masks
from pretextbench.data.file_match import find
from pretextbench.data.grouped_splits import FOLDER, of_folders
from pretextbench.data.image_labels import UNKNOWN, ImageLabels, Rows
from pretextbench.data.label_table import UNLABELLED
from pretextbench.data.source import Listing
from pretextbench.data.table_columns import Sheet, opened
from pretextbench.errors import UserError
from pretextbench.params import Prepare


def attach(listing: Listing, params: Prepare) -> Listing:
    """The listing of a folder with the labels of `prepare.labels`, its splits and its groups.

    Raises:
        UserError: the labels cannot be read, do not go together with `prepare.task`, or contradict the folders.
    """
    place, root = Path(params.labels or ""), Path(params.path or "")
    if left_out := mask_files.among(place, root, listing.names):
        listing = listing.without(left_out)
    given = read(params, listing.names)
    splits = _splits(params, listing, given.splits)
    classes = given.task == "class"
    labels = given.values if classes else np.full(len(listing.names), UNKNOWN, np.int64)
    names = given.names if classes else []
    notes = tuple(note for note in listing.notes if note != printable(folder.NO_LABELS))
    listing = replace(listing, notes=notes, labels=labels, classes=names, splits=splits)
    return replace(listing, given=given, groups=given.own_groups(), group_names=given.group_names)


def is_table(place: Path) -> bool:
    """Whether labels are a table, not annotations or masks."""
    return not (place.is_dir() or mask_files.are_masks(place) or annotations.are_annotations(place))


def read(params: Prepare, names: Sequence[str]) -> ImageLabels:
    """The labels of the images with these names, which are relative to `prepare.path`.

    Raises:
        UserError: see `attach`.
    """
    place, root = Path(params.labels or ""), Path(params.path or "")
    if mask_files.are_masks(place):
        given = masks.read(place, root, names, params)
    elif annotations.are_annotations(place):
        given = annotations.read(place, root, names, params)
    elif place.is_dir():
        raise UserError(
            f"prepare.labels: {place} holds no labels that are known. Allowed: a folder of masks, of Pascal VOC (.xml) "
            "or of YOLO (.txt), a table, or a file of COCO (.json)."
        )
    else:
        given = _table(place, root, names, params)
    if params.group == FOLDER:
        classes = given.names if given.task == "class" else []
        groups, folders = of_folders(names, classes, given.keys())
        given = replace(given, groups=groups, group_names=folders)
    elif params.group and given.groups is None:
        raise UserError(
            f"prepare.group: {place} is no table, which has no column {params.group!r}. Allowed: {FOLDER}, the folder "
            "that an image is in."
        )
    return _with_missing(given, names)


def _table(table: Path, root: Path, names: Sequence[str], params: Prepare) -> ImageLabels:
    sheet = opened(table, names, params.columns, None if params.group == FOLDER else params.group)
    files = sheet.columns[sheet.file]
    images, lost, how = find(table, root, files, names)
    meant = label_task.meaning(sheet, images, params.columns, params.task)
    label_names, values, notes = label_values.values(sheet, meant, images, len(names))
    groups, group_names = (None, []) if sheet.group is None else _groups(sheet, sheet.group, images, len(names))
    columns = {"label" if len(meant.columns) == 1 else f"label {k + 1}": i for k, i in enumerate(meant.columns)}
    return ImageLabels(
        meant.task, label_names, values,
        [f"The task is {meant.task}: {meant.reason}.", *filter(None, [sheet.note(columns), how]), *notes],
        _split_of(sheet, images, names), groups, group_names, [(file, "no image") for file in lost],
    )  # fmt: skip


def _split_of(sheet: Sheet, images: Rows, names: Sequence[str]) -> list[str]:
    """The split of each image by the table, "" where it does not list the image; empty where it has no such column.

    Raises:
        UserError: an image is in two splits.
    """
    values = sheet.splits()
    if not values:
        return []
    rows = pd.DataFrame({"image": images, "split": values})[images >= 0].drop_duplicates()
    twice = rows["image"][rows["image"].duplicated()]
    if len(twice):
        both = rows["split"][rows["image"] == twice.iloc[0]]
        raise UserError(
            f"{sheet.table}: {len(twice):,} image(s) are in two splits, such as {names[twice.iloc[0]]} in "
            f"{' and '.join(both)}. Keep one."
        )
    splits = [""] * len(names)
    for image, split in zip(rows["image"], rows["split"], strict=True):
        splits[image] = "train" if split == "unlabelled" else split
    return splits


def _groups(sheet: Sheet, column: int, images: Rows, count: int) -> tuple[Rows, list[str]]:
    """The group of each image by number, -1 where the table gives none; and the names of the groups.

    Raises:
        UserError: an image is in two groups, or all are in one.
    """
    cells = pd.Series(sheet.columns[column], dtype=str)
    given = (images >= 0) & ~cells.str.casefold().isin(UNLABELLED).to_numpy()
    codes, names = pd.factorize(cells[given], sort=True)
    pairs = pd.DataFrame({"image": images[given], "group": codes}).drop_duplicates()
    name, twice = sheet.head[column], int(pairs["image"].duplicated().sum())
    if twice:
        raise UserError(f"{sheet.table}: {twice:,} image(s) are in two groups of the column {name}. Keep one of them.")
    groups = np.full(count, UNKNOWN, np.int64)
    groups[pairs["image"]] = pairs["group"]
    if len(names) < 2 and (groups >= 0).all():
        raise UserError(f"{sheet.table}: all images are in one group of the column {name}. Choose another column.")
    return groups, [str(group) for group in names]


def _splits(params: Prepare, listing: Listing, by_labels: Sequence[str]) -> Sequence[str]:
    """The split of each image: of the labels, else of the folders.

    Raises:
        UserError: they contradict each other.
    """
    if not any(by_labels):
        return listing.splits
    folders = set(listing.splits) != {"train"}
    differ = [i for i, split in enumerate(by_labels) if folders and split and split != listing.splits[i]]
    if differ:
        image = differ[0]
        raise UserError(
            f"{params.labels}: the column of the splits and the folders train/, val/, test/ disagree on "
            f"{len(differ):,} images, such as {listing.names[image]}, in {by_labels[image]} by the table. Correct one "
            "of them, or give `prepare.layout: classes` to go by the table alone."
        )
    return [split or listing.splits[i] for i, split in enumerate(by_labels)]


def _with_missing(given: ImageLabels, names: Sequence[str]) -> ImageLabels:
    """The labels with a note on images without any; an error where no image has one."""
    missing = np.flatnonzero(~given.known())
    if len(missing) == len(names):
        raise UserError("prepare.labels: no image has a label. Is it the right file, and the right column?")
    if not len(missing):
        return given
    note = f"{len(missing):,} of {len(names):,} images have no label: they help pretraining alone."
    unmatched = [*given.unmatched, *((names[i], "no label") for i in missing.tolist())]
    return replace(given, notes=[*given.notes, note], unmatched=unmatched)

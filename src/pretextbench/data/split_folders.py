"""Folders that are splits: where they stand in a layout, and the questions that their names may raise."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pretextbench.data.class_folders import Row, first_folders, is_annotation, is_container, some
from pretextbench.data.split_names import Conflict, nfc, reading, splits_by_name, tokens
from pretextbench.errors import UserError

RENAME = "rename these folders if they are classes, or give `prepare.layout: classes`"


@dataclass(frozen=True)
class Splits:
    """The split of every row, and what lies below it."""

    base: Row  # folders around the splits or classes
    of: list[str]  # train, val, test, unlabelled; "" for what lies outside the splits
    rows: list[Row]  # below the split
    places: list[str]  # the first folder of every row, for messages
    shown: dict[str, str]  # split -> its folder, for messages
    notes: tuple[str, ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether there are no splits, so that they are drawn."""
        return set(self.of) <= {"train", "unlabelled"}


def find(rows: Sequence[Row], layout: str, where: str) -> Splits:
    """The splits of the rows, as folders around or inside the class folders; all `train` where there are none.

    Raises:
        UserError: there is a test or val split but no train, or a folder may be a split or a class.
    """
    base, below = _unwrapped(list(rows), layout, where)
    where = "/".join((where, *base))
    places = [f"{row[0]}/" if len(row) > 1 else "the folder itself" for row in below]
    mapping = _mapping(below, layout, where)
    if mapping:
        return _split(base, below, places, mapping)
    shown = {split: f"{split}/" for split in ("train", "val", "test", "unlabelled")}
    if layout == "auto" and (swapped := _class_first(below, where)):
        inner = splits_by_name({nfc(row[1]) for row in below})
        note = "The splits are folders inside the class folders (class/train/...); they are kept."
        return Splits(base, [inner[nfc(row[1])] for row in below], swapped, places, shown, (note,))
    return Splits(base, ["train"] * len(below), below, places, shown)


def _split(base: Row, rows: list[Row], places: list[str], mapping: dict[str, str]) -> Splits:
    """Rows sorted into splits by their first folder; if `unlabelled/` is the only split, all others are of train."""
    outside = "" if "train" in mapping.values() else "train"
    of = [mapping.get(nfc(row[0]), outside) if len(row) > 1 else outside for row in rows]
    below = [row[1:] if len(row) > 1 and nfc(row[0]) in mapping else row for row in rows]
    named = [f"{name}/ is read as {split}" for name, split in sorted(mapping.items()) if name.lower() != split]
    shown = {"train": "the folder"} | {split: f"{name}/" for name, split in sorted(mapping.items())}
    return Splits(base, of, below, places, shown, (f"{'; '.join(named)}.",) if named else ())


def _unwrapped(rows: list[Row], layout: str, where: str) -> tuple[tuple[str, ...], list[Row]]:
    """The rows without folders that hold everything, and those folders; a split is kept."""
    base: tuple[str, ...] = ()
    while len(first_folders(rows)) == 1:
        only = next(row[0] for row in rows if len(row) > 1)
        inside = [row[1:] for row in rows if len(row) > 1]
        organised = len(first_folders(inside)) > 1 and all(len(row) > 1 for row in inside)
        if reading(only) and (not organised or not _has_train(first_folders(inside))):
            break
        if len(inside) < len(rows):
            if organised and layout == "auto":
                flat = some(row[0] for row in rows if len(row) == 1)
                raise UserError(
                    f"prepare.path: {'/'.join((where, *base))} holds {only}/, with the folders "
                    f"{some(sorted(first_folders(inside)))}, and {len(rows) - len(inside):,} images directly "
                    f"({flat}). If those folders are splits or classes, point prepare.path at {only}/; otherwise "
                    "give `prepare.layout: none`."
                )
            break
        if not base and not is_container(only) and any(len(row) == 1 for row in inside):
            break  # one class
        base, rows = (*base, only), inside
    return base, rows


def _has_train(names: Counter[str]) -> bool:
    return any((read := reading(name)) and read[0] == "train" for name in names)


def _mapping(rows: list[Row], layout: str, where: str) -> dict[str, str]:
    """First folder -> split; empty where there are no splits."""
    folders = first_folders(rows)
    if layout == "classes":
        return {}
    try:
        mapping = splits_by_name(folders)
    except Conflict as conflict:
        raise UserError(
            f"prepare.path: {where} has the folders {conflict}: three that hold images out. Leave val/ and test/."
        ) from None
    if "train" in mapping.values():
        _flat_among_others(rows, mapping, layout, where)
        return mapping
    held = sorted(name for name, split in mapping.items() if split in ("val", "test"))
    if layout == "splits" or (layout == "auto" and held):
        listed = " and ".join(f"{name}/" for name in held) or "no folder that is named like a split"
        raise UserError(
            f"prepare.path: {where} has images in {listed} but none in train/. Add a train/ folder, or {RENAME}."
        )
    if layout == "auto":
        _doubtful(folders, where)
    return mapping if layout == "auto" and len(folders) > len(mapping) else {}


def _flat_among_others(rows: list[Row], mapping: dict[str, str], layout: str, where: str) -> None:
    """Raise where `train` may be a class among others, or where a folder of unknown name holds the classes of train."""
    outside = sorted(name for name in first_folders(rows) if name not in mapping and not _is_annotation_of(name))
    if layout != "auto" or not outside:
        return
    inside: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if len(row) > 2:
            inside[nfc(row[0])].add(nfc(row[1]))
    trained = {name for folder, split in mapping.items() if split == "train" for name in inside[folder]}
    if not any(inside[name] for name in mapping):
        raise UserError(
            f"prepare.path: {where} has {some(f'{name}/' for name in sorted(mapping))}, named like splits, and "
            f"{some(f'{name}/' for name in outside)}. If all are classes, give `prepare.layout: classes`; if the first "
            "are splits and the others are not to be used, `prepare.layout: splits`."
        )
    lost = [name for name in outside if inside[name] & trained]
    if lost and "test" not in mapping.values():
        raise UserError(
            f"prepare.path: {where}: {some(f'{name}/' for name in lost)} holds classes of train/, but is not named "
            "like a split. Rename it test/ or val/ if it is one; otherwise `prepare.layout: splits` leaves it out."
        )


def _is_annotation_of(name: str) -> bool:
    """Such as `masks`, `train_masks` or `trainannot`."""
    kinds = ("mask", "annot", "label", "segment", "trimap")
    return is_annotation(name) or any(kind in token for token in tokens(name) for kind in kinds)


def _doubtful(folders: Counter[str], where: str) -> None:
    """Raise where every folder is named for a split and something else, such as trainA, trainB, testA, testB."""
    reads = [reading(name) for name in folders]
    known = {read[0] for read in reads if read}
    if "train" in known and len(known) > 1 and all(reads):
        raise UserError(
            f"prepare.path: {where} has the folders {some(sorted(folders))}, named for splits and something else. Lay "
            f"them out as train/, val/ and test/ with one folder per class in each, or {RENAME}."
        )


def _class_first(rows: list[Row], where: str) -> list[Row]:
    """The rows as (class, ...) without their split, where each class folder has its own train/ and test/ inside."""
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        inner[nfc(row[0]) if len(row) > 1 else ""].add(nfc(row[1]) if len(row) > 2 else "")
    split_in = {name for name, below in inner.items() if {"train"} < set(_plain_splits(below).values())}
    if not split_in:
        return []
    strange = sorted(name or "images directly in the folder" for name, below in inner.items()
                     if len(_plain_splits(below)) < len(below))  # fmt: skip
    if strange:
        raise UserError(
            f"prepare.path: {where}: {some(sorted(split_in))} hold train/ and test/ folders, but not everything does: "
            f"{some(strange)}. Lay all out as train/CLASS/ and test/CLASS/, or give `prepare.layout: classes` to use "
            "the classes without these splits."
        )
    return [(row[0], *row[2:]) for row in rows]


def _plain_splits(names: set[str]) -> dict[str, str]:
    try:
        return {name: split for name, split in splits_by_name(names - {""}).items() if split != "unlabelled"}
    except Conflict:
        return {}

"""Labels from a table: a folder of links, one folder per class and split, whose layout is plain to the data module."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pretextbench.base.files import whole_folder
from pretextbench.base.names import Layout
from pretextbench.command.survey import as_typed
from pretextbench.data import label_table, split_folders
from pretextbench.data.class_folders import some
from pretextbench.data.file_match import match
from pretextbench.data.label_task import check_classes, one_each
from pretextbench.data.source import SPLITS, explore, is_system
from pretextbench.errors import UserError
from pretextbench.project import source_files

LONGEST = 150  # bytes of a link's or folder's name, of the 255 that file systems allow


@dataclass(frozen=True)
class Linked:
    """The result of linking the images of a table."""

    labelled: int
    unlabelled: int  # images that the table does not name, or names without a label
    classes: int
    layout: Layout  # `prepare.layout` of the links
    notes: list[str]


def link(images: Path, table: Path, target: Path, layout: str = "auto", label: str | None = None) -> Linked:
    """Make `target` a folder of links to the images, in a folder per label; below train/, val/, test/ if there are.

    The splits are those of a column of the table, else those of the folders of the images, by `layout`.

    Raises:
        UserError: the table cannot be read, names files that are not there, or one of them twice, its labels are no
            classes, its splits contradict the folders; or `target` cannot be written.
    """
    names = [name.as_posix() for name in explore(images, "--images").images]
    read = label_table.read(table, names, label)
    files, how = match(table, images, read.files, names)
    notes = [*read.notes, *filter(None, [how]), *one_each(table, files, read.labels, read.splits)]
    labels = {file: label for file, label in zip(files, read.labels, strict=True) if label}
    notes += check_classes(table, list(labels.values()))
    folders = {label: _folder(table, label) for label in sorted(set(labels.values()))}
    shortened = sum(label != folder for label, folder in folders.items())
    notes += [f"{shortened} label(s) are longer than {LONGEST} bytes and are shortened."] if shortened else []
    splits, more = _splits(table, images, names, dict(zip(files, read.splits, strict=False)), layout)
    _learnable(table, labels, splits)
    with whole_folder(target) as out:
        for name, short in _names(names).items():
            place = _place(out, folders.get(labels.get(name, ""), ""), splits.get(name, ""))
            place.mkdir(parents=True, exist_ok=True)
            (place / short).symlink_to((images / name).resolve())
    source_files.record_links(
        target, images, table, {"--layout": layout if layout != "auto" else None, "--label-column": label}
    )
    kind: Layout = "splits" if splits else "classes"
    return Linked(len(labels), len(names) - len(labels), len(folders), kind, [*notes, *more])


def _place(out: Path, folder: str, split: str) -> Path:
    if split == "train" and not folder:
        return out / "unlabelled"
    return out / split / folder


def _splits(
    table: Path, root: Path, names: Sequence[str], column: Mapping[str, str], layout: str
) -> tuple[dict[str, str], list[str]]:
    """Image -> split, by the table or by the folders; empty where there is none, so that it is drawn."""
    by_folder, notes = _of_folders(root, names, layout, strict=not column)
    if not column:
        return by_folder, notes
    differ = [name for name, split in column.items() if by_folder.get(name, split) != split]
    if differ:
        raise UserError(
            f"{table}: the column of the splits and the folders train/, val/, test/ disagree on {len(differ):,} "
            f"images: {some(differ, 3)}. Correct one of them, or give `--layout classes` to go by the table alone."
        )
    return {name: column.get(name, by_folder.get(name, "train")) for name in names}, []


def _of_folders(root: Path, names: Sequence[str], layout: str, strict: bool) -> tuple[dict[str, str], list[str]]:
    try:
        splits = split_folders.find([tuple(name.split("/")) for name in names], layout, str(root))
    except UserError as error:
        if not strict:
            return {}, []
        raise UserError(as_typed(str(error))) from None
    if splits.drawn:
        return {}, []
    outside = splits.of.count("")
    notes = (
        [f"{outside:,} images lie outside the folders of the splits; they are used for training."] if outside else []
    )
    split_of = {
        name: split if split in ("val", "test") else "train" for name, split in zip(names, splits.of, strict=True)
    }
    sizes = Counter(split_of.values())
    notes.append(
        f"The folders' splits are kept: {', '.join(f'{split} {sizes[split]:,}' for split in SPLITS if sizes[split])}."
    )
    return split_of, [*splits.notes, *notes]


def _learnable(table: Path, labels: Mapping[str, str], splits: Mapping[str, str]) -> None:
    """Raise if val or test has a label that no training image has."""
    trained = {label for file, label in labels.items() if splits.get(file, "train") in ("train", "unlabelled")}
    strange = Counter(label for label in labels.values() if label not in trained)
    if strange:
        listed = some(f"{label} ({n:,} images)" for label, n in strange.most_common())
        raise UserError(
            f"{table}: no training image has these labels, so no method could learn them: {listed}. Correct the labels "
            "(names are compared with their case), or take these rows out."
        )


def _folder(table: Path, label: str) -> str:
    """The name of the folder of a label, which is the class."""
    if "\n" in label or "\r" in label:
        raise UserError(f"{table}: the label {label[:60]!r} has a line break in it. Is a quote not closed?")
    if "/" in label or "\0" in label or is_system(label):
        raise UserError(f"{table}: the label {label[:100]!r} cannot be the name of a class folder. Write it otherwise.")
    return _short(label, label)


def _short(name: str, unique: str) -> str:
    """A name of at most LONGEST bytes; a digest replaces what is cut off, and the suffix is kept."""
    if len(name.encode(errors="surrogateescape")) <= LONGEST:
        return name
    digest = hashlib.sha256(unique.encode(errors="surrogateescape")).hexdigest()[:12]
    end = Path(name).suffix[:8]
    start = name.encode(errors="surrogateescape")[: LONGEST - len(digest) - len(end.encode()) - 1]
    return f"{start.decode('utf-8', 'ignore')}~{digest}{end}"


def _names(names: Sequence[str]) -> dict[str, str]:
    """A name for the link to each file, without folders in it, and none of them twice."""
    flat = {name: _short(name.replace("/", "__"), name) for name in names}
    times = Counter(flat.values())
    return {name: f"{i}__{flat[name]}" if times[flat[name]] > 1 else flat[name] for i, name in enumerate(sorted(names))}

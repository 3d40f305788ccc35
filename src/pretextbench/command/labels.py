"""Labels from a table: a folder of links, one folder per class, in the layout that the data module reads."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pretextbench.base.files import whole_folder
from pretextbench.data.folder import ALIASES, PLACES
from pretextbench.data.source import SYSTEM, Walk
from pretextbench.errors import UserError, nearest

SHOWN = 3  # files that a message quotes


@dataclass(frozen=True)
class Linked:
    """What became of a table."""

    labelled: int
    unlabelled: int  # images that the table does not name, or names without a label
    classes: int


def link(images: Path, table: Path, target: Path) -> Linked:
    """Make `target` a folder of links to the images, in a folder per label; unlabelled ones lie beside those.

    Raises:
        UserError: the table cannot be read, has no columns `file` and `label`, names files that are not there, one of
            them twice, a label that cannot be a folder, or fewer than two labels; or `target` cannot be written.
    """
    walk = Walk(images)
    walk.enter(Path())
    known = {name.as_posix() for name in walk.images}
    labels = read(table, known)
    folders = {label for label in labels.values() if label}
    if len(folders) < 2:
        raise UserError(f"{table} has {len(folders)} label(s) in all: two classes are needed to tell them apart.")
    with whole_folder(target) as out:
        for folder in folders:
            (out / folder).mkdir()
        for name, link in _names(known).items():
            (out / labels.get(name, "") / link).symlink_to((images / name).resolve())
    named = sum(bool(label) for label in labels.values())
    return Linked(named, len(known) - named, len(folders))


def read(table: Path, known: set[str]) -> dict[str, str]:
    """File -> label ("" where there is none), as the table says.

    Raises:
        UserError: see `link`.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            fields = rows.fieldnames or []
            if not {"file", "label"} <= set(fields):
                found = ", ".join(map(str, fields)) or "nothing"
                raise UserError(f"{table} needs a first line with the columns file and label, found: {found}.")
            pairs = [((row["file"] or "").strip(), (row["label"] or "").strip()) for row in rows]
    except OSError as error:
        raise UserError(f"--labels: cannot read {table}: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--labels: {table} is not a table of comma-separated values in UTF-8: {error}.") from None
    _check(table, pairs, known)
    return dict(pairs)


def _check(table: Path, pairs: list[tuple[str, str]], known: set[str]) -> None:
    missing = [file for file, _ in pairs if file not in known]
    if missing:
        shown = ", ".join(missing[:SHOWN])
        raise UserError(
            f"{table} names {len(missing)} file(s) that are not images of the folder: {shown}."
            f"{nearest(missing[0], known)} Names are relative to --images, with their suffix."
        )
    twice = [file for file, times in Counter(file for file, _ in pairs).items() if times > 1]
    if twice:
        raise UserError(f"{table} names {len(twice)} file(s) twice: {', '.join(twice[:SHOWN])}.")
    for label in {label for _, label in pairs if label}:
        word = label.lower()
        if "/" in label or "\0" in label or word.startswith(".") or word in SYSTEM or word in PLACES | set(ALIASES):
            raise UserError(f"{table}: the label {label!r} cannot be the name of a class folder. Write it otherwise.")


def _names(known: set[str]) -> dict[str, str]:
    """A name for the link to each file, without folders in it, and none of them twice."""
    flat = Counter(name.replace("/", "__") for name in known)
    return {
        name: f"{i}__{one}" if flat[one := name.replace("/", "__")] > 1 else one for i, name in enumerate(sorted(known))
    }

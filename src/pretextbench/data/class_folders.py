"""Class folders: the rules for one level of folders, and the questions that it may raise.

Every function looks at rows: the parts of an image's path below its split, such as ("cat", "1.jpg").
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from pretextbench.base.names import printable
from pretextbench.data.split_names import looks, nfc, reading, tokens, visible
from pretextbench.errors import UserError

Row = tuple[str, ...]
LONG = 160  # characters of a name in a message
CONTAINERS = frozenset((
    "images", "image", "imgs", "img", "jpegimages", "jpegs", "photos", "pictures", "data", "rgb", "files", "all",
    "unknown",
))  # fmt: skip
ANNOTATIONS = frozenset((
    "mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations", "groundtruth",
    "gt", "segmentationclass", "segmentationobject", "trimap", "trimaps", "depth", "thumbnail", "thumbnails", "thumbs",
))  # fmt: skip
STRONG = (ANNOTATIONS - {"mask", "label", "depth", "gt"}) | {"images", "jpegimages"}  # no class is named so
DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}|[1-9]\d\d(?=.*[A-Z])[A-Z0-9_]{5}")  # 2021-05, 100CANON of a camera
LAYOUT = (
    "With labels: one folder per class (cats/1.jpg, dogs/2.jpg), if you like below train/, val/ and test/. "
    "Without labels: the images directly in the folder, or any folder with `prepare.layout: none`."
)


def some(names: Iterable[str], most: int = 5) -> str:
    """The first names of many, for a message."""
    known = [printable(name if len(name) <= LONG else f"{name[: LONG - 25]}...{name[-20:]}") for name in names]
    return ", ".join(known[:most]) + (f", ... ({len(known):,} in all)" if len(known) > most else "")


@lru_cache(10_000)
def is_container(name: str) -> bool:
    """Whether a folder only holds images, as its name says, and is no class: `images`, or `train` inside `train`."""
    split, parts = reading(name), set(tokens(name))
    return bool(parts and parts <= CONTAINERS) or (split is not None and not split[1])


def _only_holds(name: str) -> bool:
    parts = [token for token in tokens(name) if not token.isdigit()]
    return bool(parts) and set(parts) <= CONTAINERS


def is_annotation(name: str) -> bool:
    """Whether the name of a folder says that it holds masks, labels or thumbnails and no photographs."""
    parts = [token for token in tokens(name) if not token.isdigit()]
    return bool(parts) and (set(parts) <= ANNOTATIONS or "".join(parts) in ANNOTATIONS)


def first_folders(rows: Iterable[Row]) -> Counter[str]:
    """Images per first folder, in NFC."""
    return Counter(nfc(row[0]) for row in rows if len(row) > 1)


def stripped(rows: list[Row], classes: Collection[str] = ()) -> list[Row]:
    """The rows without a first folder that holds everything and is no class: `images/`, or one around class folders."""
    while rows and len(folders := first_folders(rows)) == 1 and all(len(row) > 1 for row in rows):
        (only,) = folders
        wraps = all(len(row) > 2 for row in rows) and len({row[1] for row in rows}) > 1
        if only in classes or not (wraps or is_container(only)):
            break
        rows = [row[1:] for row in rows]
    return rows


def classes_of(rows: Sequence[Row], where: str, ask: bool) -> tuple[list[str], list[str]]:
    """The classes of the training images, and notes; no classes where nothing is labelled.

    `ask`: refuse folders that could be meant otherwise; without, the first folders are taken for the classes.

    Raises:
        UserError: all is one class, or the folders can be meant in two ways; `prepare.layout` decides.
    """
    folders = first_folders(rows)
    direct = {nfc(row[0]) for row in rows if len(row) == 2}
    if len(folders) == 1 and all(len(row) > 1 for row in rows) and (direct or not ask):
        (only,) = folders
        raise UserError(
            f"prepare.path: {where} has only one class, {only!r}; labels need at least two. Add a second class, "
            f"or, to use the images without labels, point prepare.path at the images themselves. {LAYOUT}"
        )
    if len(folders) < 2:
        return [], []
    if ask:
        _no_annotations(folders, where)
        if all(map(DATE.fullmatch, folders)):
            return [], [_dates(folders, direct == set(folders), where)]
        _no_masks_inside(rows, where)
        _one_holds_the_others(rows, folders, where)
        rows = [_without_containers(row) for row in rows]
        _one_level(rows, folders, where)
    return sorted(folders), [*_same_name(rows), *_deeper(rows)]


def _dates(folders: Collection[str], flat: bool, where: str) -> str:
    """A note on folders by date, which are not classes; where they could be classes, an error asks."""
    names = some(sorted(folders))
    if flat:
        raise UserError(
            f"prepare.path: {where} has the folders {names}, named like dates or by a camera. If they are no classes, "
            "give `prepare.layout: none`; if they are, `prepare.layout: classes`."
        )
    return f"The folders are named like dates ({names}) and are no classes; `prepare.layout: classes` makes them so."


def _no_annotations(folders: Counter[str], where: str) -> None:
    """Raise if some of the folders are masks, labels or thumbnails of the images in others."""
    annotations = [name for name in folders if is_annotation(name)]
    pictures = [name for name in folders if _only_holds(name)]
    strong = [name for name in folders if "".join(tokens(name)) in STRONG]
    if strong or len({*annotations, *pictures}) == len(folders):
        most = max(pictures or folders, key=lambda name: folders[name])
        raise UserError(
            f"prepare.path: {where} holds the folders {some(sorted(folders))}, which do not look like classes: "
            f"{some(sorted({*annotations, *strong, *pictures}))}. Point prepare.path at the folder of the photographs "
            f"alone (such as {most}/), or take the other folders out; if they are classes, give "
            "`prepare.layout: classes`."
        )


def _no_masks_inside(rows: Iterable[Row], where: str) -> None:
    """Raise if class folders hold folders of masks or labels: their files would count as photographs."""
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if len(row) > 1:
            inner[row[0]].add(row[1] if len(row) > 2 else "")
    for name, below in inner.items():
        if any(is_annotation(folder) for folder in below) and len(below) > 1:
            raise UserError(
                f"prepare.path: {where}: the class folder {name!r} holds {some(sorted(below - {''}))}: masks or labels "
                "would count as photographs. Take those folders out, for example into a folder next to the images."
            )


def _without_containers(row: Row) -> Row:
    """The row without folders that only hold images, such as `images` in class/images/1.png."""
    return (*row[:1], *(part for part in row[1:-1] if not is_container(part)), *row[-1:]) if len(row) > 2 else row


def _one_level(rows: Sequence[Row], folders: Counter[str], where: str) -> None:
    """Raise if the second or the last folders have the same names in every first folder, and may be the classes."""
    second: defaultdict[str, set[str]] = defaultdict(set)
    last: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if len(row) > 1:
            second[nfc(row[0])].add(nfc(row[1]) if len(row) > 2 else "")
            last[nfc(row[0])].add(nfc(row[-2]) if len(row) > 2 else "")
    if any("" in names for names in second.values()):
        return  # images directly in a first folder: a class
    for below in (second, last):
        names = Counter(name for inner in below.values() for name in inner)
        shared = [name for name, times in names.items() if times > 1]
        if 2 * len(shared) >= len(names) and (_numbered(folders) or not _numbered(names)):  # not patients of each class
            raise UserError(
                f"prepare.path: {where}: two levels of folders may be the classes, the first ({some(sorted(folders))}) "
                f"or a lower one ({some(sorted(names))}), whose names recur. Say which: `prepare.layout: classes` for "
                "the first, `prepare.layout: last` for the last, `prepare.layout: none` for no labels. If the first "
                "are splits, name them train/ and test/."
            )


def _one_holds_the_others(rows: Sequence[Row], folders: Counter[str], where: str) -> None:
    """Raise if one folder alone holds several folders, and more folders and images than its siblings."""
    inner = {name: _opened([row for row in rows if len(row) > 1 and nfc(row[0]) == name]) for name in folders}
    branching = [name for name, (_, below) in inner.items() if "" not in below and len(below) > 1]
    if len(branching) != 1:
        return
    (only,) = branching
    place, below = inner[only][0], sorted(inner[only][1])
    siblings = sorted(set(folders) - {only})
    if len(below) > len(siblings) and 2 * folders[only] > folders.total() and not _numbered(below):
        raise UserError(
            f"prepare.path: {where}: {place}/ holds most of the images, in the folders {some(below)}, beside "
            f"{some(f'{name}/' for name in siblings)}. If its folders are the classes, point prepare.path at {place}/; "
            f"if {only} is a class itself, give `prepare.layout: classes`."
        )


def _opened(rows: Sequence[Row]) -> tuple[str, set[str]]:
    """The folder below the first one, over folders that hold one folder alone, and the names in it, "" an image."""
    depth = 1
    while len(below := {nfc(row[depth]) if len(row) > depth + 1 else "" for row in rows}) == 1 and "" not in below:
        depth += 1
    return "/".join(map(nfc, rows[0][:depth])), below


def _numbered(names: Collection[str]) -> bool:
    """Whether the names differ only by a number, as those of patients, films or parts do."""
    return len({re.sub(r"\d+", "#", name) for name in names}) == 1 and all(re.search(r"\d", name) for name in names)


def _same_name(rows: Iterable[Row]) -> list[str]:
    """Notes on folders with one name in two Unicode forms, and on those that differ only in case or spaces."""
    raw = {row[0] for row in rows if len(row) > 1}
    twice = [name for name, times in Counter(map(nfc, raw)).items() if times > 1]
    unicode_notes = (
        [f"Folders whose names differ only in their Unicode form are one class: {some(twice)}."] if twice else []
    )
    return [*unicode_notes, *similar_names(set(map(nfc, raw)))]


def similar_names(classes: Collection[str]) -> list[str]:
    """A sentence on classes whose names look alike: they may be meant to be one."""
    folded = {name: looks(name) for name in classes}
    times = Counter(folded.values())
    twice = sorted(name for name in classes if times[folded[name]] > 1)
    shown = some(name if visible(name) == name else ascii(name)[1:-1] for name in twice)
    return [f"Names that differ only in case, spaces or marks are classes of their own: {shown}."] if twice else []


def _deeper(rows: Sequence[Row]) -> list[str]:
    """Notes on classes that hold all their images in subfolders, which may be groups or classes."""
    direct = {nfc(row[0]) for row in rows if len(row) == 2}
    inner = sorted({f"{row[0]}/{row[1]}" for row in rows if len(row) > 2 and nfc(row[0]) not in direct})
    if not inner:
        return []
    deep = len({name.partition("/")[0] for name in inner})
    return [
        f"The images of {deep:,} class(es) lie deeper than their folder: {some(inner, 3)}. The folders between may be "
        "groups (one patient, animal, film or place each): `prepare.group: folder` keeps each in one split. If they "
        "are the classes themselves, give `prepare.layout: last`; if nothing here is a class, `prepare.layout: none`.",
    ]

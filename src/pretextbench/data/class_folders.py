"""Which folders are classes: the rules for one level of folders, and the questions that it may raise.

Every function looks at rows: the parts of an image's path below its split, such as ("cat", "1.jpg").
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

from pretextbench.base.names import printable
from pretextbench.data.split_names import nfc, reading, words
from pretextbench.errors import UserError

Row = tuple[str, ...]
CONTAINERS = frozenset(
    [
        "images",
        "image",
        "imgs",
        "img",
        "jpegimages",
        "jpegs",
        "photos",
        "pictures",
        "data",
        "rgb",
        "files",
        "all",
        "unknown",
    ]
)
ANNOTATIONS = frozenset(
    [
        "mask",
        "masks",
        "label",
        "labels",
        "annotation",
        "annotations",
        "segmentation",
        "segmentations",
        "segmentationclass",
        "segmentationobject",
        "gt",
        "groundtruth",
        "trimaps",
        "depth",
        "thumbnails",
        "thumbs",
    ]
)
STRONG = frozenset(
    ["images", "jpegimages", "masks", "labels", "annotations", "segmentationclass", "groundtruth", "thumbnails"]
)
DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}")
LAYOUT = (
    "With labels: one folder per class (cats/1.jpg, dogs/2.jpg), if you like below train/, val/ and test/. "
    "Without labels: the images directly in the folder, or any folder with `prepare.layout: none`."
)


def some(names: Iterable[str], most: int = 5) -> str:
    """The first names of many, for a message."""
    known = [printable(name) for name in names]
    return ", ".join(known[:most]) + (f", ... ({len(known):,} in all)" if len(known) > most else "")


def is_container(name: str) -> bool:
    """Whether a folder only holds images, as its name says, and is no class: `images`, or `train` inside `train`."""
    split, parts = reading(name), set(words(name))
    return bool(parts and parts <= CONTAINERS) or (split is not None and not split[1])


def _only_holds(name: str) -> bool:
    parts = [word for word in words(name) if not word.isdigit()]
    return bool(parts) and set(parts) <= CONTAINERS


def is_annotation(name: str) -> bool:
    """Whether the name of a folder says that it holds masks, labels or thumbnails and no photographs."""
    parts = [word for word in words(name) if not word.isdigit()]
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
        if direct < set(folders) and all(map(DATE.fullmatch, folders)):
            dates = f"The folders are named like dates ({some(sorted(folders))}) and are not taken for classes"
            return [], [f"{dates}; `prepare.layout: classes` makes them so."]
        _one_level(rows, folders, where)
    return sorted(folders), [*_same_name(rows), *_deeper(rows, sorted(set(folders) - direct))]


def _no_annotations(folders: Counter[str], where: str) -> None:
    """Raise if some of the folders are masks, labels or thumbnails of the images in others."""
    other = [name for name in folders if is_annotation(name)]
    pictures = [name for name in folders if _only_holds(name)]
    strong = [name for name in folders if "".join(words(name)) in STRONG]
    if strong or len({*other, *pictures}) == len(folders):
        most = max(pictures or folders, key=lambda name: folders[name])
        raise UserError(
            f"prepare.path: {where} holds the folders {some(sorted(folders))}, which do not look like classes: "
            f"{some(sorted({*other, *strong, *pictures}))}. Point prepare.path at the folder of the photographs alone "
            f"(such as {most}/), or take the other folders out; if they are classes, give `prepare.layout: classes`."
        )


def _one_level(rows: Sequence[Row], folders: Counter[str], where: str) -> None:
    """Raise if the folders below the first ones have the same names everywhere and may be the classes."""
    between: defaultdict[str, set[str]] = defaultdict(set)
    direct = {nfc(row[0]) for row in rows if len(row) == 2}
    for row in rows:
        if len(row) > 2:
            between[nfc(row[0])].add(nfc(row[1]))
    for name, inner in between.items():
        if any(map(is_annotation, inner)) and (len(inner) > 1 or name in direct):
            raise UserError(
                f"prepare.path: {where}: the class folder {name!r} holds {some(sorted(inner))}: masks or labels would "
                "count as photographs. Take those folders out, for example into a folder beside the images."
            )
    names = Counter(name for inner in between.values() for name in inner if not is_container(name))
    shared = [name for name, times in names.items() if times > 1]
    if direct or len(between) < len(folders) or 2 * len(shared) < max(1, len(names)):
        return
    if _numbered(names) and not _numbered(folders):
        return  # patients, films or places in every class
    raise UserError(
        f"prepare.path: {where}: two levels of folders may be the classes, the first ({some(sorted(folders))}) or the "
        f"last ({some(sorted(names))}), which recurs in each. Say which: `prepare.layout: classes` for the first, "
        "`prepare.layout: last` for the last, `prepare.layout: none` for no labels."
    )


def _numbered(names: Collection[str]) -> bool:
    """Whether the names differ only by a number, as those of patients, films or parts do."""
    return len({re.sub(r"\d+", "#", name) for name in names}) == 1 and all(re.search(r"\d", name) for name in names)


def _same_name(rows: Iterable[Row]) -> list[str]:
    """What to say of folders with one name in two Unicode forms, and of those that differ only in case or spaces."""
    raw = {row[0] for row in rows if len(row) > 1}
    twice = [name for name, times in Counter(map(nfc, raw)).items() if times > 1]
    one = [f"Folders whose names differ only in their Unicode form are one class: {some(twice)}."] if twice else []
    return [*one, *alike(set(map(nfc, raw)))]


def alike(classes: Collection[str]) -> list[str]:
    """A sentence on classes whose names differ only in case or spaces: they may be meant to be one."""
    folded = {name: " ".join(name.casefold().split()) for name in classes}
    times = Counter(folded.values())
    twice = sorted(name for name in classes if times[folded[name]] > 1)
    return [f"Names that differ only in case or spaces are classes of their own: {some(twice)}."] if twice else []


def _deeper(rows: Iterable[Row], deep: Sequence[str]) -> list[str]:
    """What to say of classes that hold all their images in folders of their own: may be groups, or classes."""
    inner = sorted({f"{row[0]}/{row[1]}" for row in rows if len(row) > 2 and nfc(row[0]) in set(deep)})
    if not inner:
        return []
    notes = [f"The images of {len(deep):,} class(es) lie deeper than their folder: {some(inner, 3)}."]
    if all(is_container(name.partition("/")[2]) for name in inner):
        return notes
    return [
        *notes,
        "The folders between may be groups (one patient, animal, film or place each). Splits that are drawn do not "
        "know groups: put each group wholly into train/ or test/, by folders of links if you like. If they are the "
        "classes themselves, give `prepare.layout: last`; if nothing here is a class, `prepare.layout: none`.",
    ]

"""The files that a table names, matched with the images of a folder: as they stand, or in one other way for all rows.

A way is taken only when every row matches by it and no row matches two images; otherwise the answer is an error that
says how many rows would match.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pandas as pd

from pretextbench.data.class_folders import some
from pretextbench.data.split_names import nfc
from pretextbench.errors import UserError, nearest

Rows = npt.NDArray[np.int64]
Key = Callable[[str], str]
SHOWN = 3  # files that a message quotes
COMPARED = 20_000  # names among which the nearest is looked for


def _without_suffix(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


def _without_zeros(name: str) -> str:
    folder, mark, last = _without_suffix(name).rpartition("/")
    return folder + mark + (last.lstrip("0") or "0")


KEYS: tuple[tuple[str, Key], ...] = (
    ("", lambda name: name),
    (" in any case", str.casefold),
    (" without their suffix", _without_suffix),
    (" without their suffix and the zeros in front", _without_zeros),
    (" without their suffix, in any case", lambda name: _without_suffix(name).casefold()),
)


@dataclass(frozen=True)
class Match:
    """One way to match: a name per row, None where there is none, and the way in words."""

    names: list[str | None]
    how: str
    clear: bool = True  # whether one thing was done to all rows, and no row has two images

    @property
    def matched(self) -> int:
        """Rows that have an image."""
        return sum(name is not None for name in self.names)


def match(table: Path, root: Path, files: Sequence[str], known: Collection[str]) -> tuple[list[str], str]:
    """The image of every row, as it is written in `known`, and a sentence on how they match ("" if as they stand).

    Raises:
        UserError: some rows match no image, or the rows match only in different ways.
    """
    images = {nfc(name): name for name in known}
    cleaned = [_clean(file, images) for file in files]
    best = Match([None] * len(files), "")
    for match in _matches(cleaned, images):
        if match.matched == len(files) and match.clear:
            note = f"All {len(files):,} rows match{match.how}." if match.how else ""
            return [name for name in match.names if name is not None], note
        best = match if match.matched > best.matched else best
    raise UserError(_failure(table, root, files, cleaned, best, images))


def find(table: Path, root: Path, files: Sequence[str], known: Sequence[str]) -> tuple[Rows, list[str], str]:
    """The number of each row's image in `known`, -1 where it has none; the files without one; and a sentence, or "".

    Rows without an image are let pass if at least half of the rows, or of the images, match in one way.

    Raises:
        UserError: fewer match, or the rows match only in different ways.
    """
    codes, different = pd.factorize(np.array(files, dtype=object))
    images = {nfc(name): name for name in known}
    cleaned = [_clean(file, images) for file in different]
    best = Match([images.get(file) for file in cleaned], "")
    ways = _matches(cleaned, images)
    while best.matched < len(cleaned) and (way := next(ways, None)):
        best = way if way.clear and way.matched > best.matched else best
    if 2 * best.matched < min(len(cleaned), len(images)) or not best.matched:
        raise UserError(_failure(table, root, list(different), cleaned, _closest(cleaned, images), images))
    number = {name: i for i, name in enumerate(known)}
    numbers = np.array([-1 if name is None else number[name] for name in best.names], np.int64)
    lost = [str(different[i]) for i in np.flatnonzero(numbers < 0)]
    return numbers[codes], lost, " ".join([*_ways(best, len(cleaned)), *_lost(lost, images)])


def _ways(match: Match, files: int) -> Iterator[str]:
    if match.how:
        yield f"{'All ' if match.matched == files else ''}{match.matched:,} files of the labels match{match.how}."


def _lost(lost: Sequence[str], images: Mapping[str, str]) -> Iterator[str]:
    """A sentence on files without an image, and how some of them would match."""
    if not lost:
        return
    near = _closest([_clean(file, images) for file in lost], images)
    hint = f" {near.matched:,} of them match{near.how}: write them so." if near.matched else ""
    yield f"{len(lost):,} files of the labels are no images of the folder and are not used: {some(lost, SHOWN)}.{hint}"


def _closest(files: Sequence[str], images: Mapping[str, str]) -> Match:
    """The way by which most files match, clear or not."""
    return max(_matches(files, images), key=lambda way: way.matched)


def _clean(file: str, images: Mapping[str, str]) -> str:
    """A path as the walk writes it: single slashes, no `./`, one Unicode form; of an address without its escapes."""
    name = nfc(file)
    if name not in images:
        name = nfc(unquote(name.partition("?")[0])) if "://" in name else name.replace("\\", "/")
        name = re.sub(r"(?<=[^:/])/(\.?/)+", "/", name.removeprefix("file://"))
        while name.startswith("./"):
            name = name[2:]
    return name


def _matches(files: Sequence[str], images: Mapping[str, str]) -> Iterator[Match]:
    for description, key in KEYS:
        index: defaultdict[str, list[str]] = defaultdict(list)
        for name, original in images.items():
            index[key(name)].append(original)
        yield _dropped([key(file) for file in files], index, description)
        yield _by_end([key(file) for file in files], index, description)


def _dropped(files: Sequence[str], index: Mapping[str, list[str]], description: str) -> Match:
    """Each row without the leading folders that the folder of images does not have."""
    names: list[str | None] = []
    dropped, twice = set(), False
    for file in files:
        parts = file.split("/")
        start = next((i for i in range(len(parts)) if "/".join(parts[i:]) in index), None)
        originals = index["/".join(parts[start:])] if start is not None else []
        names.append(originals[0] if originals else None)
        twice |= len(originals) > 1
        dropped |= {"/".join(parts[:start]) + "/"} if start else {""} if start == 0 else set()
    folders = sorted(dropped - {""})
    how = f" if {some((f'`{folder}`' for folder in folders), SHOWN)} is dropped from them" if folders else ""
    return Match(
        names, how + (f",{description}" if how and description else description), len(dropped) < 2 and not twice
    )


def _by_end(files: Sequence[str], index: Mapping[str, list[str]], description: str) -> Match:
    """Each row as the end of one path in the folder of images; else by the file's name alone."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for key in index:
        by_name[key.rpartition("/")[2]].append(key)
    names: list[str | None] = []
    added, clear = set(), True
    for file in files:
        ends = by_name.get(file.rpartition("/")[2], [])
        full = [key for key in ends if key == file or key.endswith(f"/{file}")] or ends
        names.append(index[full[0]][0] if full else None)
        clear &= len(full) < 2 and all(len(index[key]) == 1 for key in full)
        added |= {(key.removesuffix(file) if key.endswith(file) else "?") for key in full}
    clear &= "?" not in added or len({file.rpartition("/")[0] for file in files}) == 1
    single_prefix = len(added) == 1 and "?" not in added
    how = f" if `{added.pop()}` is put in front" if single_prefix else " by the name of the file, whatever its folder"
    return Match(names, how + description, clear)


def _failure(
    table: Path, root: Path, files: Sequence[str], cleaned: Sequence[str], best: Match, images: Mapping[str, str]
) -> str:
    """The message for rows that do not match, with the best partial match."""
    if best.matched == len(files):
        return (
            f"{table}: the {len(files):,} rows match images only{best.how}, which is not one thing for all rows, or "
            f"gives two images for one row. Write the names relative to --images ({root}), such as "
            f"{next(iter(images))}."
        )
    lost = [i for i, name in enumerate(best.names) if name is None]
    hint = nearest(cleaned[lost[0]], list(images)[:COMPARED])
    unread = " They exist, but not as images that are read." if _exist(root, [cleaned[i] for i in lost[:SHOWN]]) else ""
    near = f" {best.matched:,} of {len(files):,} rows match{best.how}." if best.matched else ""
    return (
        f"{table} names {len(lost):,} file(s) that are not images of the folder: "
        f"{some((files[i] for i in lost), SHOWN)}.{hint}{unread}{near} Names are "
        f"relative to --images ({root}), such as {next(iter(images))}."
    )


def _exist(root: Path, names: Sequence[str]) -> bool:
    try:
        return all((root / name).is_file() for name in names)
    except (OSError, ValueError):
        return False

"""Copies among the images of a folder, before anything is decided: byte for byte among all, nearly among a sample."""

import hashlib
import itertools
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretextbench.base.names import NAMED, printable
from pretextbench.data.image_file import Refusal, open_regular, opened, regular

COMPARED = 100_000  # the largest number of files whose sizes are compared: the first ones
HEAD = 2**14  # bytes that are read of a file first: images that begin so, and have one size, are mostly equal
BLOCK = 2**20  # bytes that are held at once
READ = 2**30  # bytes that are read of all such files, at most

Pixels = npt.NDArray[np.uint8]  # (n, side, side, 3)


@dataclass(frozen=True)
class Copies:
    """Files that are equal byte for byte."""

    compared: int = 0  # files
    groups: tuple[tuple[str, ...], ...] = ()  # names of equal files, two at least
    conflicts: tuple[tuple[str, str], ...] = ()  # equal files with different labels
    unread: int = 0  # files that may be copies: they and others of their size were too large to read all

    @property
    def count(self) -> int:
        """Files that repeat another."""
        return sum(len(group) - 1 for group in self.groups)

    def warnings(self) -> Iterator[str]:
        """Lines for people, with the names of some files."""
        if self.groups:
            yield (
                f"{self.count:,} of {self.compared:,} files repeat another byte for byte: "
                f"{_listed(group[:2] for group in self.groups)}. `pretextbench init --drop-duplicates` (in params.yaml "
                "prepare.drop_duplicates: true) keeps the first of equal images; train comes before val and test."
            )
        if self.conflicts:
            yield (
                f"Copies with another label than the file that they repeat: {len(self.conflicts):,} "
                f"({_listed(self.conflicts)}). One of the two labels is wrong: correct it, or remove both files."
            )
        if self.unread:
            yield f"{self.unread:,} large files of equal size were not compared byte for byte: it would take long."


def near_warning(pairs: Sequence[tuple[str, str]], halves: tuple[int, int]) -> str:
    """A line for people on images of one half of the sample that the other half shows too."""
    return (
        f"{len(pairs):,} of {halves[0]:,} images have a near duplicate among {halves[1]:,} others: {_listed(pairs)}. "
        "Frames of one film or shots of one thing leak from train to test. Make train/ and test/ folders that keep "
        "them apart."
    )


def _listed(pairs: Iterable[Sequence[str]]) -> str:
    """`a.png = b.png, c.png = d.png, ...`"""
    first = list(itertools.islice(pairs, NAMED + 1))
    shown = ", ".join(" = ".join(map(printable, pair)) for pair in first[:NAMED])
    return shown + (", ..." if len(first) > NAMED else "")


def copies(root: Path, names: Sequence[str], labels: Sequence[int]) -> Copies:
    """Equal files among the images. Only regular files are opened, and a bounded number of bytes is read.

    Args:
        root: the folder.
        names: of the images, relative to it.
        labels: a class per image, negative where it has none.
    """
    sizes: defaultdict[int, list[int]] = defaultdict(list)
    for number, name in enumerate(names[:COMPARED]):
        try:
            sizes[regular(root / name).st_size].append(number)
        except (Refusal, ValueError):  # decoding reports it
            continue
    groups, left, unread = [], READ, 0
    for size, numbers in sorted(sizes.items()):
        for alike in _equal(root, names, numbers, HEAD):
            if size <= HEAD:
                groups.append(alike)
            elif size * len(alike) > left:
                unread += len(alike)
            else:
                left -= size * len(alike)
                groups += _equal(root, names, alike, size)
    groups = [group for group in groups if _is_image(root / names[group[0]])]
    conflicts = [pair for group in groups for pair in _conflicts(group, labels)]
    return Copies(
        min(len(names), COMPARED),
        tuple(tuple(names[number] for number in group) for group in sorted(groups)),
        tuple((names[a], names[b]) for a, b in sorted(conflicts)),
        unread,
    )


def _equal(root: Path, names: Sequence[str], numbers: Sequence[int], most: int) -> list[list[int]]:
    """The files of which `most` bytes are equal to those of another, together."""
    if len(numbers) < 2:
        return []
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for number in numbers:
        try:
            groups[_digest(root / names[number], most)].append(number)
        except (OSError, Refusal):
            continue
    return [group for group in groups.values() if len(group) > 1]


def _is_image(path: Path) -> bool:
    """Whether a file begins as an image does. Others are refused later: that they are equal is nothing to tell."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images
            with opened(path):
                return True
    except Exception:  # a parser given broken bytes may raise anything
        return False


def _digest(path: Path, most: int) -> bytes:
    """A hash of the first bytes of a file, `most` of them."""
    digest, (stream, _) = hashlib.blake2b(), open_regular(path)
    with stream:
        stream.bytes_left = most
        while block := stream.read(min(BLOCK, int(stream.bytes_left))):
            digest.update(block)
    return digest.digest()


def _conflicts(group: Sequence[int], labels: Sequence[int]) -> Iterator[tuple[int, int]]:
    labelled = [number for number in group if labels[number] >= 0]
    return ((labelled[0], number) for number in labelled[1:] if labels[number] != labels[labelled[0]])


def near(first: Pixels, second: Pixels, names: Sequence[str]) -> list[tuple[str, str]]:
    """Images that the other half of a sample shows too, nearly: other size, other JPEG, mirrored; equal ones left out.

    Args:
        first: one half.
        second: the other.
        names: of both, in their order.
    """
    if not len(first):
        return []
    from pretextbench.audit.duplicates import matches  # imports torch
    from pretextbench.audit.similarity import Index

    halves = names[: len(first)], names[len(first) :]
    a, b = (Index("", pixels, part) for pixels, part in zip((first, second), halves, strict=True))
    return [(pair.file or "", pair.other_file or "") for pair in matches(a, b) if not pair.exact]

"""Survey of a folder of images before `init` decides anything: all names, and the pixels of a sample."""

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as pil

from pretextbench.base.seed import Seed
from pretextbench.command.console import plain
from pretextbench.data import folder
from pretextbench.data.decode import FORMATS
from pretextbench.data.prepare import MIN_IMAGES
from pretextbench.data.source import Listing
from pretextbench.errors import UserError

SAMPLE = 400  # images that are opened and decoded: seconds
SIDE = 64  # pixels at which the sample is compared: finer than that JPEGs of one shot differ
HASHED = 20_000  # files compared byte for byte, at most
SHOWN = 5  # unreadable files and classes that are named


@dataclass(frozen=True)
class Header:
    """Format, mode and size of an image, as its file states them."""

    format: str
    mode: str
    width: int
    height: int


@dataclass(frozen=True)
class Survey:
    """Content of a folder of images. Counts are of all images; headers, refusals and near duplicates of a sample."""

    root: Path
    images: int
    ignored: int
    splits: Counter[str]  # "train", "val", "test"
    classes: dict[str, int]  # class -> images; empty where nothing is labelled
    unlabelled: int
    headers: tuple[Header, ...]
    sampled: int
    refused: tuple[tuple[str, str], ...]  # of the sample: (file, reason), and folders that cannot be listed
    pixels: npt.NDArray[np.uint8]  # (n, SIDE, SIDE, 3): what could be decoded of the sample
    hashed: int
    copies: int  # files that repeat another, byte for byte
    near: int  # of one half of the sample: images with a near duplicate in the other half
    halves: tuple[int, int]
    unused: int = 0  # images that are not used, counted in `ignored` too
    notes: tuple[str, ...] = ()  # how the layout was understood
    warnings: tuple[str, ...] = ()  # what is not used, and what may be meant otherwise

    @property
    def refused_share(self) -> float:
        """Of the sample."""
        return len(self.refused) / max(1, self.sampled)

    def short_side(self, quantile: float) -> int:
        """Pixels of the shorter side: at most this share of the images has a shorter one."""
        sides = [min(header.width, header.height) for header in self.headers]
        return int(np.quantile(sides, quantile, method="lower"))


def look(root: Path, layout: str = "auto") -> Survey:
    """Survey a folder; reads every name and at most SAMPLE images. `layout` is `prepare.layout`.

    Raises:
        UserError: the folder is missing, holds fewer images than can be split, is laid out in a way that can be meant
            otherwise, or no image of the sample can be read.
    """
    try:
        listing = folder.listing(root, SIDE, "crop", layout)
    except UserError as error:
        raise UserError(as_typed(str(error))) from None
    labels = Counter(listing.labels.tolist())
    numbers = _sample(len(listing.names), SAMPLE)
    images, refused = _decoded(listing, numbers)
    _enough(root, len(listing.names) - (len(refused) if len(numbers) == len(listing.names) else 0), listing)
    copies, hashed = _copies(root, listing.names)
    halves = images[: len(images) // 2], images[len(images) // 2 :]
    return Survey(
        root,
        len(listing.names),
        listing.ignored,
        Counter(listing.splits),
        {name: labels[k] for k, name in enumerate(listing.classes)},
        labels[-1],
        tuple(header for number in numbers if (header := _header(root / listing.names[number]))),
        len(numbers),
        (*listing.refused, *refused),
        images,
        hashed,
        copies,
        _near(*halves),
        (len(halves[0]), len(halves[1])),
        listing.unused,
        tuple(map(as_typed, listing.notes)),
        tuple(map(as_typed, listing.warnings)),
    )


def as_typed(message: str) -> str:
    """A message about parameters of params.yaml as one about the options of `init` that set them."""
    return message.replace("prepare.path", "--images").replace("prepare.layout: ", "--layout ")


def _enough(root: Path, images: int, listing: Listing) -> None:
    if images < MIN_IMAGES:
        raise UserError(
            f"--images: {root} holds {images} images to use; at least {MIN_IMAGES} are needed for train, val and test. "
            f"Add images. {' '.join(listing.warnings)}".rstrip()
        )


def description(survey: Survey) -> Iterator[str]:
    """Lines for people: images, sizes, formats, classes, unreadable files and duplicates."""
    sizes = [survey.short_side(q) for q in (0, 0.5, 1)]
    parts = [f"{n:,} {split}" for split, n in survey.splits.items()]
    splits = ", ".join(parts) if len(parts) > 1 else "no splits"
    other = f"{survey.ignored - survey.unused:,} other files passed over"
    unused = f"{survey.unused:,} images and " if survey.unused else ""
    yield f"{plain(survey.root)}: {survey.images:,} images ({splits}); {unused}{other}"
    yield f"shorter side {sizes[0]} to {sizes[2]} px, {sizes[1]} in the middle"
    for field in ("format", "mode"):
        yield f"{field}s: {_counts(survey, field)}"
    yield _classes(survey)
    if survey.images > survey.sampled:
        yield f"(sizes, formats, modes, unreadable files and near duplicates: of {survey.sampled} images)"
    if survey.refused:
        yield f"{len(survey.refused)} of {survey.sampled} files cannot be read:"
        for file, reason in survey.refused[:SHOWN]:
            yield f"  {plain(file)}: {plain(reason)}"
    else:
        yield f"unreadable: none of {survey.sampled}"
    near = f"{survey.near:,} of {survey.halves[0]:,} nearly"
    yield f"duplicates: {survey.copies:,} of {survey.hashed:,} byte for byte, {near}"
    yield from survey.notes


def _counts(survey: Survey, field: str) -> str:
    counts = Counter(getattr(header, field) for header in survey.headers)
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


def _classes(survey: Survey) -> str:
    if not survey.classes:
        return "labels: none, so methods are compared by label-free measures (one folder per class would be labels)"
    by_size = sorted(survey.classes, key=lambda name: -survey.classes[name])
    shown = [f"{plain(name)} {survey.classes[name]:,}" for name in by_size[:SHOWN]]
    more = f", ... {plain(by_size[-1])} {survey.classes[by_size[-1]]:,}" if len(by_size) > SHOWN else ""
    loose = f"; {survey.unlabelled:,} without a label" if survey.unlabelled else ""
    return f"labels: {len(by_size)} classes: {', '.join(shown)}{more}{loose}"


def _sample(images: int, most: int) -> list[int]:
    """Numbers of the images to look at: all, or so many drawn evenly and always the same."""
    if images <= most:
        return list(range(images))
    return sorted(Seed(0).numpy("survey").choice(images, most, replace=False).tolist())


def _decoded(listing: Listing, numbers: Sequence[int]) -> tuple[npt.NDArray[np.uint8], list[tuple[str, str]]]:
    images, refused = [], []
    for number, image in zip(numbers, listing.read(numbers), strict=True):
        if isinstance(image, str):
            refused.append((listing.names[number], image))
        else:
            images.append(image)
    if not images:
        file, reason = refused[0]
        raise UserError(f"--images: none of {len(numbers)} files can be read as an image. The first, {file}: {reason}.")
    return np.stack(images), refused


def _header(path: Path) -> Header | None:
    """Format, mode and size; None where the file does not say, which decoding it has told already."""
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")  # of large images
            with pil.open(stream, formats=FORMATS) as image:
                return Header(image.format or "?", image.mode, *image.size)
    except Exception:  # a parser given broken bytes may raise anything
        return None


def _copies(root: Path, names: Sequence[str]) -> tuple[int, int]:
    """Files that repeat an earlier one byte for byte, and how many files were compared. Equal sizes are read alone."""
    sizes: defaultdict[int, list[Path]] = defaultdict(list)
    numbers = _sample(len(names), HASHED)
    for number in numbers:
        path = root / names[number]
        try:
            sizes[path.stat().st_size].append(path)
        except OSError:  # told by decoding
            continue
    copies = 0
    for paths in sizes.values():
        if len(paths) > 1:
            copies += len(paths) - len({_digest(path) for path in paths})
    return copies, len(numbers)


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "blake2b").digest()
    except OSError:
        return str(path).encode(errors="surrogateescape")  # equal to no other


def _near(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> int:
    """Images of one half that the other half shows too, nearly: other size, other JPEG, mirrored."""
    if not len(first):
        return 0
    from pretextbench.audit import duplicates  # imports torch

    pairs = duplicates.matches(duplicates.Index("first", first, None), duplicates.Index("second", second, None))
    return sum(not pair.exact for pair in pairs)

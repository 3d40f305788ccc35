"""Survey of a folder of images before `init` decides anything: all names, and the pixels of a sample."""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretextbench.base.names import by_reason, printable
from pretextbench.base.seed import Seed
from pretextbench.base.source_params import MIN_IMAGES
from pretextbench.command import copies
from pretextbench.data import folder
from pretextbench.data.image_file import opened
from pretextbench.data.pixels import Contrasts
from pretextbench.data.source import Listing
from pretextbench.errors import UserError

SAMPLE = 400  # images that are opened and decoded: seconds
SIDE = 64  # pixels at which the sample is compared: finer than that JPEGs of one shot differ
OPTIONS = {"prepare.path": "--images", "prepare.layout: ": "--layout ", "prepare.labels": "--labels"}
OPTIONS |= {"prepare.columns": "--label-column", "prepare.group": "--group-column", "prepare.task": "--task"}
OPTIONS |= {"`task: ": "`--task ", "`--group-column: folder`": "`--group-column folder`"}
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
    copies: copies.Copies
    near: tuple[tuple[str, str], ...]  # images of one half of the sample, and a near duplicate in the other half
    halves: tuple[int, int]
    remarks: tuple[str, ...] = ()  # what the pixels of the sample tell
    decode_seconds: float = 0.0  # per image of the sample
    unused: int = 0  # images that are not used, counted in `ignored` too
    notes: tuple[str, ...] = ()  # how the layout was understood
    warnings: tuple[str, ...] = ()  # images that are not used, and names that may have another meaning
    task: str = "class"  # what the labels say of an image
    labels: str = ""  # in words, where they do not come from folders

    @property
    def refused_share(self) -> float:
        """Of the sample."""
        return len(self.refused) / max(1, self.sampled)

    def short_side(self, quantile: float) -> int:
        """Pixels of the shorter side: at most this share of the images has a shorter one."""
        sides = [min(header.width, header.height) for header in self.headers]
        return int(np.quantile(sides, quantile, method="lower"))


def look(
    root: Path,
    layout: str = "auto",
    tell: Callable[[str], object] = str,
    near: Callable[..., Any] = copies.near,
    given: Listing | None = None,
) -> Survey:
    """Survey a folder; reads every name and at most SAMPLE images.

    Args:
        root: the folder.
        layout: `prepare.layout`.
        tell: receives a line about the current step.
        near: finds near duplicates; the usual one imports torch, which takes seconds.
        given: the listing with its labels, where they do not come from the folders.

    Raises:
        UserError: the folder is missing, holds fewer images than can be split, is laid out in a way that can be meant
            otherwise, or no image of the sample can be read.
    """
    try:
        listing = given or folder.listing(root, SIDE, "crop", layout)
    except UserError as error:
        raise UserError(as_typed(str(error))) from None
    numbers = _sample(len(listing.names), SAMPLE)
    tell(f"{len(listing.names):,} images: opening {len(numbers):,} of them")
    sample = _decoded(listing, numbers)
    refused = len(sample.refused) if len(numbers) == len(listing.names) else 0
    _enough(root, len(listing.names) - refused, listing)
    tell(f"{len(listing.names):,} images: looking for copies")
    equal = copies.copies(root, listing.names, listing.keys.tolist())
    half = len(sample.pixels) // 2
    pairs = near(sample.pixels[:half], sample.pixels[half:], sample.names)
    labels = Counter(listing.labels.tolist())
    return Survey(
        root,
        len(listing.names),
        listing.ignored,
        Counter(listing.splits),
        {name: labels[k] for k, name in enumerate(listing.classes)},
        int((listing.strata < 0).sum()),
        tuple(header for number in numbers if (header := _header(root / listing.names[number]))),
        len(numbers),
        (*listing.refused, *sample.refused),
        sample.pixels,
        equal,
        tuple(pairs),
        (half, len(sample.pixels) - half),
        sample.remarks,
        sample.seconds,
        listing.unused,
        tuple(map(as_typed, listing.notes)),
        tuple(map(as_typed, listing.warnings)),
        listing.given.task if listing.given else "class",
        listing.given.description() if listing.given else "",
    )


def as_typed(message: str) -> str:
    """A message about parameters of params.yaml as one about the options of `init` that set them."""
    for parameter, option in OPTIONS.items():
        message = message.replace(parameter, option)
    return message


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
    root, ignored = printable(str(survey.root)), f"{survey.ignored - survey.unused:,} other files passed over"
    unused = f"{survey.unused:,} images and " if survey.unused else ""
    yield f"{root}: {survey.images:,} images ({splits}); {unused}{ignored}"
    yield f"shorter side {sizes[0]} to {sizes[2]} px, {sizes[1]} in the middle"
    for field in ("format", "mode"):
        yield f"{field}s: {_counts(survey, field)}"
    yield _classes(survey)
    if survey.images > survey.sampled:
        yield f"(sizes, formats, modes, unreadable files and near duplicates: of {survey.sampled} images)"
    if survey.refused:
        yield f"{len(survey.refused)} of {survey.sampled} files cannot be read:"
        for line in by_reason(survey.refused, SHOWN):
            yield f"  {line}"
    else:
        yield f"unreadable: none of {survey.sampled}"
    near = f"{len(survey.near):,} of {survey.halves[0]:,} nearly"
    yield f"duplicates: {survey.copies.count:,} of {survey.copies.compared:,} byte for byte, {near}"
    yield from survey.notes


def _counts(survey: Survey, field: str) -> str:
    counts = Counter(getattr(header, field) for header in survey.headers)
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


def _classes(survey: Survey) -> str:
    if survey.labels:
        return f"labels: {survey.labels}"
    if not survey.classes:
        return "labels: none, so methods are compared by label-free measures (one folder per class would be labels)"
    by_size = sorted(survey.classes, key=lambda name: -survey.classes[name])
    shown = [f"{printable(name)} {survey.classes[name]:,}" for name in by_size[:SHOWN]]
    more = f", ... {printable(by_size[-1])} {survey.classes[by_size[-1]]:,}" if len(by_size) > SHOWN else ""
    loose = f"; {survey.unlabelled:,} without a label" if survey.unlabelled else ""
    return f"labels: {len(by_size)} classes: {', '.join(shown)}{more}{loose}"


def _sample(images: int, most: int) -> list[int]:
    """Numbers of the images in the sample: all, or a fixed number, drawn evenly and always the same."""
    if images <= most:
        return list(range(images))
    return sorted(Seed(0).numpy("survey").choice(images, most, replace=False).tolist())


@dataclass(frozen=True)
class Sample:
    """The images that were opened."""

    pixels: npt.NDArray[np.uint8]  # (n, SIDE, SIDE, 3)
    names: list[str]
    refused: list[tuple[str, str]]
    remarks: tuple[str, ...]
    seconds: float  # per image, to decode it


def _decoded(listing: Listing, numbers: Sequence[int]) -> Sample:
    start = time.perf_counter()
    results = list(listing.read(numbers))
    seconds = (time.perf_counter() - start) / len(numbers)
    if listing.rescale():
        results = list(listing.read(numbers))
    pairs = [(listing.names[number], result) for number, result in zip(numbers, results, strict=True)]
    images = [image for _, image in pairs if not isinstance(image, str)]
    refused = [(name, reason) for name, reason in pairs if isinstance(reason, str)]
    if not images:
        raise UserError(
            f"--images: none of {len(numbers)} files can be read as an image. {'; '.join(by_reason(refused, SHOWN))}."
        )
    contrasts = Contrasts()
    for image in images:
        contrasts.add(image)
    remarks = (*listing.remarks(), *contrasts.sentences())
    return Sample(
        np.stack(images),
        [name for name, image in pairs if not isinstance(image, str)],
        refused,
        tuple(f"Of {len(numbers):,} images opened: {line}" for line in remarks),
        seconds,
    )


def _header(path: Path) -> Header | None:
    """Format, mode and size; None where the header cannot be read; decoding has already reported that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images
            with opened(path) as image:
                return Header(image.format or "?", image.mode, *image.size)
    except Exception:  # a parser given broken bytes may raise anything
        return None

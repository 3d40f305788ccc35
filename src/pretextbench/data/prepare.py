"""From a source to the prepared array: open the source, assign the splits, decode and write."""

import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretextbench.base.files import sha256, whole_folder
from pretextbench.base.names import printable
from pretextbench.data import folder, grouped_splits, synthetic
from pretextbench.data.array_writer import Duplicates, Writer
from pretextbench.data.class_folders import some
from pretextbench.data.grouped_splits import joined
from pretextbench.data.prepared import (
    CARD,
    CLASSES,
    CONFLICTS,
    DUPLICATES,
    FILES,
    GROUP_NAMES,
    IMAGES,
    LABELS,
    REFUSED,
    Card,
)
from pretextbench.data.source import Listing
from pretextbench.data.splits import Rows, assign
from pretextbench.data.targets import GROUPS
from pretextbench.params import Prepare

Together = Callable[[npt.NDArray[np.uint8]], Rows]
NOTES = "notes.txt"  # how labels and groups were understood, next to them


def prepare(params: Prepare, images: Path, labels: Path, together: Together | None = None) -> Card:
    """Write the prepared data set into two folders, `images` and `labels`; returns the card of the images.

    The same parameters and input give the same bytes. Memory does not grow with the pixels of the source.

    Args:
        params: section `prepare`.
        images: folder.
        labels: folder.
        together: the group of each of some images (n, side, side, 3), which stays in one split; for `keep_together`.

    Raises:
        UserError: the source is missing, is empty, has one class, cannot be downloaded or has too many unreadable
            files; or an output cannot be written. The earlier content of the two folders is then intact.
    """
    listing = open_source(params)
    if params.keep_together and together:
        listing = replace(listing, groups=joined(listing.groups, _alike(listing, params, images.parent, together)))
    rows = assign(listing.splits, listing.strata, params, listing.groups)
    with whole_folder(images) as image_folder, whole_folder(labels) as label_folder:
        writer = _write(image_folder / IMAGES, params, listing, rows)
        if grey_range := listing.rescale():
            writer = _write(image_folder / IMAGES, params, listing, rows)
        card = _card(listing, writer, params, sha256(image_folder / IMAGES), grey_range)
        (image_folder / CARD).write_text(card.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")
        _table(image_folder / REFUSED, ("file", "reason"), writer.refused)
        _table(image_folder / DUPLICATES, ("split", "file", "other_split", "other_file"), writer.duplicates.pairs)
        _names(label_folder / FILES, [listing.names[number] for number in writer.stored])
        _labels(label_folder, listing, writer, params)
    return card


def by_folder(listing: Listing) -> Listing:
    """The listing with the folder of each image as its group."""
    groups, names = grouped_splits.of_folders(listing.names, listing.classes, listing.labels)
    return replace(listing, groups=groups, group_names=names)


def _alike(listing: Listing, params: Prepare, place: Path, together: Together) -> Rows:
    """(n,) the groups of the images by `together`; those that cannot be read are groups of their own."""
    place.mkdir(parents=True, exist_ok=True)
    read: list[int] = []
    shape = (len(listing.names), params.image_size, params.image_size, 3)
    with tempfile.TemporaryDirectory(dir=place, prefix=".") as scratch:
        pixels = np.lib.format.open_memmap(Path(scratch) / IMAGES, "w+", np.uint8, shape)
        for number, image in enumerate(listing.read(range(len(listing.names)))):
            if not isinstance(image, str):
                pixels[len(read)] = image
                read.append(number)
        groups = np.arange(len(listing.names)) + len(read)
        groups[read] = together(pixels[: len(read)])
    return groups


def _write(path: Path, params: Prepare, listing: Listing, rows: dict[str, Rows]) -> Writer:
    with path.open("wb") as stream:
        writer = Writer(stream, params, listing)
        for name, numbers in rows.items():
            writer.split(name, numbers.tolist())
        writer.close()
    return writer


def _labels(folder: Path, listing: Listing, writer: Writer, params: Prepare) -> None:
    np.save(folder / LABELS, listing.labels[writer.stored])
    (folder / CLASSES).write_text(json.dumps(listing.classes, indent=2) + "\n", encoding="utf-8")
    if writer.duplicates.conflicts:  # with the labels, which the card does not describe
        _table(folder / CONFLICTS, ("file", "label", "other_file", "other_label"), _conflicts(writer))
    notes = list(_group_notes(listing, writer, params))
    if listing.given:
        listing.given.save(folder, writer.stored, params.image_size, params.fit)
        notes = [*listing.given.notes, *listing.given.split_notes(_parts(writer)), *notes]
    if listing.groups is not None:
        np.save(folder / GROUPS, listing.groups[writer.stored])
        (folder / GROUP_NAMES).write_text(json.dumps(list(listing.group_names), indent=2) + "\n", encoding="utf-8")
    if notes:
        _names(folder / NOTES, notes)


def _parts(writer: Writer) -> dict[str, Rows]:
    """The images of each split that are in the array, by their number in the listing."""
    return {split: np.array(writer.stored[slice(*rows)], np.int64) for split, rows in writer.splits.items()}


def _group_notes(listing: Listing, writer: Writer, params: Prepare) -> Iterator[str]:
    if listing.groups is not None:
        drawn = [split for split in ("test", "val") if split not in listing.splits]
        yield from grouped_splits.notes(_parts(writer), drawn, listing.groups, listing.group_names, params)


def _conflicts(writer: Writer) -> Iterator[tuple[str, ...]]:
    """Equal images with different labels: file, label, file, label."""
    listing = writer.listing
    for pair in writer.duplicates.conflicts:
        yield tuple(text for n in pair for text in (listing.names[n], listing.label(n)))


def open_source(params: Prepare) -> Listing:
    """The listing of the source that `params` names.

    Raises:
        UserError: see `folder.listing` and `vision.listing`.
    """
    if params.source == "synthetic":
        return synthetic.listing(params)
    if params.source == "folder":
        return _folder(params)
    from pretextbench.data import (
        public_sets,  # torchvision takes five seconds to import, and other sources need none of it
    )

    return public_sets.listing(params)


def _folder(params: Prepare) -> Listing:
    """A folder of images, with the labels of its folders or of `prepare.labels`."""
    root = Path(params.path or "")
    if not params.labels:
        listing = folder.listing(root, params.image_size, params.fit, params.layout)
        return listing if params.group is None else by_folder(listing)
    from pretextbench.data import label_source  # imports pandas, which takes a second

    layout = "none" if params.layout == "auto" else params.layout
    return label_source.attach(folder.listing(root, params.image_size, params.fit, layout), params)


def _card(listing: Listing, writer: Writer, params: Prepare, digest: str, grey_range: tuple[int, int] | None) -> Card:
    copies, dropped = writer.duplicates, params.drop_duplicates
    return Card(
        source=params.source,
        image_size=params.image_size,
        splits=writer.splits,
        mean=writer.moments.mean(),
        std=writer.moments.std(),
        sha256=digest,
        refused=len(writer.refused),
        ignored=listing.ignored,
        duplicates=0 if dropped else len(copies.pairs),
        duplicates_within=0 if dropped else copies.within,
        left_out=copies.left_out if dropped else None,
        grey_range=grey_range,
        notes=(
            *listing.notes,
            *listing.warnings,
            *listing.remarks(),
            *_without_images(listing, writer.stored),
            *writer.contrasts.sentences(),
            *_duplicate_notes(copies, dropped),
        ),
    )


def _without_images(listing: Listing, stored: Sequence[int]) -> list[str]:
    """Classes that lost all their images because none could be read."""
    lost = set(listing.labels.tolist()) - set(listing.labels[list(stored)].tolist()) - {-1}
    names = [listing.classes[k] for k in sorted(lost)]
    return [f"No image of {len(names)} class(es) can be read or was drawn: {some(names)}."] if names else []


def _duplicate_notes(copies: Duplicates, dropped: bool) -> Iterator[str]:
    if dropped:
        yield f"{copies.left_out} images were left out: they equal an earlier one, pixel for pixel."
        return
    leaked = len({file for split_a, _, split_b, file in copies.pairs if (split_a, split_b) == ("train", "test")})
    if leaked:
        yield f"{leaked} test images are also in train, pixel for pixel: they inflate the results ({DUPLICATES})."


def _names(path: Path, names: Iterable[str]) -> None:
    # Readers split the file into lines, and Python splits at more characters than \n.
    path.write_text("".join(f"{printable(name)}\n" for name in names), encoding="utf-8")


def _table(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    # File names need not be valid UTF-8: what is not is written as \xNN.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])

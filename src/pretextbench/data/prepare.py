"""From a source to the prepared array: open the source, assign the splits, decode and write."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretextbench.base.files import sha256, whole_folder
from pretextbench.base.names import printable
from pretextbench.base.seed import Seed
from pretextbench.base.source_params import MIN_IMAGES
from pretextbench.data import folder, synthetic
from pretextbench.data.array_writer import Duplicates, Writer
from pretextbench.data.class_folders import some
from pretextbench.data.prepared import CARD, CLASSES, CONFLICTS, DUPLICATES, FILES, IMAGES, LABELS, REFUSED, Card
from pretextbench.data.source import SPLITS, Listing
from pretextbench.errors import UserError
from pretextbench.params import Prepare

Rows = npt.NDArray[np.int64]


def assign(splits: Sequence[str], labels: Rows, params: Prepare) -> dict[str, Rows]:
    """The numbers of the images of train, val and test, each in a shuffled order.

    Splits of the source are kept. A missing test split takes `test_fraction` of the images, a missing val split takes
    `val_fraction` of train, class by class; a class's only image, and in a partly labelled set every image without a
    label, stays in train. `max_images` keeps the proportions of splits and classes.

    Raises:
        UserError: there are too few images, or a split ends empty.
    """
    seed, rows = Seed(params.seed), np.arange(len(labels))
    names = np.array(splits)
    parts = {split: rows[names == split] for split in SPLITS}
    if params.max_images is not None and params.max_images < len(rows):
        parts = _fewer(parts, labels, params.max_images, seed.numpy("split", "max_images"))
    images = sum(map(len, parts.values()))
    if images < MIN_IMAGES:
        raise UserError(
            f"There are {images} images to use; at least {MIN_IMAGES} are needed for train, val and test. "
            "Add images (or raise prepare.max_images)."
        )
    for split, share in (("test", params.test_fraction), ("val", params.val_fraction)):
        if not len(parts[split]):
            parts |= _hold_out(parts["train"], split, share, labels, seed.numpy("split", split))
    _check(parts, params)
    return {split: seed.numpy("order", split).permutation(parts[split]) for split in SPLITS}


def _fewer(parts: dict[str, Rows], labels: Rows, total: int, rng: np.random.Generator) -> dict[str, Rows]:
    counts = _shares(np.array([len(parts[split]) for split in SPLITS]), total, rng)
    return {split: _draw(parts[split], labels, n, rng, spare=0) for split, n in zip(SPLITS, counts, strict=True)}


def _hold_out(train: Rows, split: str, share: float, labels: Rows, rng: np.random.Generator) -> dict[str, Rows]:
    eligible = train[labels[train] >= 0] if (labels[train] >= 0).any() else train
    taken = _draw(eligible, labels, round(share * len(eligible)), rng, spare=1)
    return {split: taken, "train": np.setdiff1d(train, taken)}


def _draw(rows: Rows, labels: Rows, total: int, rng: np.random.Generator, spare: int) -> Rows:
    """Draw `total` of the rows, from every class its share, and leave at least `spare` of each class; sorted."""
    members = [rng.permutation(rows[labels[rows] == k]) for k in np.unique(labels[rows])]
    sizes = np.array([len(member) for member in members], np.int64)
    counts = np.minimum(_shares(sizes, total, rng), sizes - spare)
    drawn: Rows = np.concatenate([rows[:0], *(member[:n] for member, n in zip(members, counts, strict=True))])
    drawn.sort()
    return drawn


def _shares(sizes: Rows, total: int, rng: np.random.Generator) -> Rows:
    """Whole numbers that add up to `total`, in proportion to `sizes`: largest remainders, ties drawn."""
    quota = sizes * (total / max(1, sizes.sum()))
    counts: Rows = np.floor(quota).astype(np.int64)
    order = np.lexsort((rng.random(len(sizes)), counts - quota))
    counts[order[: total - counts.sum()]] += 1
    return counts


def _check(parts: dict[str, Rows], params: Prepare) -> None:
    empty = [split for split in SPLITS if not len(parts[split])]
    if empty:
        sizes = ", ".join(f"{split} {len(parts[split])}" for split in SPLITS)
        raise UserError(
            f"No image is left for {' and '.join(empty)} ({sizes}). Add images, or change prepare.val_fraction "
            f"(found {params.val_fraction}), prepare.test_fraction ({params.test_fraction}) or prepare.max_images."
        )


def prepare(params: Prepare, images: Path, labels: Path) -> Card:
    """Write the prepared data set into two folders, `images` and `labels`; returns the card of the images.

    The same parameters and input give the same bytes. Memory does not grow with the pixels of the source.

    Raises:
        UserError: the source is missing, is empty, has one class, cannot be downloaded or has too many unreadable
            files; or an output cannot be written. The earlier content of the two folders is then intact.
    """
    listing = open_source(params)
    rows = assign(listing.splits, listing.labels, params)
    with whole_folder(images) as image_folder, whole_folder(labels) as label_folder:
        writer = _write(image_folder / IMAGES, params, listing, rows)
        if grey_range := listing.rescale():
            writer = _write(image_folder / IMAGES, params, listing, rows)
        card = _card(listing, writer, params, sha256(image_folder / IMAGES), grey_range)
        (image_folder / CARD).write_text(card.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")
        _table(image_folder / REFUSED, ("file", "reason"), writer.refused)
        _table(image_folder / DUPLICATES, ("split", "file", "other_split", "other_file"), writer.duplicates.pairs)
        np.save(label_folder / LABELS, listing.labels[writer.stored])
        _names(label_folder / FILES, [listing.names[number] for number in writer.stored])
        (label_folder / CLASSES).write_text(json.dumps(listing.classes, indent=2) + "\n", encoding="utf-8")
        if writer.duplicates.conflicts:  # with the labels, which the card does not describe
            _table(label_folder / CONFLICTS, ("file", "label", "other_file", "other_label"), _conflicts(writer))
    return card


def _write(path: Path, params: Prepare, listing: Listing, rows: dict[str, Rows]) -> Writer:
    with path.open("wb") as stream:
        writer = Writer(stream, params, listing)
        for name, numbers in rows.items():
            writer.split(name, numbers.tolist())
        writer.close()
    return writer


def _conflicts(writer: Writer) -> Iterator[tuple[str, ...]]:
    """Equal images with different labels: file, label, file, label."""
    listing = writer.listing
    for pair in writer.duplicates.conflicts:
        yield tuple(text for n in pair for text in (listing.names[n], listing.classes[listing.labels[n]]))


def open_source(params: Prepare) -> Listing:
    """The listing of the source that `params` names.

    Raises:
        UserError: see `folder.listing` and `vision.listing`.
    """
    if params.source == "synthetic":
        return synthetic.listing(params)
    if params.source == "folder":
        return folder.listing(Path(params.path or ""), params.image_size, params.fit, params.layout)
    from pretextbench.data import (
        public_sets,  # torchvision takes five seconds to import, and other sources need none of it
    )

    return public_sets.listing(params)


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

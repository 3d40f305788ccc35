"""A source in, the prepared data set out: `prepare` reads, splits, decodes, measures and writes it, or nothing."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pretextbench.data import folder, split, synthetic
from pretextbench.data.prepared import CARD, CLASSES, DUPLICATES, FILES, IMAGES, LABELS, REFUSED, Card
from pretextbench.data.source import Listing
from pretextbench.data.walk import shown
from pretextbench.data.writer import Writer
from pretextbench.files import sha256, whole_folder
from pretextbench.params import Prepare


def prepare(params: Prepare, images: Path, labels: Path) -> Card:
    """Write the prepared data set into two folders, `images` and `labels`; returns the card of the images.

    The same parameters and input give the same bytes. Memory does not grow with the pixels of the source.

    Raises:
        UserError: the source is missing, is empty, has one class, cannot be downloaded or has too many unreadable
            files; or an output cannot be written. What was in the two folders before is then still there.
    """
    listing = open_source(params)
    rows = split.assign(listing.splits, listing.labels, params)
    with whole_folder(images) as image_folder, whole_folder(labels) as label_folder:
        with (image_folder / IMAGES).open("wb") as stream:
            writer = Writer(stream, params, listing)
            for name, numbers in rows.items():
                writer.split(name, numbers.tolist())
            writer.close()
        card = _card(listing, writer, params, sha256(image_folder / IMAGES))
        (image_folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _table(image_folder / REFUSED, ("file", "reason"), writer.refused)
        _table(image_folder / DUPLICATES, ("split", "file", "other_split", "other_file"), writer.duplicates.pairs)
        np.save(label_folder / LABELS, listing.labels[writer.kept])
        _names(label_folder / FILES, [listing.names[number] for number in writer.kept])
        (label_folder / CLASSES).write_text(json.dumps(listing.classes, indent=2) + "\n", encoding="utf-8")
    return card


def open_source(params: Prepare) -> Listing:
    """The listing of the source that `params` names.

    Raises:
        UserError: see `folder.listing` and `vision.listing`.
    """
    if params.source == "synthetic":
        return synthetic.listing(params)
    if params.source == "folder":
        return folder.listing(Path(params.path or ""), params.image_size, params.fit)
    from pretextbench.data import vision  # torchvision takes five seconds to import, and other sources need none of it

    return vision.listing(params)


def _card(listing: Listing, writer: Writer, params: Prepare, digest: str) -> Card:
    pairs = writer.duplicates.pairs
    return Card(
        source=params.source,
        image_size=params.image_size,
        splits=writer.splits,
        mean=writer.moments.mean(),
        std=writer.moments.std(),
        sha256=digest,
        refused=len(writer.refused),
        ignored=listing.ignored,
        duplicates=len(pairs),
        duplicates_within=writer.duplicates.within,
        notes=(*listing.notes, *_leak(pairs)),
    )


def _leak(pairs: list[tuple[str, str, str, str]]) -> list[str]:
    leaked = len({file for split_a, _, split_b, file in pairs if (split_a, split_b) == ("train", "test")})
    if not leaked:
        return []
    return [f"{leaked} test images are also in train, pixel for pixel: results on them are not earned ({DUPLICATES})."]


def _names(path: Path, names: Iterable[str]) -> None:
    # Who reads them splits lines, and Python splits them at more than \n.
    path.write_text("".join(f"{shown(name)}\n" for name in names), encoding="utf-8")


def _table(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    # File names need not be valid UTF-8: what is not is written as \xNN.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])

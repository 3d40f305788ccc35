"""Groups (patients, films, places) of which several splits have images."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from pretextbench.data.prepared import Prepared

LEAKS = (("test", "train"), ("test", "val"), ("val", "train"))  # whose images must not be in whose
SHOWN = 3


class Shared(BaseModel, frozen=True):
    """Groups that two splits have in common."""

    split: str
    other_split: str
    groups: int
    names: tuple[str, ...]  # of the first
    images: int  # of the first split that belong to them
    of: int  # images of the first split


def shared(data: Prepared, names: Path) -> Iterator[Shared]:
    """Groups of which test and val have images that another split has too; `names` is the file of their names."""
    groups = {split: data.groups(split) for split in data.splits}
    titles = json.loads(names.read_text(encoding="utf-8")) if names.is_file() else []
    for split, other in LEAKS:
        own, others = groups.get(split), groups.get(other)
        if own is None or others is None:
            continue
        common = np.intersect1d(own, others)
        if len(common):
            named = tuple(titles[i] if i < len(titles) else f"number {i}" for i in common[:SHOWN].tolist())
            images = int(np.isin(own, common).sum())
            yield Shared(split=split, other_split=other, groups=len(common), names=named, images=images, of=len(own))


def in_words(found: Shared) -> str:
    """A leak of groups, for people."""
    more = ", ..." if found.groups > len(found.names) else ""
    return (
        f"{found.groups:,} groups are in {found.split} and in {found.other_split} ({', '.join(found.names)}{more}): "
        f"{found.images:,} of {found.of:,} {found.split} images are of a group that {found.other_split} has too, which "
        "inflates the results."
    )

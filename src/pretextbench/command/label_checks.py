"""Labels that are no classes, or not one class per image: numbers, several labels, a label for every image."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from pretextbench.data.class_folders import some
from pretextbench.errors import UserError

MANY = 20  # different numbers with a fraction: more are measurements
SEPARATORS = {"|": "bars", ";": "semicolons", ",": "commas", " ": "spaces"}


def check(table: Path, labels: Sequence[str]) -> list[str]:
    """Refuse labels that classes cannot be made of; `labels` are those of the images that have one. Returns notes.

    Raises:
        UserError: they look like numbers to predict, several labels in a cell, or a name for each image.
    """
    counts = Counter(labels)
    if len(counts) < 2:
        raise UserError(f"{table} has {len(counts)} label(s) in all: two classes are needed to tell them apart.")
    _several(table, counts)
    fractions = [label for label in counts if _number(label) and not float(label).is_integer()]
    most = 2 * len(counts) > len(labels) and len(counts) > 2
    if len(fractions) > MANY or (most and all(map(_number, counts))):
        raise UserError(
            f"{table} has {len(counts):,} different labels for {len(labels):,} images, all or most of them numbers: "
            f"{some(counts)}. Numbers to predict (regression) are not supported. Make a few classes of them, such as "
            "low and high; if they are names of classes, write them with a letter."
        )
    if most:
        raise UserError(
            f"{table} has {len(counts):,} different labels for {len(labels):,} images: {some(counts)}. Classes have "
            "several images each. Is this the column of the labels? --label-column NAME chooses another."
        )
    if len(counts) > MANY and all(map(_number, counts)):
        return [f"The labels are {len(counts):,} different numbers, and are taken for classes."]
    return []


def _number(label: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", label, re.IGNORECASE) is not None


def _several(table: Path, labels: Collection[str]) -> None:
    """Raise where cells hold several labels: parts of them recur in other combinations."""
    for mark, name in SEPARATORS.items():
        parts: defaultdict[str, set[str]] = defaultdict(set)
        for label in labels:
            for part in re.sub(r"[\[\](){}'\"]", "", label).split(mark):
                parts[part.strip()].add(label)
        divided = [label for label in labels if mark in label.strip()]
        recurring = any(len(whole) > 1 for part, whole in parts.items() if part)
        often = 2 * len(divided) >= len(labels)
        alone = any(part.strip() in labels for label in divided for part in label.split(mark))
        clear = len(labels) > max(MANY, 3 * len(parts)) if mark == " " else often or alone
        if divided and recurring and clear:
            raise UserError(
                f"{table} seems to have several labels per image, with {name} between them: {some(divided, 3)}. One "
                "label per image is supported: keep the one that matters. If each is one name, replace the mark in it."
            )


def one_each(table: Path, names: Sequence[str], labels: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Notes on images that the table names more than once, always alike.

    Raises:
        UserError: it names an image twice with different labels or splits.
    """
    seen: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for i, name in enumerate(names):
        seen[name].add((labels[i], splits[i] if splits else ""))
    twice = [name for name, rows in seen.items() if len(rows) > 1]
    if twice:
        raise UserError(
            f"{table} names {len(twice):,} file(s) twice: {some(twice, 3)}. Their labels or splits differ: several "
            "labels per image are not supported; keep one row for each file."
        )
    repeated = len(names) - len(seen)
    return [f"{repeated:,} rows repeat a file with the same label."] if repeated else []

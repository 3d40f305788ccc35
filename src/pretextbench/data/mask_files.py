"""The files of masks: a folder, or a pattern of paths, and which of them belongs to which image."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pretextbench.data.class_folders import some
from pretextbench.data.source import STEM, SUFFIXES, is_system
from pretextbench.errors import UserError


def are_masks(place: Path) -> bool:
    """Whether labels are masks: a pattern with {stem}, or a folder of images."""
    if STEM in str(place):
        return True
    suffixes = Counter(name.suffix.lower() for name in place.rglob("*")) if place.is_dir() else Counter[str]()
    images = sum(suffixes[suffix] for suffix in SUFFIXES)
    return images > suffixes[".txt"] + suffixes[".xml"]  # which may be annotations, next to the photographs


def among(place: Path, root: Path, names: Sequence[str]) -> set[int]:
    """The images of a listing that are masks of others, as they lie below the folder of the images."""
    if STEM not in str(place):
        folder = Path(os.path.abspath(place))
        below = folder.is_dir() and folder != root and folder.is_relative_to(os.path.abspath(root))
        return {i for i, name in enumerate(names) if below and (root / name).absolute().is_relative_to(folder)}
    numbers = {Path(os.path.abspath(root / name)): i for i, name in enumerate(names)}
    indices = (numbers.get(Path(os.path.abspath(_filled(place, name)))) for name in names)
    return {i for i in indices if i is not None}


def _filled(pattern: Path, name: str) -> Path:
    return Path(str(pattern).replace(STEM, Path(name).stem))


def matched(place: Path, names: Sequence[str]) -> tuple[list[Path | None], str]:
    """The mask of each image, None where it has none, and a clause on how they were matched.

    Raises:
        UserError: fewer than half of the images, or of the masks, match.
    """
    if STEM in str(place):
        files = [_existing(_filled(place, name)) for name in names]
        if not any(files):
            raise UserError(
                f"prepare.labels: no image has a mask at {place}. {STEM} stands for its name without suffix."
            )
        return files, ""
    masks = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and not is_system(file.name))
    by_path = {file.relative_to(place).with_suffix("").as_posix(): file for file in masks}
    files = [by_path.get(Path(name).with_suffix("").as_posix()) for name in names]
    times = Counter(file.stem for file in masks)
    by_stem = {file.stem: file for file in masks if times[file.stem] == 1}
    best, how = files, ""
    for before, after in (("", ""), *_affixes(list(by_stem), [Path(name).stem for name in names])):
        named = [by_stem.get(f"{before}{Path(name).stem}{after}") for name in names]
        if sum(file is not None for file in named) > sum(file is not None for file in best):
            best, how = named, f", named {before}{STEM}{after}"
    if 2 * sum(file is not None for file in best) < min(len(masks), len(names)):
        raise UserError(
            f"prepare.labels: {sum(file is not None for file in best):,} of {len(names):,} images have a mask in "
            f"{place}: a mask has the name of its image ({some([Path(name).stem for name in names], 2)}), found: "
            f"{some([file.name for file in masks], 2)}. Give a pattern, such as {place}/{STEM}_mask.png."
        )
    return best, how


def _existing(file: Path) -> Path | None:
    return file if file.is_file() else None


def _affixes(masks: Sequence[str], images: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What some masks have before and after the name of an image: candidates of a rule for all."""
    tried = set()
    for stem in sorted(set(images), key=len, reverse=True)[:5]:
        for mask in masks:
            before, there, after = mask.partition(stem)
            if there and (before, after) not in tried:
                tried.add((before, after))
                yield before, after

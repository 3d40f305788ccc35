"""Which files of a folder are images, found without opening one."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pretextbench.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
MOST_VISITS = 100  # of one folder, through links: folders that all link to each other have factorially many paths
# What would break a line, command a terminal, turn the direction of text, or is no text: bytes that are not UTF-8.
UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
Identity = tuple[int, int]  # device and inode: the same for every path to a folder


@dataclass
class Walk:
    """Everything below `root`, as paths relative to it, in alphabetical order; `enter(Path())` fills it."""

    root: Path
    images: list[Path] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)  # (folder, why it cannot be listed)
    ignored: Counter[str] = field(default_factory=Counter)  # suffix, or "hidden" -> files passed over
    _visits: Counter[Identity] = field(default_factory=Counter)  # folder -> paths that led to it

    def enter(self, folder: Path) -> None:
        """Walk a folder and, through links too, what is below it; a link back to a folder above it is not followed.

        A loop, not recursion: folders can be nested deeper than Python calls.
        """
        waiting = self._within(folder, frozenset())
        while waiting:
            name, above = waiting.pop()
            if self._is_folder(name):
                waiting += self._within(name, above)

    def _within(self, folder: Path, above: frozenset[Identity]) -> list[tuple[Path, frozenset[Identity]]]:
        """What lies in a folder, last first, each with the folders above it; nothing if it is not to be entered."""
        try:
            found = os.stat(self.root / folder)
            here = (found.st_dev, found.st_ino)
            if here in above or not self._may_visit(here, folder):
                return []
            names = sorted((entry.name for entry in (self.root / folder).iterdir()), reverse=True)
        except OSError as error:
            self.refused.append((folder.as_posix(), f"the folder cannot be listed: {error.strerror}"))
            return []
        within = above | {here}
        return [(folder / name, within) for name in names]

    def _may_visit(self, here: Identity, folder: Path) -> bool:
        self._visits[here] += 1
        if self._visits[here] == MOST_VISITS + 1:  # told once
            self.refused.append((folder.as_posix(), f"links lead to this folder in more than {MOST_VISITS} ways"))
        return self._visits[here] <= MOST_VISITS

    def _is_folder(self, name: Path) -> bool:
        """Whether to enter it; what is no folder is put where it belongs."""
        suffix = name.suffix.lower()
        if name.name.startswith(".") or name.name.lower() in SYSTEM:
            self.ignored["hidden"] += 1
        elif os.path.isdir(self.root / name):  # not `Path.is_dir`, which raises where a folder cannot be entered
            return True
        elif suffix in SUFFIXES:
            self.images.append(name)
        else:
            self.ignored[shown(suffix) or "no suffix"] += 1
        return False


def explore(root: Path, said: str) -> Walk:
    """All of a folder, walked; `said` names in the message what gave the folder.

    Raises:
        UserError: the folder is missing or is a file, or it holds no images.
    """
    if not os.path.exists(root):  # not `Path.exists`, which raises where a folder above cannot be entered
        raise UserError(f"{said}: {root} does not exist. Give the folder that holds the images.")
    if not root.is_dir():
        raise UserError(f"{said}: {root} is a file. Give the folder that holds the images; unpack archives first.")
    walk = Walk(root)
    walk.enter(Path())
    if not walk.images:
        others = ", ".join(f"{n} {suffix}" for suffix, n in walk.ignored.most_common(5)) or "nothing"
        raise UserError(
            f"{said}: {root} holds no images (found: {others}). Images are files ending in "
            f"{', '.join(sorted(SUFFIXES))}, at any depth."
        )
    return walk


def shown(name: str) -> str:
    """A name from the disk as one line of text: what cannot stand in one is written as in Python, \\n or \\xff."""
    return UNSHOWN.sub(lambda found: _escaped(found[0]), name)


def _escaped(character: str) -> str:
    code = ord(character)
    byte = chr(code - 0xDC00) if 0xDC80 <= code <= 0xDCFF else character  # how Python carries a byte of a file name
    return byte.encode("unicode_escape").decode()

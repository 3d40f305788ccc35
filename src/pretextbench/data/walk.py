"""Which files of a folder are images, found without opening one."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass
class Walk:
    """Everything below `root`, as paths relative to it, in alphabetical order; `enter(Path())` fills it."""

    root: Path
    images: list[Path] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)  # (folder, why it cannot be listed)
    ignored: Counter[str] = field(default_factory=Counter)  # suffix, or "hidden" -> files passed over

    def enter(self, folder: Path, above: frozenset[Path] = frozenset()) -> None:
        """Walk a folder and, through links too, what is below it; a link back to one `above` it is not followed."""
        try:
            here = (self.root / folder).resolve()
            entries = [] if here in above else sorted((self.root / folder).iterdir())
        except OSError as error:
            self.refused.append((folder.as_posix(), f"the folder cannot be listed: {error.strerror}"))
            return
        for entry in entries:
            self._take(folder / entry.name, above | {here})

    def _take(self, name: Path, above: frozenset[Path]) -> None:
        suffix = name.suffix.lower()
        if name.name.startswith(".") or name.name.lower() in SYSTEM:
            self.ignored["hidden"] += 1
        elif (self.root / name).is_dir():
            self.enter(name, above)
        elif suffix in SUFFIXES:
            self.images.append(name)
        else:
            self.ignored[suffix or "no suffix"] += 1

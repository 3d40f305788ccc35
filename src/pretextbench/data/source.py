"""A source of images: its listing, the walk through a folder that finds its files, and the kinds of these files."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretextbench.base.names import printable
from pretextbench.data.file_kinds import advice, is_picture, unpacked
from pretextbench.data.image_labels import ImageLabels
from pretextbench.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
STEM = "{stem}"  # in `prepare.labels`: the name of an image without its suffix
NAME_FILES = (  # beside labels: names of the kinds of object, or of the values of masks
    *("labelmap.txt", "classes.txt", "labels.txt", "names.txt", "obj.names", "data.yaml", "dataset.yaml"),
    *("classes.json", "labels.json", "names.json"),
)
# Of desktops, cameras, NAS, version control and Python; hidden names, which begin with a dot, are passed over as well.
SYSTEM = re.compile(
    r"__macosx|__pycache__|thumbs\.db|ehthumbs.*\.db|desktop\.ini|@.*eadir.*|[@#]recycle|#snapshot|@tmp|@sharebin|"
    r"@recently-snapshot|\$recycle\.bin|lost\+found|system volume information|found\.\d{3}|\$extend|"
    r"network trash folder|temporary items|.*\.lrdata|node_modules|recycler|recycled|venv|site-packages|"
    r"~snapshot|@gmt-[\d.-]+|_gsdata_"
)
TOOLS = re.compile(
    r"\.(git|hg|svn|dvc|idea|vscode|cache|config|venv|tox|trash.*|ipynb_checkpoints|.*_cache|apdisk|thumbnails|"
    r"spotlight.*|fseventsd|temporaryitems|documentrevisions.*|appledouble|@__thumb)"
)


def is_system(name: str) -> bool:
    """Whether a file or folder of this name is left by a desktop, a NAS or a tool, or is hidden."""
    return name.startswith(".") or SYSTEM.fullmatch(name.casefold()) is not None


def may_hold_images(name: str) -> bool:
    """Whether a hidden folder could be a user's own, such as a class `.hidden`: a tool is not known for its name."""
    return name.startswith(".") and TOOLS.fullmatch(name.casefold()) is None


Image = npt.NDArray[np.uint8]  # (side, side, 3), RGB
SPLITS = ("train", "val", "test")  # in the order of the prepared array


@dataclass(frozen=True)
class Listing:
    """The images of a source: parallel sequences with one entry per image, and how to read some of them."""

    names: Sequence[str]  # for people: a path inside the folder, or a number in an archive
    splits: Sequence[str]  # "train", "val" or "test", as the source has them; all "train" where it has none
    labels: npt.NDArray[np.int64]  # (n,), -1 where an image has none
    classes: list[str]
    read: Callable[
        [Sequence[int]], Iterator[Image | str]
    ]  # numbers in, and in their order an image or why it is refused
    refused: Sequence[tuple[str, str]] = ()  # (file, reason) of what cannot be listed
    ignored: int = 0  # files that are not used: hidden ones, those that are no images, and `unused`
    unused: int = 0  # of those, images: outside the splits, without the labels that a test needs, or of other formats
    notes: tuple[str, ...] = ()  # for the user: how the source was understood
    remarks: Callable[[], Iterable[str]] = tuple  # for the user: what the pixels that were read tell
    rescale: Callable[[], tuple[int, int] | None] = lambda: None
    # the range of deep grey images, where all images must be read again: from now on by this range
    warnings: tuple[str, ...] = ()  # for the user: images that are not used, and names that may have another meaning
    given: ImageLabels | None = None  # the labels where they do not come from the names of folders; then of any task
    groups: npt.NDArray[np.int64] | None = None  # (n,) numbers of the groups that stay in one split
    group_names: Sequence[str] = ()  # of the first of them

    def without(self, left_out: Collection[int]) -> "Listing":
        """The listing without some images."""
        kept = [i for i in range(len(self.names)) if i not in left_out]
        return replace(
            self,
            names=[self.names[i] for i in kept],
            splits=[self.splits[i] for i in kept],
            labels=self.labels[kept],
            read=lambda numbers: self.read([kept[number] for number in numbers]),
            ignored=self.ignored + len(left_out),
        )

    @cached_property
    def keys(self) -> npt.NDArray[np.int64]:
        """(n,) equal numbers for equal labels, -1 where there is none."""
        return self.labels if self.given is None else self.given.keys()

    @cached_property
    def strata(self) -> npt.NDArray[np.int64]:
        """(n,) the kind of each image, of which every split gets its share; -1 where it has no label."""
        return self.labels if self.given is None else self.given.strata()

    def label(self, image: int) -> str:
        """The label of an image, for people."""
        return self.classes[self.labels[image]] if self.given is None else self.given.text(image)


MAX_VISITS = 100  # of one folder, through links: folders that all link to each other have factorially many paths
Identity = tuple[int, int]  # device and inode: the same for every path to a folder


@dataclass
class Walk:
    """Everything below `root`, as paths relative to it, in alphabetical order; `enter(Path())` fills it."""

    root: Path
    images: list[Path] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)  # (folder, why it cannot be listed)
    ignored: Counter[str] = field(default_factory=Counter)  # suffix, or "hidden" -> files passed over
    folders: list[Path] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)  # images in formats that are not read; counted in `ignored` too
    hidden: Counter[Path] = field(default_factory=Counter)  # hidden folder of no known tool -> images directly in it
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
        """Entries of a folder, last first, each with the folders above it; none if the folder is not entered."""
        try:
            status = os.stat(self.root / folder)
            identity = (status.st_dev, status.st_ino)
            if identity in above or not self._may_visit(identity, folder):
                return []
            names = sorted((entry.name for entry in (self.root / folder).iterdir()), reverse=True)
        except OSError as error:
            self.refused.append((folder.as_posix(), f"the folder cannot be listed: {error.strerror}"))
            return []
        within = above | {identity}
        return [(folder / name, within) for name in names]

    def _may_visit(self, identity: Identity, folder: Path) -> bool:
        self._visits[identity] += 1
        if self._visits[identity] == MAX_VISITS + 1:  # reported once
            self.refused.append((folder.as_posix(), f"links lead to this folder in more than {MAX_VISITS} ways"))
        return self._visits[identity] <= MAX_VISITS

    def _is_folder(self, name: Path) -> bool:
        """True for a folder to enter; a file is added to the images or counted as ignored."""
        suffix = name.suffix.lower()
        if is_system(name.name):
            self.ignored["hidden"] += 1
            self._look_into(name) if may_hold_images(name.name) else None
        elif os.path.isdir(self.root / name):  # not `Path.is_dir`, which raises where a folder cannot be entered
            self.folders.append(name)
            return True
        elif suffix in SUFFIXES:
            self.images.append(name)
        else:
            self.ignored[printable(suffix) or "no suffix"] += 1
            self.foreign += [name] if is_picture(suffix) else []
        return False

    def _look_into(self, name: Path) -> None:
        """Count the images directly in a hidden folder, which is not entered."""
        with contextlib.suppress(OSError):
            files = sum(Path(entry).suffix.lower() in SUFFIXES for entry in os.listdir(self.root / name))
            self.hidden += Counter({name: files})


def explore(root: Path, setting: str) -> Walk:
    """Walk a folder to its end; `setting` names the parameter or argument that gave it, for the messages.

    Raises:
        UserError: the folder is missing or is a file, or it holds no images.
    """
    if not os.path.exists(root):  # not `Path.exists`, which raises where a folder above cannot be entered
        raise UserError(f"{setting}: {root} does not exist. Give the folder that holds the images.")
    if not root.is_dir():
        raise UserError(f"{setting}: {root} is a file. {unpacked(root)}")
    walk = Walk(root)
    walk.enter(Path())
    if not walk.images:
        ignored = ", ".join(f"{n} {suffix}" for suffix, n in walk.ignored.most_common(5)) or "nothing"
        raise UserError(
            f"{setting}: {root} holds no images (found: {ignored}). Images are files ending in "
            f"{', '.join(sorted(SUFFIXES))}, at any depth. {' '.join(advice(walk.ignored))}".rstrip()
        )
    return walk

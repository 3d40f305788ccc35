"""Inputs that real folders, tables and files are like: what each means, and what must become of it.

`python -m tests.data.cases` builds all of them in a temporary folder and prints a Markdown table of what happens now.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from pretextbench.command import labels
from pretextbench.data import folder
from pretextbench.errors import UserError

COUNT = re.compile(r"(\d+)(\.\w+)?")  # the last part of a specification: so many files, with this suffix


@dataclass(frozen=True)
class Case:
    """One input: `build` writes it; `check` says what becomes of it, and raises AssertionError if that is wrong."""

    name: str
    means: str  # for people
    build: Callable[[Path], None]
    check: Callable[[Path], str]


@dataclass(frozen=True)
class Right:
    """What must become of a folder or a table: counts, and words of the messages. Counts of None: it is refused."""

    images: int | None = None
    splits: str = ""  # "train 20 test 5"
    classes: str = ""  # names, separated by bars
    words: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()  # words that must not be among the messages


def refused(*words: str) -> Right:
    """An error with these words."""
    return Right(words=words)


def tree(root: Path, *specifications: str) -> None:
    """Empty files: `train/a|b/3` is three .png in either folder, `a/2.heic` two of another kind, `a/x.txt` one file."""
    for specification in specifications:
        *folders, last = [part.split("|") for part in specification.split("/")]
        for parts in product(*folders, last):
            place = root.joinpath(*parts[:-1])
            place.mkdir(parents=True, exist_ok=True)
            count = COUNT.fullmatch(parts[-1])
            names = [parts[-1]] if not count else [_name(parts, i) + (count[2] or ".png") for i in range(int(count[1]))]
            for name in names:
                (place / name).touch()


def _name(parts: tuple[str, ...], number: int) -> str:
    return f"{'-'.join(parts[:-1])[-20:]}{number}"


def understood(root: Path, layout: str = "auto", more: tuple[str, ...] = ()) -> str:
    """What a folder is taken for, in words: counts, splits, classes and every message."""
    listing = folder.listing(root, 8, "crop", layout)
    splits = Counter(listing.splits)
    sizes = " ".join(f"{split} {splits[split]}" for split in ("train", "val", "test") if splits[split])
    loose = int(np.sum(listing.labels < 0))
    classes = "|".join(listing.classes)
    head = f"{len(listing.names)} images; {sizes}; classes {classes}; {loose} without a label; {listing.unused} unused."
    return " ".join([head, *more, *listing.notes, *listing.warnings])


def agree(text: str, right: Right) -> str:
    """The text, which must say what is right.

    Raises:
        AssertionError: it does not.
    """
    if right.images is None:
        assert text.startswith("refused: "), text
    else:
        assert text.startswith(f"{right.images} images; {right.splits}; classes {right.classes};"), text
    for word in right.words:
        assert word in text, f"{word!r} is not in: {text}"
    for word in right.absent:
        assert word not in text, f"{word!r} is in: {text}"
    assert len(text) < 2000, "more than a screen"
    return text


def layout(name: str, means: str, files: str, right: Right, option: str = "auto") -> Case:
    """A folder of files, as `tree` writes them."""

    def check(root: Path) -> str:
        return agree(attempt(lambda: understood(root, option)), right)

    return Case(name, means, lambda root: tree(root, *files.split(" ")), check)


def table(
    name: str, means: str, files: str, text: str | bytes, right: Right, option: str = "auto", column: str | None = None
) -> Case:
    """A folder of files, and a table of labels beside it."""

    def build(root: Path) -> None:
        tree(root / "images", *files.split())
        (root / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)

    def link(root: Path) -> str:
        made = labels.link(root / "images", root / "labels.csv", root / "links", option, column)
        return understood(root / "links", made.layout, tuple(made.notes))

    return Case(name, means, build, lambda root: agree(attempt(lambda: link(root)), right))


def attempt(action: Callable[[], str]) -> str:
    """What an action says, or how it is refused."""
    try:
        return action()
    except UserError as error:
        return f"refused: {error}"


def all_cases() -> list[Case]:
    """Every case of every module of cases."""
    from tests.data import layout_cases, pixel_cases, split_cases, table_cases, table_name_cases

    return [*layout_cases.CASES, *split_cases.CASES, *pixel_cases.CASES, *table_cases.CASES, *table_name_cases.CASES]


def markdown(cases: list[Case]) -> Iterator[str]:
    """The lines of a table: the input, its meaning, what happens now, and whether that is right."""
    yield "| input | what people mean | now | right |"
    yield "|---|---|---|---|"
    for case in cases:
        with tempfile.TemporaryDirectory() as place:
            case.build(Path(place))
            try:
                now, verdict = case.check(Path(place)), "yes"
            except Exception as error:
                now, verdict = f"{type(error).__name__}: {error}", "NO"
            now = " ".join(now.replace(place, "DIR").replace("|", "\\|").split())
        yield f"| {case.name} | {case.means} | {now[:300]}{'...' if len(now) > 300 else ''} | {verdict} |"


if __name__ == "__main__":
    print("\n".join(markdown(all_cases())))

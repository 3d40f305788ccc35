"""Names of folders, and values in tables, that stand for a split; and one Unicode form in which names are compared."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection

NAMES = {
    "train": ("train", "training", "trn", "trainset", "trainval"),
    "val": ("val", "valid", "validation", "valset", "dev", "devset"),
    "test": ("test", "testing", "tst", "testset"),
    "held out": ("eval", "evaluation", "evalset", "holdout", "heldout"),  # test, or val where there is a test split
    "unlabelled": ("unlabelled", "unlabeled"),
}
MEANING = {name: split for split, names in NAMES.items() for name in names}
FILLERS = frozenset({"set", "images", "image", "imgs", "img", "data", "dataset", "split", "folder", "pictures"})
FILLERS |= {"photos", "jpg", "jpeg", "png"}
Reading = tuple[str, tuple[str, ...]]  # split, and the other words of the name


class Conflict(Exception):
    """Two names that could stand for one split."""


def nfc(name: str) -> str:
    """A name in the one form in which names are compared; macOS writes others than Linux and Windows."""
    return unicodedata.normalize("NFC", name)


def looks(name: str) -> str:
    """A name without what people easily overlook: case, spaces, dashes, width, invisible marks, zeros of a number."""
    plain = visible(name).casefold().strip()
    number = re.fullmatch(r"\+?(-?)0*([0-9]+?)(\.0*|(\.[0-9]*[1-9])0*)?", plain)  # digits: a Decimal rounds long ones
    if number:
        return number[1] + number[2] + (number[4] or "")
    return re.sub(r"[\s_-]+", " ", plain).strip() or plain


def visible(name: str) -> str:
    """A name as it looks: without invisible marks, in letters of one width, with plain spaces."""
    return unicodedata.normalize("NFKC", "".join(c for c in name if unicodedata.category(c) != "Cf"))


def tokens(name: str) -> list[str]:
    """The words of a name: `val2017` has val and 2017, `trainA` has train and a."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", nfc(name))
    return [token.casefold() for token in re.findall(r"[^\W\d_]+|\d+", spaced)]


def reading(name: str) -> Reading | None:
    """The split in a name and the rest of it; None where there is no split in it, or more than one."""
    parts = tokens(name)
    splits = [MEANING[token] for token in parts if token in MEANING]
    if len(splits) != 1:
        return None
    return splits[0], tuple(w for w in parts if w not in MEANING and w not in FILLERS and not w.isdigit())


def splits_by_name(names: Collection[str]) -> dict[str, str]:
    """Name -> train, val, test or unlabelled, for those of the names that stand for a split.

    Other words in a name (`stage1_train`) must be the same in the names of at least two splits, one of them train, and
    no other such words may be there (`trainA`, `trainB`).

    Raises:
        Conflict: `eval` or `holdout` occurs together with both `val` and `test`.
    """
    groups: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        if read := reading(name):
            groups[read[1]][name] = read[0]
    plain = groups.pop((), {})
    marked = [splits for splits in groups.values() if "train" in splits.values() and len(set(splits.values())) > 1]
    return _resolved(marked[0] if len(marked) == 1 and "train" not in plain.values() else plain)


def _resolved(splits: dict[str, str]) -> dict[str, str]:
    """The mapping with `held out` decided: test, or val where there is a test split."""
    taken = set(splits.values())
    if "held out" in taken and {"val", "test"} <= taken:
        raise Conflict(", ".join(sorted(splits)))
    meaning = "val" if "test" in taken else "test"
    return {name: meaning if split == "held out" else split for name, split in splits.items()}

"""Whether the classes of val/ and test/ are those of train/: what is not is refused, or not used, and always named."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from pretextbench.data.class_folders import Row, first_folders, is_container, some
from pretextbench.errors import UserError, nearest

REMEDY = (
    "Rename these folders as in train/, add their classes to train/, or take them out. Your folders can stay as they "
    "are: a folder of links is enough."
)


def unlabelled(rows: Sequence[Row], classes: Collection[str]) -> bool:
    """Whether a split has no class folder at all: its images lie flat, or in one folder that is no class."""
    folders = set(first_folders(rows))
    return not folders or (folders.isdisjoint(classes) and len(folders) == 1 and is_container(*folders))


def check(splits: Mapping[str, Sequence[Row]], shown: Mapping[str, str], classes: Sequence[str], where: str) -> None:
    """Compare the class folders of val and test with those of train.

    Raises:
        UserError: a split has a class folder that train lacks, for example in another case; or train has none.
    """
    strange: Counter[tuple[str, str]] = Counter()
    for split, rows in splits.items():
        if split in ("val", "test") and not unlabelled(rows, classes):
            strange += Counter({(split, name): n for name, n in first_folders(rows).items() if name not in classes})
    if not strange:
        return
    if not classes:
        names = some(f"{shown[split]}{name}/" for split, name in strange)
        raise UserError(
            f"prepare.path: {where} has class folders in {names} but none in {shown['train']}: there is nothing to "
            "learn the classes from. Make class folders in train/ too, or give `prepare.layout: none`."
        )
    listed = some((f"{shown[split]}{name}/ ({n:,} images){_alike(name, classes)}" for (split, name), n in
                   strange.items()), 8)  # fmt: skip
    raise UserError(
        f"prepare.path: {where} has classes that {shown['train']} does not have, which no method could learn: "
        f"{listed}. {REMEDY}"
    )


def _alike(name: str, classes: Sequence[str]) -> str:
    """A hint at the class that is meant: the same but for case and spaces, or nearly the same."""
    for known in classes:
        if known.casefold().split() == name.casefold().split():
            return f", which is {known}/ in train but for case or spaces"
    hint = nearest(name, classes).strip()
    return f" - {hint[:1].lower()}{hint[1:]}" if hint else ""


def absent(splits: Mapping[str, Sequence[Row]], shown: Mapping[str, str], classes: Sequence[str]) -> list[str]:
    """Sentences on classes of train that a split with labels does not have: they are not measured there."""
    notes = []
    for split in ("val", "test"):
        rows = splits.get(split, ())
        missing = sorted(set(classes) - set(first_folders(rows)))
        if rows and missing and not unlabelled(rows, classes):
            notes.append(
                f"{shown[split]} has no image of {len(missing)} of the {len(classes)} classes: {some(missing)}."
            )
    return notes

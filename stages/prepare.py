"""Stage `prepare`: a source of images -> data/prepared/images and, apart from them, data/prepared/labels."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretextbench import registry
from pretextbench.base.names import NAMED, printable
from pretextbench.data.prepare import NOTES, prepare
from pretextbench.data.prepared import CONFLICTS, UNLABELLED, Prepared
from pretextbench.errors import UserError
from pretextbench.project import demands, layout
from pretextbench.project.settings import parameters


def main() -> None:
    """Read params.yaml and write the prepared arrays."""
    params = parameters()
    card = prepare(params.prepare, layout.IMAGES, layout.LABELS, near_duplicates)
    print(card.summary())
    for line in (*label_notes(layout.LABELS), *label_conflicts(layout.LABELS)):
        print(f"note: {line}")
    data = Prepared(layout.IMAGES, layout.LABELS)
    if lack := lacking_labels(data, params.prepare.labels is not None):
        no_control_wants_labels(params.compare.controls, lack)
    entries = json.loads(layout.METHODS.read_text()) if layout.METHODS.is_file() else {}
    demands.refuse(demands.of_data(params, entries, data))
    for note in demands.unpayable(params, data):
        print(f"note: {note}")


def near_duplicates(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The group of each image, for `prepare.keep_together`."""
    from pretextbench.audit import together  # imports torch, which takes seconds, and few ask for it

    return together.near_duplicates(images)


def lacking_labels(data: Prepared, given: bool = False) -> str:
    """Why a control cannot learn from the labels of these images, as a clause; empty where it can.

    `given`: whether `prepare.labels` names labels.
    """
    if not data.classes:
        return "The labels of these images are no classes" if given else "These images have no labels"
    learned = sorted({data.classes[label] for label in data.labels("train") if label != UNLABELLED})
    if not learned:
        return "No training image has a label, only images of other splits have one"
    return "" if len(learned) > 1 else f"All labelled training images are of one class, {printable(learned[0])}"


def label_notes(labels: Path) -> list[str]:
    """How the labels were understood, where they do not come from the names of folders."""
    notes = labels / NOTES
    return notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []


def label_conflicts(labels: Path) -> Iterator[str]:
    """A line for people where equal images have different labels."""
    if not (labels / CONFLICTS).exists():
        return
    with (labels / CONFLICTS).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    shown = ", ".join(f"{printable(a)} and {printable(b)}" for a, _, b, _ in rows[:NAMED])
    more = ", ..." if len(rows) > NAMED else ""
    yield f"{len(rows):,} pairs of equal images have different labels ({labels / CONFLICTS}): {shown}{more}."


def no_control_wants_labels(controls: Sequence[str], lack: str) -> None:
    """Say now what the control's own stage would say after every method has been pretrained.

    Raises:
        UserError: a control of the comparison learns from labels, and the training images `lack` them.
    """
    wanting = [name for name in controls if registry.load(name).uses_labels]
    if wanting:
        remaining = ", ".join(name for name in controls if name not in wanting)
        raise UserError(
            f"{lack}, and compare.controls lists {', '.join(wanting)}, which learns from labels. Write `controls: "
            f"[{remaining}]` in params.yaml and run `dvc repro` again, or give the training images labels: one folder "
            "per class, or a table. Without any labels the methods are compared by label-free measures."
        )

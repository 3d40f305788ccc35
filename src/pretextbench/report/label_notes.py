"""Labels in words: what they are, which numbers of the columns for few labels took more, notes below the tables."""

from pretextbench.compare.comparison import FROM_SCRATCH, Comparison
from pretextbench.compare.protocols import FEW, TUNED, Protocol
from pretextbench.compare.rows import Row

MARK = "\u2020"  # of a number that took more labels than its column grants


def took_more(protocol: Protocol, row: Row) -> bool:
    """Whether the encoder of a row was trained with all labels, and the column grants fewer."""
    return row.used_labels and protocol.kind in (FEW, TUNED) and not protocol.all_labels


def mark(protocol: Protocol, row: Row) -> str:
    """What is written behind a number."""
    return f" {MARK}" if took_more(protocol, row) else ""


def fixed_notes(comparison: Comparison) -> list[str]:
    """A sentence per label budget that is too small to choose layer and penalty by."""
    return [f"{protocol.heading}: {taken}." for protocol, taken in comparison.fixed.items()]


def label_notes(comparison: Comparison) -> list[str]:
    """A sentence or two each, for below the tables."""
    notes = [*comparison.task.get("notes", []), *fixed_notes(comparison)]
    marked = [row.name for row in comparison.rows if any(took_more(p, row) for p in comparison.verdicts)]
    if marked:
        notes.append(
            f"{MARK} The encoder of {', '.join(marked)} was trained with all labels, so that these numbers took more "
            "labels than their column grants. They are no alternative to pretraining."
        )
    if comparison.scratch:
        notes.append(
            f"`{FROM_SCRATCH}`: the same network, not pretrained, all of it trained on the few labels of the column."
        )
    elif marked:
        notes.append(
            "The alternative, the same network trained from scratch on these few labels, was not run: "
            "`evaluate.scratch` names the budgets, and the row `random` is needed."
        )
    return notes


def kinds(comparison: Comparison) -> str:
    """What the labels are: 10 classes, 3 labels, the number age, masks of 2 values."""
    names = comparison.task.get("names", [])
    several = f"{len(names)} label{'s' if len(names) != 1 else ''}"
    words = {
        "multi-label": several,
        "number": f"the number {''.join(names[:1])}",
        "mask": f"masks of {len(names)} values",
    }
    return words.get(str(comparison.task.get("name")), f"{comparison.classes:,} classes")

"""The words below the tables: what was measured and how, what the labels are, which numbers took more of them."""

from pretextbench.ranking.comparison import FROM_SCRATCH, Comparison
from pretextbench.ranking.protocols import FEW, TUNED, Protocol
from pretextbench.ranking.rows import Row

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


def caption(comparison: Comparison) -> list[str]:
    """A description of the table: protocol, sizes, seeds, the meaning of the letters, and the limits of one seed."""
    if not comparison.verdicts:
        reason = comparison.reason or "no row has predictions"
        return [
            f"**No accuracies: {reason}.** Label-free measures of the last layer on {comparison.images:,} validation "
            "images. They detect collapsed encoders; they do not show which encoder is useful."
        ]
    trained = [row for row in comparison.rows if row.kind != "reference"]
    seeds, many = sorted({len(row.seeds) for row in trained or comparison.rows}), not comparison.one_seed
    counted = " to ".join(dict.fromkeys((str(seeds[0]), str(seeds[-1]))))
    level = round(1 - comparison.params.confidence, 6)
    lines = [
        f"{comparison.measure.title} on {comparison.images:,} test images ({kinds(comparison)}), of a linear probe on "
        "frozen features; the encoder's layer and the probe's penalty were chosen on validation. "
        f"Pretraining seeds per row: {counted}. Intervals: bootstrap over {_drawn(comparison)}"
        + (" and seeds." if many else ".")
        + f" {ties(comparison)} (paired tests, Holm, level {level:g})."
    ]
    if not many:
        lines.insert(
            0,
            "**One seed per row: this ranks these encoders, not the methods.** Intervals and letters leave out how "
            "much a method varies from one pretraining to the next.",
        )
    if comparison.unequal:
        lines.append("**The rows have seen different numbers of images**: their order mixes method and budget.")
    if comparison.work:
        lines.append(
            f"Budget: equal work. Every training was given {comparison.work:.3g} multiply-adds of forward passes, so "
            "that the numbers of images seen differ."
        )
    return [line for pair in zip(lines, [""] * len(lines), strict=True) for line in pair][:-1]


def ties(comparison: Comparison) -> str:
    """The meaning of the letters in the column "tie"."""
    if comparison.params.pairs == "all":
        return "Rows that share a letter cannot be distinguished"
    if comparison.leader is None:
        return "No method was picked, so that no row has a letter"
    picked = comparison.subject(comparison.leader.name)
    kind = "encoders of methods" if comparison.one_seed else "methods"
    return f"`a`: {picked}, which validation picked, and the {kind} that the test cannot distinguish from it"


def _drawn(comparison: Comparison) -> str:
    if comparison.groups is None:
        return "test images"
    return f"the {comparison.groups:,} groups of the test images, which are drawn whole"

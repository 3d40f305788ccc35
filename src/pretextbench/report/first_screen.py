"""The first screen of the report: what was compared, the leaderboard, and how to read it."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from matplotlib.ticker import MaxNLocator

from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.protocols import KNN, LINEAR
from pretextbench.ranking.runs import Run
from pretextbench.report import sections
from pretextbench.report.label_notes import kinds, ties
from pretextbench.report.svg import STEPS

# Terms of the tables, for people who do not work with encoders every day: shown on hover and in "How to read this".
GLOSSARY = {
    "encoder": "The network that turns an image into features, a list of numbers. A pretext method trains it.",
    "linear probe": "A linear model that is fitted to the frozen features of labelled images. Its score on test images "
    "says how much of the labels the features contain.",
    "k-NN": "The nearest training images decide the answer for a test image. Nothing is fitted.",
    "layer": "The part of the encoder whose output is taken as features. Each row has the layer that is best on "
    "validation images.",
    "interval": "The range in which the score of the row would lie with other test images (and other seeds, where "
    "there are several).",
    "control": "A row that is no pretext method: random is the encoder before training, pixels is a small copy of the "
    "image itself, supervised is the same encoder trained with all labels.",
    "validation": "Images that choose the layer, the penalty and the method. Test images choose nothing.",
    "Holm": "Holm's correction makes p values larger where several comparisons are made, so that luck is not taken "
    "for a difference.",
    "seed": "The number that draws the start weights and the order of the images. Other seeds give other encoders.",
    "multiply-adds": "The work of the training, independent of the machine: multiplications that are followed by an "
    "addition, in thousands of millions (G).",
}


def glossary(comparison: Comparison) -> Mapping[str, str]:
    """Term -> meaning, with the letters of this comparison."""
    return GLOSSARY | {"tie": ties(comparison).replace("`", "") + "."}


def facts(comparison: Comparison, runs: Sequence[Run], images: str, day: date | None) -> list[str]:
    """The frame of the comparison in a few words each: images, number, labels, date, seeds, budget."""
    data = runs[0].metrics["data"]
    total = sum(data.get(split, 0) for split in ("train", "val", "test"))
    judged = f"{comparison.images:,} {'test' if comparison.verdicts else 'validation'} images"
    seeds = sorted({len(row.seeds) for row in comparison.rows})
    counted = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return [
        *([images] if images else []),
        f"{total:,} images, {judged}",
        kinds(comparison) if comparison.classes or comparison.task else "no classes",
        *([f"{day.day} {day:%B %Y}"] if day else []),
        f"{counted} seed{'' if counted == '1' else 's'} per row",
        _budget(comparison),
    ]


def _budget(comparison: Comparison) -> str:
    most = max(row.images_seen for row in comparison.rows)
    if comparison.work:
        return f"{comparison.work:.3g} multiply-adds in each pretraining, up to {most:,} images seen"
    return f"{'up to ' if comparison.unequal else ''}{most:,} images seen in pretraining"


def board(comparison: Comparison) -> dict[str, Any]:
    """The columns of the leaderboard and the places of its bars."""
    verdict = comparison.verdicts[LINEAR]
    intervals = [interval for row in comparison.rows if (interval := verdict.interval(row.name))]
    low, high = 100 * min(start for start, _ in intervals), 100 * max(end for _, end in intervals)
    reach = max(high - low, 2.0)
    ends = max(low - 0.05 * reach, min(low, 0)), min(high + 0.05 * reach, 100)
    ticks = [
        float(tick)
        for tick in MaxNLocator(5, integer=True, steps=STEPS).tick_values(*ends)
        if ends[0] <= tick <= ends[1]
    ]
    by_labels = sorted(comparison.budgets, key=lambda budget: comparison.budgets[budget] or 0)
    ends_of_it = dict.fromkeys([*by_labels[:1], *by_labels[-1:]])  # the first screen has room for two
    budgets = {budget: sections.column(comparison, budget) for budget in ends_of_it}
    return {
        "forest": sections.forest(comparison, ends, ticks),
        "linear": sections.column(comparison, LINEAR),
        "knn": sections.column(comparison, KNN),
        "budgets": budgets,
        "scratch": sections.scratch(comparison),
        "winners": sections.winners(comparison),
        "unequal": len({row.images_seen for row in comparison.rows if row.images_seen}) > 1,  # else said once, above
        "empty": {row.name: row.notes for row in comparison.rows if row.notes},
    }

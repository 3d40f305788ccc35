"""The recommendation: which method to use, by what margin, with what confidence, at what cost, and how to be surer."""

from collections.abc import Mapping
from typing import Any

from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.protocols import KNN, LINEAR, Protocol
from pretextbench.ranking.rows import Row
from pretextbench.ranking.runs import SUPERVISED
from pretextbench.ranking.verdict import Verdict
from pretextbench.report import budget_orders, sentences, tuning
from pretextbench.report.headline import OPEN, headline
from pretextbench.report.learning import settled
from pretextbench.report.planning import surer
from pretextbench.report.sentences import against, gap
from pretextbench.report.tables import percent


def recommendation_md(comparison: Comparison, audit: Mapping[str, Any] | None = None) -> str:
    """Markdown, a page at most. Percentages of test images; differences in percentage points.

    `audit`: the content of audit.json, with its sentence under the key `said`.
    """
    title = "# Which pretext method should you use on these images?"
    verdict = comparison.verdicts.get(LINEAR)
    methods = comparison.contenders
    if verdict is None:
        return "\n\n".join([title, *_without_labels(comparison)]) + "\n"
    if not methods:
        return f"{title}\n\nNo pretext method has predictions, so there is nothing to recommend. See the leaderboard.\n"
    sections = [
        ("", headline(comparison)),
        ("Against supervised training", _supervised(comparison, verdict, methods)),
        ("Against the start weights as they are", sentences.untouched(comparison, verdict, methods)),
        ("Start weights against training from scratch", sentences.scratch(comparison, verdict)),
        ("Encoders of others, as they are", sentences.references(comparison, verdict)),
        ("Rows to look at twice", _suspicious(comparison)),
        ("Equal chances", [tuning.sentence(comparison)]),
        ("With few labels", sentences.few(comparison, methods)),
        ("Beyond frozen features of clean images", sentences.other_protocols(comparison, methods)),
        ("Cost", _cost(comparison, methods)),
        ("Is the order settled?", [*settled(comparison), *budget_orders.sentences(comparison)]),
        ("Without labels", sentences.label_free(comparison)),
        ("What would make the answer surer", surer(comparison, verdict, methods)),
        ("Can the test set be trusted?", [audit["said"]] if audit else []),
        ("Limits of this answer", _limits(comparison)),
    ]
    parts = [title]
    for heading, lines in sections:
        if lines:
            parts += [f"## {heading}"] if heading else []
            parts += lines
    return "\n\n".join(parts) + "\n"


def _supervised(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    if SUPERVISED not in verdict.names:
        return [
            "The supervised control was not run, so this report cannot say whether pretraining is worth the effort."
        ]
    best, accuracy = methods[0], percent(verdict.accuracy(SUPERVISED))
    kind = "encoder without labels" if comparison.one_seed else "method"
    text = f"The same encoder trained with all training labels, on the same budget, gets {accuracy} %."
    if verdict.p(best.name, SUPERVISED) >= 1 - comparison.params.confidence:
        text += f" The best {kind} cannot be distinguished from it."
    elif gap(verdict, best.name, SUPERVISED) > 0:
        text += f" The best {kind} beats it: pretraining pays even with all labels."
    else:
        text += f" No {kind} beats it: pretrain where most of your images have no label, or to start from."
    return [f"{text} {against(comparison, verdict, best.name, SUPERVISED)}"]


def _suspicious(comparison: Comparison) -> list[str]:
    """Rows whose accuracy could be that of guessing, and rows that did not move from their start weights."""
    names = {Protocol(LINEAR): "linear probe", Protocol(KNN): "k-NN"}
    judged = [*names, *comparison.budgets]
    lines = []
    for row in comparison.rows:
        low = [protocol for protocol in judged if _guesses(comparison, protocol, row.name)]
        cells = [f"{names.get(p, p.heading)} {percent(comparison.cell(p, row.name))} %" for p in low]
        if cells:
            floor = f"{comparison.measure.chance} ({percent(comparison.chance)} %)"
            lines.append(f"- {row.title}: {', '.join(cells)}, not shown to be above {floor}.")
    lines += [
        f"- {row.name}: its features equal those of the start weights, so training did not move it. Raise its rate, "
        "or look at `pretrain.freeze` and `pretrain.encoder_rate`."
        for row in comparison.unmoved
    ]
    return ["\n".join(lines)] if lines else []


def _guesses(comparison: Comparison, protocol: Protocol, name: str) -> bool:
    interval = comparison.verdicts[protocol].interval(name) if protocol in comparison.verdicts else None
    return interval is not None and comparison.chance is not None and interval[0] <= comparison.chance


def _cost(comparison: Comparison, methods: list[Row]) -> list[str]:
    lines = [
        f"- {row.name}: {row.seconds:,.0f} s for {row.images_seen:,} images ({row.images_per_second:,.0f} images/s), "
        f"{row.peak_memory_mib:,.0f} MiB at the peak, {row.parameters:,} parameters in the encoder."
        for row in methods
    ]
    cheap = [row.name for row in methods[1:] if row.name in comparison.front]
    faster = [row.name for row in methods[1:] if row.seconds < methods[0].seconds]
    kind, names = ("encoder of a method", "encoders of ") if comparison.one_seed else ("method", "")
    best = comparison.subject(methods[0].name)
    front = f"No other {kind} is better than {best} in {comparison.measure.name} or in time."
    if faster:
        front = f"Faster than {best}, but less accurate than a row that is faster still: {names}{', '.join(faster)}."
    if cheap:
        front = f"Faster than {best}, and the most accurate for their time: {names}{', '.join(cheap)}."
    return ["\n".join(lines), front]


def _limits(comparison: Comparison) -> list[str]:
    lines = []
    if comparison.one_seed:
        lines.append(
            "- One seed per row: the p values are about these encoders on other test images. Another pretraining of "
            "the same method may give a different result; with three seeds or more the intervals include that."
        )
    if comparison.unequal:
        lines.append("- The rows have seen different numbers of images: their order mixes method and budget.")
    lines.append("- The order may change with a longer pretraining, a larger encoder, or other images.")
    return ["\n".join(lines)]


def _without_labels(comparison: Comparison) -> list[str]:
    first = comparison.rows[0]
    return [
        f"**{OPEN}: no recommendation, because {comparison.reason or 'no row has predictions'}.** Without labels one "
        "can see that an encoder has collapsed, but not whether it is useful.",
        f"The features of {first.name} spread over the most dimensions (RankMe {first.labelfree['rankme']:.1f}). Among "
        "encoders trained by one method, a higher RankMe tends to mean a higher accuracy. Across methods it is a weak "
        "hint, and an untrained encoder can score high.",
        "There are no learning curves either, which are k-NN accuracies on validation.",
        tuning.sentence(comparison),
        "For a first answer a few hundred labelled images are enough: sort them into a folder per class and run again.",
    ]

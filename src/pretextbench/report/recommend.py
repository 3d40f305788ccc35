"""The recommendation: which method to use, by what margin, with what confidence, at what cost, and how to be surer."""

from collections.abc import Mapping
from typing import Any

from pretextbench.compare.comparison import Comparison
from pretextbench.compare.protocols import LINEAR
from pretextbench.compare.rows import Row
from pretextbench.compare.runs import RANDOM
from pretextbench.compare.verdict import Verdict
from pretextbench.report import sentences
from pretextbench.report.sentences import against, either, gap, more_seeds, surer
from pretextbench.report.tables import percent

SUPERVISED = "supervised"
NOT_YET = "with one seed the method is not yet shown to be better"
NO_HELP = "No method is shown to help"


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
        ("", _answer(comparison, verdict, methods)),
        ("Against supervised training", _supervised(comparison, verdict, methods)),
        ("Against the start weights as they are", sentences.untouched(comparison, verdict, methods)),
        ("Start weights against training from scratch", sentences.scratch(comparison, verdict)),
        ("Encoders of others, as they are", sentences.references(comparison, verdict)),
        ("With few labels", sentences.few(comparison, methods)),
        ("Beyond frozen features of clean images", sentences.other_protocols(comparison, methods)),
        ("Cost", _cost(comparison, methods)),
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


def _answer(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    best = methods[0]
    low, high = verdict.interval(best.name) or (0.0, 0.0)
    level = f"{100 * comparison.params.confidence:g} % interval"
    reach = (
        f"A linear probe on {best.name}'s {best.layers['linear']} classifies {percent(verdict.accuracy(best.name))} % "
        f"of {comparison.images:,} test images correctly ({level} {percent(low)} "
        f"to {percent(high)})."
    )
    labelled = _labelled(comparison, verdict, best.name)
    if RANDOM not in verdict.names:
        return [_choice(comparison, verdict, methods, reach), *labelled]
    floor = f"An encoder that was not trained gets {percent(verdict.accuracy(RANDOM))} %."
    above = f"{floor} {against(comparison, verdict, best.name, RANDOM)}"
    if verdict.p(best.name, RANDOM) < 1 - comparison.params.confidence and gap(verdict, best.name, RANDOM) > 0:
        return [_choice(comparison, verdict, methods, reach), " ".join([above, *labelled])]
    nothing = "No encoder is shown to be better than an untrained one" if comparison.one_seed else NO_HELP
    advice = sentences.next_step(comparison, verdict, best.name, len(best.seeds))
    return [f"**{nothing}.** {above}", f"{reach} {advice}{more_seeds(comparison)}"]


def _choice(comparison: Comparison, verdict: Verdict, methods: list[Row], reach: str) -> str:
    """The method to use. With one seed it is the best encoder, because nothing is shown about the methods."""
    best, group, one_seed = methods[0], comparison.tied, comparison.one_seed
    if len(methods) == 1:
        return f"**{best.name} is the only method here.** {reach}"
    if better := comparison.better:
        names, kind = either([row.name for row in better]), "the encoder of " if one_seed else ""
        end = f"; {NOT_YET}" if one_seed else ", so there is no recommendation yet"
        lead = f"Validation picked {kind}{best.name}, and on test {kind}{names} did better{end}."
        return f"**{lead}** {reach} {against(comparison, verdict, best.name, better[0].name)}{more_seeds(comparison)}"
    if len(group) == 1:
        lead = f"{best.name}'s encoder did best here; {NOT_YET}." if one_seed else f"Use {best.name}."
        margin = against(
            comparison, verdict, best.name, methods[1].name, "the next one" if one_seed else "the next method"
        )
        return f"**{lead}** {reach} {margin}{more_seeds(comparison)}"
    names, cheap = either([row.name for row in group]), min(group, key=lambda row: row.seconds)
    lead = f"Use {names}: they cannot be distinguished here."
    if one_seed:
        lead = f"The encoders of {names.replace(' or ', ' and ')} cannot be distinguished here; {NOT_YET}."
    least = f"{cheap.name} took the least time ({cheap.seconds:,.0f} s)."
    return f"**{lead}** {reach} {least}{more_seeds(comparison)}"


def _labelled(comparison: Comparison, verdict: Verdict, best: str) -> list[str]:
    """The answer for a reader whose training images all have labels, where it is another one; at most one sentence."""
    if SUPERVISED not in verdict.names or verdict.p(best, SUPERVISED) >= 1 - comparison.params.confidence:
        return []
    if gap(verdict, best, SUPERVISED) > 0:
        return []
    accuracy = percent(verdict.accuracy(SUPERVISED))
    return [f"If all your images are labelled, train on the labels: the same encoder gets {accuracy} %."]


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


def _cost(comparison: Comparison, methods: list[Row]) -> list[str]:
    lines = [
        f"- {row.name}: {row.seconds:,.0f} s for {row.images_seen:,} images ({row.images_per_second:,.0f} images/s), "
        f"{row.peak_memory_mib:,.0f} MiB at the peak, {row.parameters:,} parameters in the encoder."
        for row in methods
    ]
    cheap = [row.name for row in methods[1:] if row.name in comparison.front]
    faster = [row.name for row in methods[1:] if row.seconds < methods[0].seconds]
    kind, names = ("encoder of a method", "encoders of ") if comparison.one_seed else ("method", "")
    front = f"No other {kind} is better than {comparison.subject(methods[0].name)} in accuracy or in time."
    if faster:
        front = f"Faster, but less accurate than a row that took less time: {names}{', '.join(faster)}."
    if cheap:
        front = f"Cheaper, and the most accurate for their time: {names}{', '.join(cheap)}."
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
        f"**There is no recommendation: {comparison.reason or 'no row has predictions'}.** Without labels one can see "
        "that an encoder has collapsed, but not whether it is useful.",
        f"The features of {first.name} spread over the most dimensions (RankMe {first.labelfree['rankme']:.1f}). Among "
        "encoders trained by one method, a higher RankMe tends to mean a higher accuracy. Across methods it is a weak "
        "hint, and an untrained encoder can score high.",
        "For a first answer a few hundred labelled images are enough: sort them into a folder per class and run again.",
    ]

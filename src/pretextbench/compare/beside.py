"""Where the order changes: label budgets, fine-tuning, corrupted images, other data; and what needs no labels."""

from pretextbench.compare.comparison import Comparison, Row
from pretextbench.compare.protocols import CORRUPTED, FINETUNE, TRANSFER
from pretextbench.compare.tables import budget_name, percent
from pretextbench.compare.words import either, gap, p_value

MEASURES = {"rankme": "RankMe", "feature_std": "feature std", "alignment": "alignment", "uniformity": "uniformity"}


def few(comparison: Comparison, methods: list[Row]) -> list[str]:
    """A line per label budget: who leads, and whether the ranking flips there."""
    lines = []
    for budget, labels in comparison.budgets.items():
        said = leads(comparison, budget, methods)
        granted = "" if labels is None else f" ({labels:,} labels)"
        lines.append(f"- {budget_name(budget)}{granted}: {said or 'not measured; the leaderboard says why'}.")
    return ["\n".join(lines)] if lines else []


def others(comparison: Comparison, methods: list[Row]) -> list[str]:
    """A line per protocol beside the frozen probes, for those that were run."""
    names = {
        CORRUPTED: "corrupted test images (mean of all corruptions and severities)",
        TRANSFER: "the second data set",
    }
    names |= {
        protocol: f"the whole network fine-tuned, {budget_name(protocol.removeprefix(FINETUNE))}"
        for protocol in comparison.verdicts
        if protocol.startswith(FINETUNE)
    }
    said = {name: leads(comparison, protocol, methods) for protocol, name in names.items()}
    lines = [f"- {name}: {words}." for name, words in said.items() if words]
    return ["\n".join(lines)] if lines else []


def leads(comparison: Comparison, protocol: str, methods: list[Row]) -> str | None:
    """Who leads under a protocol, and by how much; None where it was not measured. `methods`: best probe first."""
    verdict = comparison.verdicts.get(protocol)
    names = [row.name for row in methods if verdict and row.name in verdict.names]
    if verdict is None or not names:
        return None
    first, best = max(names, key=lambda name: verdict.accuracy(name) or 0.0), methods[0].name
    said = f"{first} leads with {percent(verdict.accuracy(first))} %"
    if first != best and best in names:
        p = verdict.p(first, best)
        sure = "the ranking flips" if p < 1 - comparison.params.confidence else "too close to call a flip"
        return f"{said}, {100 * gap(verdict, first, best):.1f} points above {best} ({p_value(p)}): {sure}"
    if len(names) > 1:
        second = max((name for name in names if name != first), key=lambda name: verdict.accuracy(name) or 0.0)
        points, p = 100 * gap(verdict, first, second), verdict.p(first, second)
        return f"{said}, {points:.1f} points above {second} ({p_value(p)})"
    return said


def label_free(comparison: Comparison) -> list[str]:
    """How far the measures that need no label would have told the same story."""
    if not comparison.agreements:
        return []
    told = [f"{MEASURES[one.measure]} {one.tau:.2f} ({one.low:.2f} to {one.high:.2f})" for one in comparison.agreements]
    level = 1 - comparison.params.confidence
    sure = [MEASURES[one.measure] for one in comparison.agreements if one.p < level and one.tau > 0]
    verdict = (
        f"Here {either(sure)} could have stood in for labels; that may not hold on other images."
        if sure
        else "None of them is shown to rank these encoders as the labels do: do not choose by them."
    )
    rows = len(comparison.verdicts["linear"].names)
    return [
        f"Agreement of the label-free measures with the linear probe over these {rows} encoders, as Kendall's tau (1: "
        f"same order, 0: unrelated; {comparison.params.confidence:.0%} interval): {', '.join(told)}. {verdict}"
    ]

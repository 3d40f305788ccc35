"""Sentences of a recommendation: numbers in words, and the other protocols."""

from pretextbench.ranking.agreement import LABEL_FREE
from pretextbench.ranking.comparison import FROM_SCRATCH, Comparison
from pretextbench.ranking.protocols import CORRUPTED, LINEAR, TRANSFER, TUNED, Protocol
from pretextbench.ranking.rows import Row, twins
from pretextbench.ranking.runs import UNTOUCHED
from pretextbench.ranking.verdict import Verdict
from pretextbench.report.label_notes import fixed_notes
from pretextbench.report.tables import percent

ENOUGH_SEEDS = 3  # with fewer, sentences are about encoders, not yet about methods


def gap(verdict: Verdict, first: str, second: str) -> float:
    """Difference of two rows' accuracies, a fraction."""
    return (verdict.accuracy(first) or 0.0) - (verdict.accuracy(second) or 0.0)


def shown_above(comparison: Comparison, verdict: Verdict, name: str, control: str) -> bool:
    """Whether the test shows a row to be better than a control."""
    return verdict.p(name, control) < 1 - comparison.params.confidence and gap(verdict, name, control) > 0


def points(verdict: Verdict, first: str, second: str) -> float:
    """Difference of two rows in percentage points, of the numbers as they are shown: a reader can check it."""
    return float(percent(verdict.accuracy(first) or 0.0)) - float(percent(verdict.accuracy(second) or 0.0))


def against(comparison: Comparison, verdict: Verdict, best: str, reference: str, role: str = "") -> str:
    """The margin of the best row above another, and its p value. `role`: a phrase that describes the other row."""
    margin, p = points(verdict, best, reference), verdict.p(best, reference)
    side = "above" if margin >= 0 else "below"
    named = f"{comparison.subject(reference)}{role and f', {role}'}"
    first = comparison.subject(best)
    return f"{first} is {abs(margin):.1f} points {side} {named} ({p_value(p)} after correction)."


def more_seeds(comparison: Comparison) -> str:
    """How to get an answer about the methods and what it takes, if the rows have fewer than three seeds."""
    rows = [row for row in comparison.rows if row.kind != "reference"]
    seeds = max((row.seeds for row in rows), key=len)
    missing = ENOUGH_SEEDS - len(seeds)
    if missing <= 0:
        return ""
    further = [seed for seed in range(min(seeds), min(seeds) + 6) if seed not in seeds][:missing]
    cost = duration(missing * sum(row.seconds for row in rows))
    return (
        f" For an answer about the methods, set `compare.seeds: {sorted([*seeds, *further])}` in `params.yaml` and run "
        f"again: {count(missing, 'more seed')} take{'s' if missing == 1 else ''} about {cost} of pretraining; existing "
        "encoders are kept."
    )


def p_value(p: float) -> str:
    """As a reader of statistics expects it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def either(names: list[str]) -> str:
    """a, b or c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def count(number: int, noun: str) -> str:
    """1 seed, 3 seeds."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """12 minutes, 80 seconds."""
    return f"{seconds / 60:,.0f} minutes" if seconds >= 90 else f"{seconds:,.0f} seconds"


def few(comparison: Comparison, methods: list[Row]) -> list[str]:
    """A line per label budget: which method leads, and whether the ranking flips."""
    lines = []
    for budget, labels in comparison.budgets.items():
        text = leads(comparison, budget, methods)
        granted = "" if labels is None else f" ({labels:,} labels)"
        alone = _alone(comparison, budget)
        lines.append(f"- {budget.heading}{granted}: {text or 'not measured; the leaderboard gives the reason'}{alone}.")
    return ["\n".join(lines), *fixed_notes(comparison)] if lines else []


def _alone(comparison: Comparison, budget: Protocol) -> str:
    """The accuracy of the network that was trained on these labels alone, where it was; no test, so no comparison."""
    if budget not in comparison.scratch:
        return ""
    verdict = comparison.scratch[budget]
    low, high = verdict.interval(FROM_SCRATCH) or (0.0, 0.0)
    return (
        f"; the same network trained from scratch on these labels gets {percent(verdict.accuracy(FROM_SCRATCH))} % "
        f"({percent(low)} to {percent(high)})"
    )


def other_protocols(comparison: Comparison, methods: list[Row]) -> list[str]:
    """A line per protocol other than the frozen probes, for those that were run."""
    names = {
        Protocol(CORRUPTED): "corrupted test images (mean of all corruptions and severities)",
        Protocol(TRANSFER): "the second data set",
    }
    tuned = [protocol for protocol in comparison.verdicts if protocol.kind == TUNED]
    names |= {protocol: f"the whole network fine-tuned, {protocol.labels}" for protocol in tuned}
    leaders = {name: leads(comparison, protocol, methods) for protocol, name in names.items()}
    lines = [f"- {name}: {leader}." for name, leader in leaders.items() if leader]
    return ["\n".join(lines)] if lines else []


def leads(comparison: Comparison, protocol: Protocol, methods: list[Row]) -> str | None:
    """The leader under a protocol and its margin; None where it was not measured. `methods`: the picked one first."""
    verdict = comparison.verdicts.get(protocol)
    names = [row.name for row in methods if verdict and row.name in verdict.names]
    if verdict is None or not names:
        return None
    first, best = max(names, key=lambda name: verdict.accuracy(name) or 0.0), methods[0].name
    subject, accuracy = comparison.subject(first), f"{percent(verdict.accuracy(first))} %"
    level = 1 - comparison.params.confidence
    if first != best and best in names:
        p = verdict.p(first, best)
        above = f"{points(verdict, first, best):.1f} points above {comparison.subject(best)} ({p_value(p)})"
        if p < level:
            return f"{subject} leads with {accuracy}, {above}: the ranking flips"
        return f"{subject} has {accuracy}, {above}: too close to say that the ranking flips"
    if len(names) > 1:
        second = max((name for name in names if name != first), key=lambda name: verdict.accuracy(name) or 0.0)
        above = f"{points(verdict, first, second):.1f} points above {comparison.subject(second)}"
        if not verdict.asked(first, second):  # the picked method has no predictions here
            return f"{subject} has {accuracy}, {above} (not tested: {best} has no result here)"
        p = verdict.p(first, second)
        above = f"{above} ({p_value(p)})"
        return f"{subject} leads with {accuracy}, {above}" if p < level else f"{subject} has {accuracy}, {above}: a tie"
    return f"{subject} has {accuracy}"


def untouched(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    """Whether training on these images helped the encoder that was there before; empty without start weights."""
    if UNTOUCHED not in verdict.names:
        return []
    level, methods = 1 - comparison.params.confidence, [row for row in methods if not row.from_scratch]
    lines = [f"- {against(comparison, verdict, row.name, UNTOUCHED)}" for row in methods]
    better = [row for row in methods if gap(verdict, row.name, UNTOUCHED) > 0]
    helped = [row.name for row in better if verdict.p(row.name, UNTOUCHED) < level]
    start = f"The start weights as they are get {percent(verdict.accuracy(UNTOUCHED))} %."
    answer = (
        f"Continued training is shown to help with {either(helped)}."
        if helped
        else ("Continued training is not shown to help: use the start weights as they are.")
    )
    return [f"{start} {answer}", "\n".join(lines)]


def scratch(comparison: Comparison, verdict: Verdict) -> list[str]:
    """The rows that begin at start weights, each against the same method from random weights."""
    judged = [row for row in comparison.rows if row.name in verdict.names]
    lines = [f"- {against(comparison, verdict, a.name, b.name, 'from scratch')}" for a, b in twins(judged)]
    return ["\n".join(lines)] if lines else []


def references(comparison: Comparison, verdict: Verdict) -> list[str]:
    """The encoders of others, with their architecture and size. They are no answer to which method is better."""
    rows = [row for row in comparison.rows if row.name in verdict.references]
    if not rows:
        return []
    lines = []
    for row in rows:
        low, high = verdict.interval(row.name) or (0.0, 0.0)
        lines.append(
            f"- {row.name} ({row.encoder}, {row.parameters:,} parameters, {row.multiply_adds / 1e6:,.0f} million "
            f"multiply-adds per image): {percent(verdict.accuracy(row.name))} % ({percent(low)} to {percent(high)})."
        )
    note = "They have other architectures or other weights than the methods' encoder, so they do not compare methods."
    return ["\n".join(lines), note]


def label_free(comparison: Comparison) -> list[str]:
    """The agreement of the label-free measures with the accuracies."""
    if not comparison.agreements:
        return []
    taus = [
        f"{LABEL_FREE[item.measure].name} {item.tau:.2f} ({item.low:.2f} to {item.high:.2f})"
        for item in comparison.agreements
    ]
    level = 1 - comparison.params.confidence
    sure = [LABEL_FREE[item.measure].name for item in comparison.agreements if item.p < level and item.tau > 0]
    verdict = (
        f"Here {either(sure)} could have replaced the labels; on other images this may not hold."
        if sure
        else "None of them is shown to rank these encoders as the labels do: do not choose by them."
    )
    rows = len(comparison.verdicts[LINEAR].names)
    return [
        f"Agreement of the label-free measures with the linear probe over these {rows} encoders, as Kendall's tau (1: "
        f"same order, 0: unrelated; {comparison.params.confidence:.0%} interval): {', '.join(taus)}. {verdict}"
    ]

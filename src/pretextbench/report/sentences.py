"""Sentences of a recommendation: numbers in words, other protocols, and what would make the answer surer."""

from pretextbench.compare.comparison import Comparison
from pretextbench.compare.power import Needs, needs
from pretextbench.compare.protocols import CORRUPTED, LABEL_FREE, LINEAR, TRANSFER, TUNED, Protocol
from pretextbench.compare.rows import Row, twins
from pretextbench.compare.runs import RANDOM, UNTOUCHED
from pretextbench.compare.verdict import Verdict
from pretextbench.report.tables import percent


def gap(verdict: Verdict, first: str, second: str) -> float:
    """Difference of two rows' accuracies, a fraction."""
    return (verdict.accuracy(first) or 0.0) - (verdict.accuracy(second) or 0.0)


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
    missing = 3 - len(seeds)
    if missing <= 0:
        return ""
    further = [seed for seed in range(min(seeds), min(seeds) + 6) if seed not in seeds][:missing]
    cost = _duration(missing * sum(row.seconds for row in rows))
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


def surer(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    """The difference that these data can detect, and what is needed to distinguish the two best methods."""
    if len(methods) < 2:
        return ["Run at least one more method: a ranking needs two."]
    best, second = methods[0].name, methods[1].name
    seeds = min(len(row.seeds) for row in methods[:2])
    wanted = _needs(comparison, verdict, (best, second), seeds)
    text = (
        f"With {comparison.images:,} test images and {count(seeds, 'seed')} each, a difference of "
        f"{100 * wanted.detectable:.1f} points between {comparison.subject(best)} and {comparison.subject(second)} "
        "would be detected four times out of five, after correction."
    )
    margin = points(verdict, best, second)
    if verdict.p(best, second) < 1 - comparison.params.confidence:
        pair = "the two encoders" if comparison.one_seed else "the two"
        return [f"{text} The observed {margin:.1f} points already distinguish {pair}.", _longer(comparison)]
    return [f"{text} {_needed(wanted, comparison, margin, seeds)}", _longer(comparison)]


def decision(comparison: Comparison, verdict: Verdict, first: Row, second: Row) -> str:
    """What would distinguish two methods; nothing where fewer than three seeds say too little about their spread."""
    seeds = min(len(first.seeds), len(second.seeds))
    if seeds < 3:
        return ""
    wanted = _needs(comparison, verdict, (first.name, second.name), seeds)
    return _needed(wanted, comparison, abs(points(verdict, first.name, second.name)), seeds)


def _needs(comparison: Comparison, verdict: Verdict, pair: tuple[str, str], seeds: int) -> Needs:
    """What is needed to distinguish two rows, after the correction of the first of their family."""
    spread = {name: float(s) for name, s in zip(verdict.names, verdict.judgement.spread, strict=True)}
    first, second = pair
    level = (1 - comparison.params.confidence) / verdict.charge(first, second)
    examples = verdict.examples[first], verdict.examples[second]
    return needs(*examples, (spread[first], spread[second]), seeds, level)


def next_step(comparison: Comparison, verdict: Verdict, best: str, seeds: int) -> str:
    """Advice where no method is shown to help: more test images if these could not show what is left to gain."""
    left = 100 * (1 - (verdict.accuracy(RANDOM) or 0.0))
    shown = 100 * _needs(comparison, verdict, (best, RANDOM), seeds).detectable
    if left > shown:
        return "Train for longer before choosing a method: `pretrain.images` is the budget."
    return (
        f"The untrained encoder leaves {left:.1f} points to gain, and {comparison.images:,} test images show "
        f"differences of {shown:.1f} points or more: label more test images before you train for longer."
    )


def _longer(comparison: Comparison) -> str:
    """The question that no power computation answers: whether the order holds at a larger budget."""
    again = sum(row.seconds for row in comparison.rows)
    return (
        "Statistics cannot say whether the order holds for longer pretraining. To find out, run the comparison at "
        f"twice the budget (`pretrain.images`): about {_duration(2 * again)} of pretraining per seed. One more seed at "
        f"this budget takes about {_duration(again)}."
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:,.0f} minutes" if seconds >= 90 else f"{seconds:,.0f} seconds"


def _needed(wanted: Needs, comparison: Comparison, points: float, seeds: int) -> str:
    if points < 0.05:
        return "The two are equal to the first decimal, so there is no difference to detect."
    options = []
    if wanted.images is not None and wanted.images > comparison.images:
        options.append(f"about {_round(wanted.images):,} test images at {count(seeds, 'seed')} each")
    if wanted.seeds is not None and wanted.seeds > seeds:
        options.append(f"about {count(_round(wanted.seeds), 'seed')} each on these test images")
    if not options:
        return f"To detect the observed {points:.1f} points, both more test images and more seeds are needed."
    return f"To detect the observed {points:.1f} points as often, {either(options)} are needed."


def _round(number: int) -> int:
    """Two significant digits: an estimate should not look like a count."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // unit) * unit


def few(comparison: Comparison, methods: list[Row]) -> list[str]:
    """A line per label budget: which method leads, and whether the ranking flips."""
    lines = []
    for budget, labels in comparison.budgets.items():
        text = leads(comparison, budget, methods)
        granted = "" if labels is None else f" ({labels:,} labels)"
        lines.append(f"- {budget.heading}{granted}: {text or 'not measured; the leaderboard gives the reason'}.")
    return ["\n".join(lines)] if lines else []


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
        p = verdict.p(first, second)
        above = f"{points(verdict, first, second):.1f} points above {comparison.subject(second)} ({p_value(p)})"
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

"""The answer in words: which method to use, by how much, how sure, at what cost, and what would make it surer."""

from pretextbench.compare import power
from pretextbench.compare.comparison import RANDOM, Comparison, Row, Verdict
from pretextbench.compare.tables import budget_name, percent

SUPERVISED = "supervised"


def recommendation_md(comparison: Comparison) -> str:
    """Markdown, a page at most. Percentages of test images; differences in percentage points."""
    title = "# Which pretext method should you use on these images?"
    verdict = comparison.verdicts.get("linear")
    methods = [row for row in comparison.rows if not row.control and verdict and row.name in verdict.names]
    if verdict is None:
        return "\n\n".join([title, *_without_labels(comparison)]) + "\n"
    if not methods:
        return f"{title}\n\nNo pretext method has predictions, so there is nothing to recommend. See the leaderboard.\n"
    sections = [
        ("", _answer(comparison, verdict, methods)),
        ("Against supervised training", _supervised(comparison, verdict, methods)),
        ("With few labels", _few(comparison, methods)),
        ("Cost", _cost(comparison, methods)),
        ("What would make it surer", _surer(comparison, verdict, methods)),
        ("What this does not say", _limits(comparison)),
    ]
    parts = [title]
    for heading, lines in sections:
        if lines:
            parts += [f"## {heading}"] if heading else []
            parts += lines
    return "\n\n".join(parts) + "\n"


def tied(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[Row]:
    """The best method, and those that cannot be told apart from it."""
    level = 1 - comparison.params.confidence
    return [row for row in methods if row is methods[0] or verdict.p(methods[0].name, row.name) >= level]


def _answer(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    best, group = methods[0], tied(comparison, verdict, methods)
    low, high = verdict.interval(best.name) or (0.0, 0.0)
    reach = (
        f"A linear probe on {best.name}'s {best.layers['linear']} gets {percent(verdict.accuracy(best.name))} % of "
        f"{comparison.images:,} test images right ({comparison.params.confidence:.0%} interval {percent(low)} to "
        f"{percent(high)})."
    )
    if len(group) > 1:
        cheap = min(group, key=lambda row: row.seconds)
        first = (
            f"**Use {_either([row.name for row in group])}: they cannot be told apart here.** {reach} "
            f"{cheap.name} took the least time ({cheap.seconds:,.0f} s)."
        )
    elif len(methods) > 1:
        first = f"**Use {best.name}.** {reach} {_against(verdict, best, methods[1], 'the next method')}"
    else:
        first = f"**{best.name} is the only method here.** {reach}"
    if RANDOM in verdict.names:
        floor = f"An encoder that was not trained gets {percent(verdict.accuracy(RANDOM))} %."
        against = f"{floor} {_against(verdict, best, None, RANDOM)}"
        helps = verdict.p(best.name, RANDOM) < 1 - comparison.params.confidence and _gap(verdict, best.name, RANDOM) > 0
        if helps:
            return [first, against]
        longer = "Train for longer before choosing a method: `pretrain.images` is the budget."
        return [f"**No method is shown to help.** {against}", f"{reach} {longer}"]
    return [first]


def _gap(verdict: Verdict, first: str, second: str) -> float:
    return (verdict.accuracy(first) or 0.0) - (verdict.accuracy(second) or 0.0)


def _against(verdict: Verdict, best: Row, other: Row | None, what: str) -> str:
    name = other.name if other else what
    gap, p = 100 * _gap(verdict, best.name, name), verdict.p(best.name, name)
    side = "above" if gap >= 0 else "below"
    called = f"{name}, {what}" if other else what
    return f"{best.name} is {abs(gap):.1f} points {side} {called} ({_p(p)} after correction for all pairs)."


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _supervised(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    if SUPERVISED not in verdict.names:
        return ["The supervised control was not run: whether pretraining is worth it at all is open."]
    best, accuracy = methods[0], percent(verdict.accuracy(SUPERVISED))
    said = f"The same encoder trained with all training labels, on the same budget, gets {accuracy} %."
    if verdict.p(best.name, SUPERVISED) >= 1 - comparison.params.confidence:
        said += " The best method cannot be told apart from it."
    elif _gap(verdict, best.name, SUPERVISED) > 0:
        said += " The best method beats it: pretraining pays even with all labels."
    else:
        said += " No method beats it: pretrain where most of your images have no label, or to start from."
    return [f"{said} {_against(verdict, best, None, SUPERVISED)}"]


def _few(comparison: Comparison, methods: list[Row]) -> list[str]:
    lines = []
    for budget, labels in comparison.budgets.items():
        verdict = comparison.verdicts.get(budget)
        names = [row.name for row in methods if verdict and row.name in verdict.names]
        if verdict is None or not names:
            lines.append(f"- {budget_name(budget)}: not measured; the leaderboard says why.")
            continue
        first = max(names, key=lambda name: verdict.accuracy(name) or 0.0)
        line = f"- {budget_name(budget)} ({labels:,} labels): {first} leads with {percent(verdict.accuracy(first))} %"
        best = methods[0].name
        if first != best and best in names:
            gap, p = 100 * _gap(verdict, first, best), verdict.p(first, best)
            sure = "the ranking flips" if p < 1 - comparison.params.confidence else "too close to call a flip"
            line += f", {gap:.1f} points above {best} ({_p(p)}): {sure}"
        elif len(names) > 1:
            second = max((name for name in names if name != first), key=lambda name: verdict.accuracy(name) or 0.0)
            line += f", {100 * _gap(verdict, first, second):.1f} points above {second} ({_p(verdict.p(first, second))})"
        lines.append(line + ".")
    return ["\n".join(lines)] if lines else []


def _cost(comparison: Comparison, methods: list[Row]) -> list[str]:
    lines = [
        f"- {row.name}: {row.seconds:,.0f} s for {row.images_seen:,} images ({row.images_per_second:,.0f} images/s), "
        f"{row.peak_memory_mib:,.0f} MiB at the peak, {row.parameters:,} parameters in the encoder."
        for row in methods
    ]
    return ["\n".join(lines)]


def _surer(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    if len(methods) < 2:
        return ["Run at least one more method: a ranking needs two."]
    best, second = methods[0].name, methods[1].name
    seeds = min(len(row.seeds) for row in methods[:2])
    pairs = len(verdict.names) * (len(verdict.names) - 1) // 2  # what Holm asks of the first of them
    spread = {name: float(s) for name, s in zip(verdict.names, verdict.judgement.spread, strict=True)}
    found = power.needs(
        verdict.examples[best],
        verdict.examples[second],
        (spread[best], spread[second]),
        seeds,
        (1 - comparison.params.confidence) / pairs,
    )
    said = (
        f"As things are ({comparison.images:,} test images, {_count(seeds, 'seed')} each), a difference of "
        f"{100 * found.detectable:.1f} points between {best} and {second} would be found four times out of five, after "
        "correction for all pairs."
    )
    if verdict.p(best, second) < 1 - comparison.params.confidence:
        return [f"{said} The {100 * _gap(verdict, best, second):.1f} points seen are already told apart."]
    return [f"{said} {_needed(found, comparison, 100 * _gap(verdict, best, second), seeds)}"]


def _needed(found: power.Needs, comparison: Comparison, gap: float, seeds: int) -> str:
    if gap < 0.05:
        return "The two are equal to the first decimal: nothing would tell them apart, and nothing needs to."
    options = []
    if found.images is not None and found.images > comparison.images:
        options.append(f"about {_round(found.images):,} test images at {_count(seeds, 'seed')} each")
    if found.seeds is not None and found.seeds > seeds:
        options.append(f"about {_count(_round(found.seeds), 'seed')} each on these test images")
    if not options:
        return f"For the {gap:.1f} points seen it would take more test images and more seeds together."
    return f"To tell the {gap:.1f} points seen apart as often, it would take {_either(options)}."


def _round(number: int) -> int:
    """Two significant digits: an estimate should not look like a count."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // unit) * unit


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _limits(comparison: Comparison) -> list[str]:
    lines = []
    if max(len(row.seeds) for row in comparison.rows) == 1:
        lines.append(
            "- One seed per row: the p values are about these encoders on other test images. Another pretraining of "
            "the same method may come out differently; set `compare.seeds` to three or more to have that counted."
        )
    if comparison.unequal:
        lines.append("- The rows have seen different numbers of images: their order mixes method and budget.")
    lines.append("- The order may change with a longer pretraining, a larger encoder, or other images.")
    return ["\n".join(lines)]


def _without_labels(comparison: Comparison) -> list[str]:
    first = comparison.rows[0]
    return [
        f"**There is no recommendation: {comparison.reason or 'no row has predictions'}.** Without labels one can see "
        "that an encoder collapsed, not that it is useful.",
        f"The features of {first.name} spread over the most dimensions (RankMe {first.labelfree['rankme']:.1f}). Among "
        "encoders trained by one method that tends to go with accuracy; across methods it is a weak hint, and an "
        "untrained encoder can score high.",
        "A few hundred labelled images are enough for a first answer: sort them into one folder per class, run again.",
    ]

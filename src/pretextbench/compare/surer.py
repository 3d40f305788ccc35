"""What would make the answer surer: more seeds or more test images, with an estimate from the power of the test."""

from pretextbench.compare import power
from pretextbench.compare.comparison import Comparison, Row, Verdict
from pretextbench.compare.words import count, either, gap


def surer(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    """What is found as things are, and what it would take to tell the two best apart."""
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
        f"As things are ({comparison.images:,} test images, {count(seeds, 'seed')} each), a difference of "
        f"{100 * found.detectable:.1f} points between {best} and {second} would be found four times out of five, after "
        "correction for all pairs."
    )
    points = 100 * gap(verdict, best, second)
    if verdict.p(best, second) < 1 - comparison.params.confidence:
        return [f"{said} The {points:.1f} points seen are already told apart.", _longer(comparison)]
    return [f"{said} {_needed(found, comparison, points, seeds)}", _longer(comparison)]


def _longer(comparison: Comparison) -> str:
    """What no power computation knows: whether the order holds at a larger budget."""
    again = sum(row.seconds for row in comparison.rows)
    return (
        "Whether the order holds for longer pretraining, no statistics can say: run it again at twice the budget "
        f"(`pretrain.images`), about {_duration(2 * again)} of pretraining per seed. One more seed at this budget "
        f"costs about {_duration(again)}."
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:,.0f} minutes" if seconds >= 90 else f"{seconds:,.0f} seconds"


def _needed(found: power.Needs, comparison: Comparison, points: float, seeds: int) -> str:
    if points < 0.05:
        return "The two are equal to the first decimal: nothing would tell them apart, and nothing needs to."
    options = []
    if found.images is not None and found.images > comparison.images:
        options.append(f"about {_round(found.images):,} test images at {count(seeds, 'seed')} each")
    if found.seeds is not None and found.seeds > seeds:
        options.append(f"about {count(_round(found.seeds), 'seed')} each on these test images")
    if not options:
        return f"For the {points:.1f} points seen it would take more test images and more seeds together."
    return f"To tell the {points:.1f} points seen apart as often, it would take {either(options)}."


def _round(number: int) -> int:
    """Two significant digits: an estimate should not look like a count."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // unit) * unit

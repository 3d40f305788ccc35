"""Sentences on what comes next: what these data can detect, what would decide, and what it costs."""

from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.power import Needs, needs
from pretextbench.ranking.rows import Row
from pretextbench.ranking.runs import RANDOM
from pretextbench.ranking.verdict import Verdict
from pretextbench.report.sentences import count, duration, either, points


def surer(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> list[str]:
    """The difference that these data can detect, and what is needed to distinguish the two best methods."""
    if len(methods) < 2:
        return ["Run at least one more method: a ranking needs two."]
    best, second = methods[0].name, methods[1].name
    seeds = min(len(row.seeds) for row in methods[:2])
    wanted = _needs(comparison, verdict, (best, second), seeds)
    if wanted is None:
        return [_longer(comparison)]
    text = (
        f"With {comparison.images:,} test images and {count(seeds, 'seed')} each, a difference of "
        f"{100 * wanted.detectable:.1f} points between {comparison.subject(best)} and {comparison.subject(second)} "
        "would be detected four times out of five, after correction."
    )
    margin = abs(points(verdict, best, second))  # test may put the pick second
    if verdict.p(best, second) < 1 - comparison.params.confidence:
        return [f"{text} The observed {margin:.1f} points already distinguish the two.", _longer(comparison)]
    return [f"{text} {_needed(wanted, comparison, margin, seeds)}", _longer(comparison)]


def decision(comparison: Comparison, verdict: Verdict, first: Row, second: Row) -> str:
    """What would distinguish two methods; nothing where fewer than three seeds say too little about their spread."""
    seeds = min(len(first.seeds), len(second.seeds))
    wanted = _needs(comparison, verdict, (first.name, second.name), seeds)
    if wanted is None:
        return ""
    return _needed(wanted, comparison, abs(points(verdict, first.name, second.name)), seeds)


def _needs(comparison: Comparison, verdict: Verdict, pair: tuple[str, str], seeds: int) -> Needs | None:
    """What is needed to distinguish two rows, corrected for the pairs of their family that are still open."""
    places = [verdict.names.index(name) for name in pair]
    spread = verdict.judgement.spread.to_plan
    over = spread.variance[places], spread.noise[places], spread.freedom[places]
    level = (1 - comparison.params.confidence) / verdict.open_charge(*pair)
    first, second = (verdict.examples[name] for name in pair)
    return needs(first, second, *over, len(verdict.names), seeds, level)


def next_step(comparison: Comparison, verdict: Verdict, best: str, seeds: int) -> str:
    """Advice where no method is shown to help: longer training, unless these images cannot show a gain."""
    left, wanted = 100 * (1 - (verdict.accuracy(RANDOM) or 0.0)), _needs(comparison, verdict, (best, RANDOM), seeds)
    low, high = verdict.interval(RANDOM) or (0.0, 0.0)
    shown = 100 * (wanted.detectable if wanted else high - low)
    if left > shown:
        return f"Train for longer before choosing a method: `pretrain.{budget(comparison)}` is the budget."
    if wanted is None:
        return (
            f"The untrained encoder leaves {left:.1f} points to gain, and its interval is {shown:.1f} points wide: "
            "longer training cannot be shown to help here. Label more test images first."
        )
    return (
        f"The untrained encoder leaves {left:.1f} points to gain, and {comparison.images:,} test images show "
        f"differences of {shown:.1f} points or more: label more test images before you train for longer."
    )


def budget(comparison: Comparison) -> str:
    """The field of `pretrain` that a larger budget is given by."""
    return "multiply_adds" if comparison.work else "images"


def _longer(comparison: Comparison) -> str:
    """The question that no power computation answers: whether the order holds at a larger budget."""
    again = sum(row.seconds for row in comparison.rows)
    seed = f"One more seed at this budget takes about {duration(again)}."
    if orders := comparison.orders.orders:
        return f"Statistics cannot say whether the order holds beyond {orders[-1].images:,} images. {seed}"
    how, cost = f"run the comparison at twice the budget (`pretrain.{budget(comparison)}`)", 2 * again
    if not comparison.work:
        twice = 2 * max(row.images_seen for row in comparison.rows)
        how = f"set `compare.budgets: [{twice}]`, twice the budget; what is trained is kept"
        cost = 2 * sum(row.seconds for row in comparison.rows if not row.control)
    return (
        f"Statistics cannot say whether the order holds for longer pretraining. To find out, {how}: about "
        f"{duration(cost)} of pretraining per seed. {seed}"
    )


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
    return f"To detect the observed {points:.1f} points four times out of five, {either(options)} are needed."


def _round(number: int) -> int:
    """Two significant digits: an estimate should not look like a count."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // unit) * unit

"""The first lines of a recommendation: what is shown, what is provisional, what is open, and what would decide.

Shown: three seeds or more, and the method that validation picked is better on test than every other method and than the
untrained encoder. Provisional: fewer seeds, methods that cannot be distinguished, or no untrained encoder. Open: no
method is shown to help, or to be better than the pixels themselves, or test contradicts validation.
"""

from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.pick import expected_anew, widened
from pretextbench.ranking.protocols import KNN, LINEAR
from pretextbench.ranking.rows import Row
from pretextbench.ranking.runs import PIXELS, RANDOM, SUPERVISED, UNTOUCHED
from pretextbench.ranking.verdict import Verdict
from pretextbench.report import planning
from pretextbench.report.learning import listed
from pretextbench.report.sentences import ENOUGH_SEEDS, against, count, either, gap, more_seeds, shown_above
from pretextbench.report.tables import percent

SHOWN, PROVISIONAL, OPEN = "Shown", "Provisional", "Open"


def headline(comparison: Comparison) -> list[str]:
    """Two paragraphs at most, for a comparison that has at least one method with predictions."""
    verdict, methods = comparison.verdicts[LINEAR], comparison.contenders
    best = methods[0].name
    lead, reasons = _open(comparison, verdict, methods) or _answer(comparison, verdict, methods)
    floor = [_floor(comparison, verdict, best)] if RANDOM in verdict.names else []
    second = " ".join([*floor, *_pixels(comparison, verdict, best), *_labelled(comparison, verdict, best)])
    first = f"**{lead}** {_reach(comparison, verdict, methods[0])} {reasons}{more_seeds(comparison)}"
    return [first.replace("  ", " ").strip(), *([second] if second else [])]


def _open(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> tuple[str, str] | None:
    """The headline where nothing is shown, and the reason; None where something is."""
    best, owner = methods[0].name, "the encoder of " if comparison.one_seed else ""
    if better := comparison.better:
        names = either([row.name for row in better])
        lead = f"{OPEN}: validation picked {owner}{best}, and on test {owner}{names} did better."
        return lead, f"{against(comparison, verdict, best, better[0].name)} {_small(comparison)}"
    if UNTOUCHED in verdict.names and not shown_above(comparison, verdict, best, UNTOUCHED):
        kind = "encoder" if comparison.one_seed else "method"
        lead = f"{OPEN}: no {kind} is shown to be better than the start weights. Until one is, use them as they are."
        return lead, against(comparison, verdict, best, UNTOUCHED)
    if RANDOM in verdict.names and not shown_above(comparison, verdict, best, RANDOM):
        nothing = "no encoder is shown to be better than an untrained one" if comparison.one_seed else ""
        lead = f"{OPEN}: {nothing or 'no method is shown to help'}."
        return lead, planning.next_step(comparison, verdict, best, len(methods[0].seeds))
    if PIXELS in verdict.names and not shown_above(comparison, verdict, best, PIXELS):
        kind = "encoder" if comparison.one_seed else "method"
        lead = f"{OPEN}: no {kind} is shown to be better than the pixels of a small thumbnail."
        return lead, "To be above an untrained encoder is not enough: coarse colours are, on these images."
    return None


def _answer(comparison: Comparison, verdict: Verdict, methods: list[Row]) -> tuple[str, str]:
    """The headline where the picked method is shown to help, or nothing says that it does not."""
    best, tied, seeds = methods[0], comparison.tied, len(methods[0].seeds)
    few = f"; {count(seeds, 'seed')}, so the method is not yet shown to be better" if seeds < ENOUGH_SEEDS else ""
    owner = f"{best.name}'s encoder" if comparison.one_seed else best.name
    if len(methods) == 1:
        helps = RANDOM in verdict.names and not few
        lead = f"{best.name} helps, and is the only method here" if helps else f"{best.name} is the only method here"
        return f"{SHOWN if helps else PROVISIONAL}: {lead}.", ""
    useful = [row for row in tied if row is best or _is_useful(comparison, verdict, row)]
    if len(useful) > 1:
        names = either([row.name for row in useful])
        one = f"the encoders of {names.replace(' or ', ' and ')} cannot be distinguished here{few}"
        lead = one if comparison.one_seed else f"use {names}: they cannot be distinguished here"
        return f"{PROVISIONAL}: {lead}.", f"{_tie(comparison, verdict, useful)} {_useless(comparison, useful)}"
    if len(tied) > 1:
        lead = f"{owner} did best here{few}" if few else f"use {best.name}"
        return f"{PROVISIONAL}: {lead}.", _useless(comparison, useful)
    role = "the next one" if comparison.one_seed else "the next method"
    margin = against(comparison, verdict, best.name, methods[1].name, role)
    if few:
        return f"{PROVISIONAL}: {owner} did best here{few}.", margin
    return f"{SHOWN if RANDOM in verdict.names else PROVISIONAL}: use {best.name}.", margin


def _is_useful(comparison: Comparison, verdict: Verdict, row: Row) -> bool:
    """Whether a method is shown to be better than the untrained encoder, or there is none to compare it with."""
    return RANDOM not in verdict.names or shown_above(comparison, verdict, row.name, RANDOM)


def _useless(comparison: Comparison, useful: list[Row]) -> str:
    """The methods of the tie that nobody should use: their seeds differ too much to say anything about them."""
    names = [comparison.subject(row.name) for row in comparison.tied if row not in useful]
    if not names:
        return ""
    best, verb = comparison.subject(useful[0].name), "is" if len(names) == 1 else "are"
    return (
        f"{listed(names)} cannot be distinguished from {best} either, but {verb} not shown to be better than an "
        "untrained encoder."
    )


def _tie(comparison: Comparison, verdict: Verdict, tied: list[Row]) -> str:
    """The cheapest of the methods, why validation does not decide, and what would."""
    cheap = min(tied, key=lambda row: row.seconds)
    decide = planning.decision(comparison, verdict, tied[0], tied[1])
    return f"{cheap.name} took the least time ({cheap.seconds:,.0f} s). {_small(comparison)} {decide}".strip()


def _small(comparison: Comparison) -> str:
    """That validation has too few images to pick, where it has."""
    pick = comparison.pick
    if pick is None or pick.clear:
        return ""
    return (
        f"Validation picked {pick.name} by {100 * pick.gap:.1f} points, less than the error of that gap "
        f"({100 * pick.error:.1f}): {pick.images:,} images are too few to pick."
    )


def _reach(comparison: Comparison, verdict: Verdict, best: Row) -> str:
    """The accuracy of these encoders and, with enough seeds for a sentence about the method, of a new pretraining."""
    accuracy, interval = verdict.accuracy(best.name) or 0.0, verdict.interval(best.name) or (0.0, 0.0)
    anew = expected_anew(comparison.contenders, verdict.by_seed) if len(best.seeds) >= ENOUGH_SEEDS else None
    low, high = interval if anew is None else widened(interval, accuracy, anew)
    new = ""
    if anew is not None and percent(anew) != percent(accuracy):
        new = (
            f" Judged by seeds that took no part in the pick, a new pretraining is expected to give {percent(anew)} %."
        )
    return (
        f"A linear probe on {best.name}'s {best.layers['linear']} {_gets(comparison, accuracy)} "
        f"({100 * comparison.params.confidence:g} % interval {percent(low)} to {percent(high)}).{new}"
    )


def _gets(comparison: Comparison, accuracy: float) -> str:
    if not comparison.task:
        return f"classifies {percent(accuracy)} % of {comparison.images:,} test images correctly"
    return f"has a {comparison.measure.name} of {percent(accuracy)} % on {comparison.images:,} test images"


def _floor(comparison: Comparison, verdict: Verdict, best: str) -> str:
    floor = percent(verdict.accuracy(RANDOM))
    return f"An encoder that was not trained gets {floor} %. {against(comparison, verdict, best, RANDOM)}"


def _pixels(comparison: Comparison, verdict: Verdict, best: str) -> list[str]:
    """How the pixels themselves do, which need no training; also by k-NN, where they are not shown to be behind."""
    if PIXELS not in verdict.names:
        return []
    accuracy = percent(verdict.accuracy(PIXELS))
    lines = [
        f"The pixels of a thumbnail of 8 x 8 get {accuracy} %. {against(comparison, verdict, best, PIXELS)}",
    ]
    knn = comparison.verdicts.get(KNN)
    if knn and knn.asked(best, PIXELS) and not shown_above(comparison, knn, best, PIXELS):
        lines.append(
            f"By k-NN, {comparison.subject(best)} is not shown to be above the pixels: {percent(knn.accuracy(best))} % "
            f"against {percent(knn.accuracy(PIXELS))} %."
        )
    return lines


def _labelled(comparison: Comparison, verdict: Verdict, best: str) -> list[str]:
    """The answer for a reader whose training images all have labels, where it is another one; at most one sentence."""
    if SUPERVISED not in verdict.names or verdict.p(best, SUPERVISED) >= 1 - comparison.params.confidence:
        return []
    if gap(verdict, best, SUPERVISED) > 0:
        return []
    accuracy = percent(verdict.accuracy(SUPERVISED))
    return [f"If all your images are labelled, train on the labels: the same encoder gets {accuracy} %."]

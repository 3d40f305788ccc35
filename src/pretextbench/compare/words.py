"""Phrases that the sections of the recommendation share."""

from pretextbench.compare.comparison import Row, Verdict


def gap(verdict: Verdict, first: str, second: str) -> float:
    """Difference of two rows' accuracies, a fraction."""
    return (verdict.accuracy(first) or 0.0) - (verdict.accuracy(second) or 0.0)


def against(verdict: Verdict, best: Row, other: Row | None, what: str) -> str:
    """By how much the best is above another, and how sure that is. `what`: its name, or what it is to the reader."""
    name = other.name if other else what
    points, p = 100 * gap(verdict, best.name, name), verdict.p(best.name, name)
    side = "above" if points >= 0 else "below"
    called = f"{name}, {what}" if other else what
    return f"{best.name} is {abs(points):.1f} points {side} {called} ({p_value(p)} after correction for all pairs)."


def p_value(p: float) -> str:
    """As a reader of statistics expects it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def either(names: list[str]) -> str:
    """a, b or c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def count(number: int, noun: str) -> str:
    """1 seed, 3 seeds."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

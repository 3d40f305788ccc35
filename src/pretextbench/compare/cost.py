"""What accuracy costs: the rows that no other beats in both."""

from collections.abc import Mapping


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names on the Pareto front of (cost, accuracy), cheapest first: nothing is at most as dear and more accurate.

    Of equals, all are on it.
    """

    def beaten(name: str) -> bool:
        cost, worth = points[name]
        return any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points.values())

    return sorted((name for name in points if not beaten(name)), key=lambda name: points[name])

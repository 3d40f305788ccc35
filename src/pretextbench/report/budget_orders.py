"""The order of the methods at several budgets of pretraining: sentences, the figure, the table, and the CSV file."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pretextbench.ranking.budget_orders import BudgetOrders, Order
from pretextbench.ranking.comparison import Comparison
from pretextbench.report.learning import Line, draw, listed
from pretextbench.report.sections import picked
from pretextbench.report.sentences import count
from pretextbench.report.svg import Style, render
from pretextbench.report.tables import percent, row_csv

HEADER = ("name", "images", "accuracy", "low", "high")


def sentences(comparison: Comparison) -> list[str]:
    """Whether the order depends on the budget; empty where there is one budget."""
    whole = comparison.orders
    if not whole.orders:
        return []
    subject = comparison.subject
    turned = [
        f"{subject(turn.first)} is above {subject(turn.second)} at {turn.small:,} images, and below it at "
        f"{turn.large:,}"
        for turn in whole.reversals
    ]
    if turned:
        first = f"**The order depends on the budget:** {'; '.join(turned)}."
    elif whole.kept:
        pairs = f"{whole.kept} of {count(whole.pairs, 'pair')}"
        first = f"No pair changes places: {pairs} differ at two budgets or more, always in one direction."
    else:
        first = "No pair differs at two budgets by more than the error, so nothing is known of a change of the order."
    picks = listed([f"{subject(order.picked)} at {order.images:,}" for order in whole.orders])
    lines = [first, f"Validation picks {picks} images.", _taus(whole)]
    budgets = listed([f"{order.images:,}" for order in whole.orders])
    return [f"At {budgets} images (linear probe on test): " + " ".join(filter(None, lines))]


def _taus(whole: BudgetOrders) -> str:
    neighbours = pairwise(order.images for order in whole.orders)
    taus = [f"{tau:.2f} from {a:,} to {b:,}" for tau, (a, b) in zip(whole.taus, neighbours, strict=False)]
    return f"Kendall's tau of the orders (1: the same, -1: reversed): {', '.join(taus)}." if taus else ""


def section(comparison: Comparison, looks: Mapping[str, Style]) -> dict[str, Any] | None:
    """The figure, and a table of the methods by budget; None where there is one budget."""
    orders = comparison.orders.orders
    if not orders:
        return None
    names = [row.name for row in comparison.rows if row.name in orders[-1].verdict.names]
    lines = [_line(name, orders, picked(comparison, name)) for name in names]
    drawn = draw(lines, [], looks, ("thousands of images seen", "linear probe (%)"))
    return {
        "figure": render(drawn, "orders", "Accuracy of the linear probe on test images by budget, for each method"),
        "header": [f"{order.images:,} images" for order in orders],
        "rows": {name: [_cell(order, name) for order in orders] for name in names},
    }


def _line(name: str, orders: Sequence[Order], band: bool) -> Line:
    known = [(order.images / 1000, *_numbers(order, name)) for order in orders if name in order.verdict.names]
    x, y, low, high = np.array(known).T
    return Line(name, x, 100 * y, 100 * low, 100 * high, band)


def _numbers(order: Order, name: str) -> tuple[float, float, float]:
    """Accuracy of a method, and the ends of its interval; fractions."""
    low, high = order.verdict.interval(name) or (0.0, 0.0)
    return order.verdict.accuracy(name) or 0.0, low, high


def _cell(order: Order, name: str) -> str:
    if name not in order.verdict.names:
        return ""
    accuracy, low, high = (percent(number) for number in _numbers(order, name))
    return f"{accuracy} ({low} to {high})"


def orders_csv(comparison: Comparison) -> str:
    """A line per method and budget; accuracies are fractions. Only a header where there is one budget."""
    orders = comparison.orders.orders
    lines = [(name, order.images, *_numbers(order, name)) for order in orders for name in order.verdict.names]
    return row_csv(HEADER, lines)

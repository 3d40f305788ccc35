"""Notes to the columns for few labels: what a reader must know before comparing the numbers in them."""

from pretextbench.compare.comparison import Comparison


def label_notes(comparison: Comparison) -> list[str]:
    """A sentence each, for below the tables."""
    return [f"{protocol.heading}: {taken}." for protocol, taken in comparison.fixed.items()]

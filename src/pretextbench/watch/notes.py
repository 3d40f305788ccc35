"""Warnings about a training, in plain words and with advice."""

import re
from collections.abc import Sequence

EARLY = 0.2  # share of the budget in which symptoms are normal and not reported
STALLED_AFTER = 3  # k-NN measurements in a row that are no better than the best


class Notes:
    """The warnings of one training: symptoms of the last check, and the development of k-NN."""

    def __init__(self, name: str) -> None:
        self.name, self.symptoms, self.plateau = name, list[str](), list[str]()
        self.accuracies: list[tuple[int, float]] = []
        self.reported, self.last = set[str](), list[str]()

    @property
    def all(self) -> list[str]:
        """All current warnings."""
        return [*self.symptoms, *self.plateau]

    def changed(self) -> bool:
        """Whether the warnings have changed since the last call."""
        before, self.last = self.last, self.all
        return before != self.last

    def check(self, progress: float, symptoms: Sequence[str]) -> list[str]:
        """Take the symptoms that a method reports; returns the new warnings."""
        self.symptoms = list(symptoms) if progress >= EARLY else []
        return self._fresh(self.symptoms)

    def knn(self, step: int, accuracy: float) -> list[str]:
        """Take a k-NN accuracy; returns the new warnings."""
        self.accuracies.append((step, accuracy))
        first, best = self.accuracies[0], max(self.accuracies, key=lambda point: point[1])
        since = [point for point in self.accuracies if point[0] > best[0]]
        self.plateau = []
        if first[0] == 0 and len(self.accuracies) > STALLED_AFTER and accuracy < first[1]:
            self.plateau = [
                f"k-NN on validation is worse than with the untrained encoder: {accuracy:.1%} against {first[1]:.1%}; "
                "lower the method's optimizer.lr, or choose another method"
            ]
        elif len(since) >= STALLED_AFTER:
            self.plateau = [
                f"k-NN on validation stopped improving: {best[1]:.1%} at step {best[0]}, {accuracy:.1%} "
                f"at step {step}; a smaller budget would do, or another optimizer.lr is needed"
            ]
        return self._fresh(self.plateau)

    def _fresh(self, notes: Sequence[str]) -> list[str]:
        """The warnings that were not reported before. Warnings that differ only in numbers count as one."""
        stems = {re.split(r"[:\d(]", note)[0]: note for note in notes}
        new = [f"{self.name}: {note}" for stem, note in stems.items() if stem not in self.reported]
        self.reported |= stems.keys()
        return new

"""What is wrong with a training, in words, with what to do about it."""

import re
from collections.abc import Sequence

EARLY = 0.2  # share of the budget before which no method is expected to have learned anything
PATIENCE = 3  # k-NN in a row that are no better than the best before


class Notes:
    """The notes of one training: those of the last look, and those of k-NN."""

    def __init__(self, name: str) -> None:
        self.name, self.symptoms, self.plateau = name, list[str](), list[str]()
        self.accuracies: list[tuple[int, float]] = []
        self.said, self.last = set[str](), list[str]()

    @property
    def all(self) -> list[str]:
        """All that is wrong now."""
        return [*self.symptoms, *self.plateau]

    def changed(self) -> bool:
        """Whether the notes are others than at the last question."""
        before, self.last = self.last, self.all
        return before != self.last

    def look(self, progress: float, symptoms: Sequence[str]) -> list[str]:
        """Take what a method says of itself; returns what has not been said before."""
        self.symptoms = list(symptoms) if progress >= EARLY else []
        return self._fresh(self.symptoms)

    def knn(self, step: int, accuracy: float) -> list[str]:
        """Take a k-NN accuracy; returns what has not been said before."""
        self.accuracies.append((step, accuracy))
        first, best = self.accuracies[0], max(self.accuracies, key=lambda one: one[1])
        since = [one for one in self.accuracies if one[0] > best[0]]
        self.plateau = []
        if first[0] == 0 and len(self.accuracies) > PATIENCE and accuracy < first[1]:
            self.plateau = [
                f"k-NN on validation is worse than with the untrained encoder: {accuracy:.1%} against {first[1]:.1%}; "
                "lower the method's optimizer.lr, or choose another method"
            ]
        elif len(since) >= PATIENCE:
            self.plateau = [
                f"k-NN on validation stopped improving: {best[1]:.1%} at step {best[0]}, {accuracy:.1%} "
                f"at step {step}; a smaller pretrain.images would do, or another optimizer.lr is needed"
            ]
        return self._fresh(self.plateau)

    def _fresh(self, notes: Sequence[str]) -> list[str]:
        """A note is the same with other numbers in it."""
        stems = {re.split(r"[:\d(]", note)[0]: note for note in notes}
        new = [f"{self.name}: {note}" for stem, note in stems.items() if stem not in self.said]
        self.said |= stems.keys()
        return new

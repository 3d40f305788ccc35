"""How far a training is, in a small file that a live table reads."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretextbench.train.loop import Training

PAUSE = 1.0  # seconds between two writes, at least


class Progress:
    """The file: step, steps, images_per_second, loss, seconds_left, updated (since 1970), notes.

    It is replaced as a whole and not flushed to the disk: a power cut may lose it, and no step waits.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.written = path, 0.0
        self.now: dict[str, Any] = {"step": 0, "steps": 0, "images_per_second": 0.0, "loss": 0.0, "seconds_left": 0.0}
        self.now["notes"] = []

    def begin(self, training: Training) -> None:
        """The first file of a training."""
        self.batch = training.budget.batch
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.now |= {"step": training.step, "steps": training.steps}
        if training.history:
            self.row(training.history[-1])
        self._write()

    def step(self, step: int) -> None:
        """A step is taken."""
        self.now["step"] = step
        if time.monotonic() - self.written >= PAUSE:
            self._write()

    def row(self, row: dict[str, float]) -> None:
        """New numbers, which the next write shows."""
        self.now |= {"images_per_second": row["images_per_second"], "loss": row["loss"]}

    def notes(self, notes: Sequence[str]) -> None:
        """What is wrong, in words."""
        self.now["notes"] = list(notes)

    def end(self, training: Training) -> None:
        """The last file of a training."""
        self.now["step"] = training.step
        self._write()

    def _write(self) -> None:
        self.written, speed = time.monotonic(), self.now["images_per_second"]
        left = (self.now["steps"] - self.now["step"]) * self.batch / speed if speed else 0.0
        content = self.now | {"seconds_left": round(left, 1), "updated": time.time()}
        scratch = self.path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk: the training will say so where it matters
            scratch.write_text(json.dumps(content), encoding="utf-8")
            scratch.replace(self.path)

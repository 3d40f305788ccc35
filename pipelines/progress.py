"""What a training tells while it is at work: one small file per method and seed, replaced at most once a second."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(".scratch/progress")  # below the project


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    step: int
    steps: int
    images_per_second: float
    seconds_left: float
    notes: tuple[str, ...] = ()  # warnings in plain words

    @property
    def share(self) -> float:
        """Of the steps, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps > 0 else 0.0


def item(stage: str) -> str:
    """`simclr-0` of `pretrain@simclr-0`; empty for a stage that belongs to no method and seed."""
    return stage.partition("@")[2]


def read(root: Path, stage: str, since: float) -> Progress | None:
    """The progress of a stage that has begun at `since` (a time as `time.time` gives it).

    None where there is none to be told: a file that is missing, older than the stage, or not to be read is no error.
    """
    if not item(stage) or "/" in stage:
        return None
    try:
        content = json.loads((root / FOLDER / f"{item(stage)}.json").read_text(encoding="utf-8"))
        return _parse(content) if float(content["updated"]) >= since else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None


def _parse(content: dict[str, Any]) -> Progress:
    pace, left = float(content["images_per_second"]), float(content["seconds_left"])
    if not (math.isfinite(pace) and math.isfinite(left)):
        raise ValueError("not a number")
    notes = tuple(" ".join(str(note).split()) for note in content.get("notes") or [])
    return Progress(int(content["step"]), int(content["steps"]), max(0.0, pace), max(0.0, left), notes)

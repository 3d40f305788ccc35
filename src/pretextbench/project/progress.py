"""The progress of a training, in a small JSON file: the training writes it, the live table reads it.

And the seconds that stages are expected to take, which `pretextbench init` writes.
"""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pretextbench.base.files import sha256, write_whole
from pretextbench.project import layout

PAUSE = 1.0  # seconds between two writes of the file, at least


@dataclass(frozen=True)
class Progress:
    """The state of a training at one moment. The fields are the keys of the file."""

    step: int = 0
    steps: int = 0
    images_per_second: float = 0.0
    loss: float = 0.0
    seconds_left: float = 0.0
    notes: tuple[str, ...] = ()  # warnings in plain words
    updated: float = 0.0  # seconds since 1970

    @property
    def share(self) -> float:
        """Share of the steps that are done, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps > 0 else 0.0

    def write(self, path: Path) -> None:
        """Replace the file as a whole.

        It is not flushed to the disk: a power cut may lose it, and no training step waits. A full disk is no error
        here: the training reports it where it matters.
        """
        scratch = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            scratch.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
            scratch.replace(path)

    @classmethod
    def read(cls, path: Path, since: float) -> Self | None:
        """The progress in a file; None where it is missing, older than `since` (a time.time()) or unreadable."""
        try:
            progress = cls._parse(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return None
        return progress if progress.updated >= since else None

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> Self:
        pace, left = float(content["images_per_second"]), float(content["seconds_left"])
        if not (math.isfinite(pace) and math.isfinite(left)):
            raise ValueError("not a finite number")
        return cls(
            step=int(content["step"]),
            steps=int(content["steps"]),
            images_per_second=max(0.0, pace),
            loss=float(content["loss"]),  # NaN in a training that has diverged
            seconds_left=max(0.0, left),
            notes=tuple(" ".join(str(note).split()) for note in content["notes"] or ()),
            updated=float(content["updated"]),
        )


def keep_estimate(root: Path, seconds: Mapping[str, float]) -> None:
    """Write what the stages of the project's params.yaml are expected to take."""
    content = {"params": sha256(root / layout.PARAMS), "seconds": dict(seconds)}
    write_whole(root / layout.estimate(), json.dumps(content, indent=2).encode())


def estimate(root: Path) -> dict[str, float]:
    """Stage -> seconds that it is expected to take; empty where params.yaml is not the one that was estimated."""
    try:
        content = json.loads((root / layout.estimate()).read_text(encoding="utf-8"))
        if content["params"] != sha256(root / layout.PARAMS):
            return {}
        return {str(name): max(0.0, float(seconds)) for name, seconds in content["seconds"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


class ProgressFile:
    """The progress file of one training, kept up to date at most once a second."""

    def __init__(self, path: Path) -> None:
        self.path, self.written, self.now = path, 0.0, Progress()

    def begin(self, step: int, steps: int, batch: int, row: dict[str, float] | None) -> None:
        """Write the first state of a training of `steps` steps of `batch` images; `row`: its last numbers, if any."""
        self.batch = batch
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._change(step=step, steps=steps)
        if row:
            self.row(row)
        self._write()

    def step(self, step: int) -> None:
        """Take a training step into account."""
        self._change(step=step)
        if time.monotonic() - self.written >= PAUSE:
            self._write()

    def row(self, row: dict[str, float]) -> None:
        """Take new numbers, which the next write contains."""
        self._change(images_per_second=row["images_per_second"], loss=row["loss"])

    def notes(self, notes: Sequence[str]) -> None:
        """Replace the warnings."""
        self._change(notes=tuple(notes))

    def end(self, step: int) -> None:
        """Write the last state of a training."""
        self._change(step=step)
        self._write()

    def _change(self, **fields: object) -> None:
        self.now = dataclasses.replace(self.now, **fields)  # type: ignore[arg-type]

    def _write(self) -> None:
        self.written, speed = time.monotonic(), self.now.images_per_second
        left = (self.now.steps - self.now.step) * self.batch / speed if speed else 0.0
        self._change(seconds_left=round(left, 1), updated=time.time())
        self.now.write(self.path)

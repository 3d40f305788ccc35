"""Cost of monitoring a training: live MLflow, pictures and health, against none of them.

The stage as `dvc repro` runs it, in a clone, in turn with and without; MLflow's own process shares the cores with it.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Measure, ratio, spread
from benchmarks.rows.comparison import Clone

OFF = {"live: true ": "live: false ", "share: 0.015 ": "share: 0 "}
ON = {new: old for old, new in OFF.items()}


def measure(rounds: int) -> Iterator[Measure]:
    """Images/s with over without, and the seconds that the whole stage takes longer."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder) / "watched", {})
        clone.run("dvc", "repro", "augment@simclr")
        pace: dict[bool, list[float]] = {True: [], False: []}
        wall: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(min(rounds, 5)):
            for watched in (False, True):
                clone.edit(({} if live(clone) else ON) if watched else (OFF if live(clone) else {}))
                seconds, rate = train(clone)
                wall[watched].append(seconds)
                pace[watched].append(rate)
        yield ratio("simclr, default run: images/s watched", pace[True], pace[False], "of unwatched", at_least=0.98)
        longer = [on - off for on, off in zip(wall[True], wall[False], strict=True)]
        yield spread("the stage, watched and recorded live", longer, "s longer")
        yield spread("the stage, neither", wall[False], "s")


def live(clone: Clone) -> bool:
    """True if the clone's parameters ask for MLflow while it trains."""
    return "live: true " in (clone.root / "params.yaml").read_text()


def train(clone: Clone) -> tuple[float, float]:
    """Seconds of the stage, from nothing, and the images/s on the encoder's card."""
    for kept in ("runs/pretrain", ".scratch/pretrain"):
        shutil.rmtree(clone.root / kept, ignore_errors=True)
    seconds = clone.run("stages", "pretrain", "simclr", "0")
    card = json.loads((clone.root / "runs/pretrain/simclr-0/encoder.json").read_text())
    return seconds, card["images_per_second"]

"""The time that a run still takes, from the trainings at work, the stages that have ended, and init's estimate.

Nothing is guessed: where none of them says anything about a stage, the time is a lower bound, or is left out.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from pipelines.reproduce import Outcome
from pretextbench.project.progress import Progress

KINDS = {  # stages of one kind take about as long; a control may train nothing
    "pretrain": "pretrain", "pretrain-budget": "pretrain", "pretrain-control": "pretrain-control",
    "evaluate": "evaluate", "evaluate-budget": "evaluate", "evaluate-control": "evaluate",
    "evaluate-reference": "evaluate",
}  # fmt: skip


class Running(NamedTuple):
    """A stage at work: its seconds so far, and the progress of its training, if it has one."""

    seconds: float
    progress: Progress | None

    @property
    def left(self) -> float | None:
        """Seconds that its training says are left; None where it does not say."""
        if self.progress is None or (self.progress.steps and not self.progress.images_per_second):
            return None
        return self.progress.seconds_left


def kind(stage: str) -> str:
    """The stages that take about as long as this one; empty for the small ones, from `prepare` to `compare`."""
    return KINDS.get(stage.partition("@")[0], "")


def time_left(
    waiting: Collection[str],
    running: Mapping[str, Running],
    ended: Iterable[Outcome],
    idle: Collection[str],
    jobs: int,
    expected: Mapping[str, float] | None = None,
) -> str:
    """`about 9 min left`, `at least 9 min left`, or nothing where nothing is known.

    Args:
        waiting: stages that may still run.
        running: stages at work.
        ended: outcomes so far.
        idle: stages that train nothing, such as that of the control `random`: they say nothing about others.
        jobs: stages side by side.
        expected: seconds of stages, estimated before the run.
    """
    samples: dict[str, dict[str, float]] = {}  # kind -> stage -> seconds
    for outcome in ended:
        if outcome.state == "ran" and outcome.stage not in idle:
            samples.setdefault(kind(outcome.stage), {})[outcome.stage] = outcome.seconds
    for name, stage in running.items():
        if stage.left is not None and name not in idle:
            samples.setdefault(kind(name), {})[name] = stage.seconds + stage.left
    usual = {name: _usual(name, samples.get(kind(name), {}), expected or {}) for name in [*waiting, *running]}
    lengths = [usual[name] for name in waiting]
    lengths += [_rest(stage, usual[name]) for name, stage in running.items()]
    known = [seconds for seconds in lengths if seconds is not None]
    total = max([sum(known) / jobs, *known])
    if not total:
        return ""
    return f"{'about' if len(known) == len(lengths) else 'at least'} {in_words(total)} left"


def _usual(name: str, samples: Mapping[str, float], expected: Mapping[str, float]) -> float | None:
    """Seconds of a stage: its estimate, corrected by those of its kind, or their mean; None where there is neither."""
    if name not in expected:
        return statistics.fmean(samples.values()) if samples else None
    estimated = [stage for stage in samples if expected.get(stage)]
    if not estimated:
        return expected[name]
    return expected[name] * sum(samples[stage] for stage in estimated) / sum(expected[stage] for stage in estimated)


def _rest(stage: Running, usual: float | None) -> float | None:
    if stage.left is not None:
        return stage.left
    return None if usual is None else max(0.0, usual - stage.seconds)


def in_words(seconds: float) -> str:
    """`1 min` at least, `9 min`, `3.5 h`."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"

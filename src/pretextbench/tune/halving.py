"""Successive halving (Jamieson & Talwalkar 2016): many short trials, then fewer and longer ones.

The first trial has the method's own parameters. It is never stopped, so that in the last round it stands next to the
best of the others: that is where a gain is measured. The rounds depend on numbers alone and not on scores, so every
method gets the same trials with the same images, which is the reason why this is not a scheduler of Optuna or Ray Tune:
theirs decide as results come in (ASHA), so that one method would see more images than another. Optuna would add two
packages and 1.1 s to the start of the stage.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pretextbench.project.search_space import Setting

State = Literal["finished", "stopped", "lost"]


class Round(NamedTuple):
    """Trials that are trained side by side on equal budgets."""

    trials: int
    images: int  # seen by each of them; every round trains from the start, since the schedule depends on the budget


class Outcome(NamedTuple):
    """One training of a trial."""

    images: int  # seen
    seconds: float
    score: float | None  # accuracy on validation, 0 to 1; None: the trial is lost
    reason: str = ""  # why it is lost


@dataclass
class Trial:
    """One setting, and what became of it."""

    number: int  # 0 has the method's own parameters
    setting: Setting
    outcomes: list[Outcome] = field(default_factory=list)  # one per round that it was in
    state: State = "finished"

    @property
    def score(self) -> float:
        """Of its last round.

        Raises:
            ValueError: it is lost.
        """
        score = self.outcomes[-1].score if self.outcomes else None
        if score is None:
            raise ValueError(f"trial {self.number} has no score")
        return score


def rounds(trials: int, images: int, eta: int) -> list[Round]:
    """All rounds: each has 1 / eta of the trials before and eta times the images, until at most eta are left."""
    plan = [Round(trials, images)]
    while plan[-1].trials > eta:
        plan.append(Round(-(-plan[-1].trials // eta), plan[-1].images * eta))
    return plan


def kept(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The best `count` of trials that have a score, the first trial always among them; of equals the earlier one."""
    best = sorted(trials, key=lambda trial: (trial.number != 0, -trial.score, trial.number))[:count]
    return sorted(best, key=lambda trial: trial.number)


def halve(
    settings: Sequence[Setting], plan: Sequence[Round], measure: Callable[[int, Setting, int], Outcome]
) -> list[Trial]:
    """Try all settings; returns a trial for each, in their order.

    Args:
        settings: the first is the method's own.
        plan: what `rounds` returned for as many trials.
        measure: trains a trial (its number and setting) on so many images and judges it by validation.
    """
    trials = [Trial(number, setting) for number, setting in enumerate(settings)]
    alive = trials
    for place, (count, images) in enumerate(plan):
        if place:
            going = kept(alive, count)
            for trial in alive:
                trial.state = "finished" if trial in going else "stopped"
            alive = going
        for trial in alive:
            trial.outcomes.append(measure(trial.number, trial.setting, images))
            if trial.outcomes[-1].score is None:
                trial.state = "lost"
        alive = [trial for trial in alive if trial.state != "lost"]
    return trials


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the best score in the last round, the earlier one of equals; None where all in it are lost."""
    last = [trial for trial in trials if trial.state == "finished"]
    return max(last, key=lambda trial: (trial.score, -trial.number)) if last else None


def gain(trials: Sequence[Trial]) -> float | None:
    """How much better the best trial is than the method's own parameters in the last round; None where it is lost."""
    top, first = best(trials), trials[0]
    return top.score - first.score if top and first.state == "finished" else None


def error(trials: Sequence[Trial], images: int) -> float:
    """Standard error of the gain over `images` validation images, as a fraction.

    That of two independent sets: the same images make a gain surer than this, and the luck of a training less sure.
    """
    top = best(trials)
    return math.sqrt(2 * top.score * (1 - top.score) / max(images, 1)) if top else 0.0


def winner(trials: Sequence[Trial], images: int) -> Trial | None:
    """The best trial, or that of the method's own parameters where the gain is not above its error.

    Of equal trials the best of the last round is above the first more often than not, by luck. None where all are lost.
    """
    gained = gain(trials)
    return best(trials) if gained is None or gained > error(trials, images) else trials[0]

"""Result of a method's tuning on disk: trials.csv, best.json with the chosen values, tuning.json with the reasons.

best.json has the values that differ from the method's own parameters, and nothing that varies from run to run: the
trainings of the method depend on it, and on nothing else of the tuning.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pretextbench.base.files import write_whole
from pretextbench.project import layout
from pretextbench.project.search_space import Setting
from pretextbench.tune.halving import Trial, best, error, gain, winner
from pretextbench.tune.summary import AFTER, CARD, SCORE, TRIALS


@dataclass(frozen=True)
class Tuning:
    """What was tried for a method, and what was chosen."""

    trials: Sequence[Trial] = ()
    reason: str = ""  # why nothing was tried; empty where there are trials
    images: int = 0  # of validation, by which the trials were judged

    @property
    def winner(self) -> Trial | None:
        """The trial whose setting is taken; None where all are lost."""
        return winner(self.trials, self.images) if self.trials else None

    @property
    def chosen(self) -> Setting:
        """The chosen values that are not the method's own; empty where these are kept."""
        taken = self.winner
        own = self.trials[0].setting if self.trials else {}
        return {name: value for name, value in taken.setting.items() if value != own[name]} if taken else {}

    @property
    def kept(self) -> str:
        """Why the method keeps its own parameters; empty where a trial is better, or where they are the best."""
        if self.reason or not self.trials:
            return self.reason
        if not self.winner:
            return "all trials were lost"
        gained = gain(self.trials)
        if not gained or self.winner is best(self.trials):
            return ""
        return (
            f"the best trial gained {100 * gained:.1f} points, within the error of {self.images:,} validation images, "
            f"{100 * error(self.trials, self.images):.1f}"
        )


def write(tuning: Tuning, folder: Path) -> None:
    """Write the files into an empty folder."""
    write_whole(folder / layout.CHOSEN, _json(tuning.chosen))
    if not tuning.trials and not tuning.reason:  # tuning is off
        return
    taken, top = tuning.winner, best(tuning.trials)
    card = {
        "reason": tuning.kept,
        "trials": len(tuning.trials),
        "lost": sum(trial.state == "lost" for trial in tuning.trials),
        "images": sum(outcome.images for trial in tuning.trials for outcome in trial.outcomes),
        "best": taken.number if taken else None,
        "score": taken.score if taken else None,
        "gain": (gain(tuning.trials) if taken is top else 0.0) if taken else None,
    }
    write_whole(folder / CARD, _json(card))
    if tuning.trials:
        write_whole(folder / TRIALS, _table(tuning).encode())


def _json(content: Setting) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _table(tuning: Tuning) -> str:
    trials = tuning.trials
    rounds, stream = max(len(trial.outcomes) for trial in trials), io.StringIO()
    scores = [f"{SCORE}{place + 1}" for place in range(rounds)]
    writer = csv.DictWriter(stream, ["trial", *trials[0].setting, *scores, *AFTER], lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        measured = {name: outcome.score for name, outcome in zip(scores, trial.outcomes, strict=False)}
        writer.writerow(
            {
                "trial": trial.number,
                **{name: json.dumps(value) for name, value in trial.setting.items()},
                **{name: "" if score is None else f"{score:.6g}" for name, score in measured.items()},
                "images": sum(outcome.images for outcome in trial.outcomes),
                "seconds": f"{sum(outcome.seconds for outcome in trial.outcomes):.3f}",
                "state": trial.state,
                "reason": trial.outcomes[-1].reason,
                "chosen": int(trial is tuning.winner),
            }
        )
    return stream.getvalue()

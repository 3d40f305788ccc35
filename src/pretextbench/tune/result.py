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
from pretextbench.tune.halving import Trial, gain, winner
from pretextbench.tune.summary import AFTER, CARD, SCORE, TRIALS


@dataclass(frozen=True)
class Tuning:
    """What was tried for a method, and what was chosen."""

    trials: Sequence[Trial] = ()
    reason: str = ""  # why it keeps its own parameters, where no trial decided that; empty where one did

    @property
    def chosen(self) -> Setting:
        """The chosen values that are not the method's own; empty where these are kept."""
        best = winner(self.trials)
        own = self.trials[0].setting if self.trials else {}
        return {name: value for name, value in best.setting.items() if value != own[name]} if best else {}


def write(tuning: Tuning, folder: Path) -> None:
    """Write the files into an empty folder."""
    write_whole(folder / layout.CHOSEN, _json(tuning.chosen))
    if not tuning.trials and not tuning.reason:  # tuning is off
        return
    best = winner(tuning.trials)
    card = {
        "reason": tuning.reason or ("" if best else "all trials were lost"),
        "trials": len(tuning.trials),
        "lost": sum(trial.state == "lost" for trial in tuning.trials),
        "images": sum(outcome.images for trial in tuning.trials for outcome in trial.outcomes),
        "best": best.number if best else None,
        "score": best.score if best else None,
        "gain": gain(tuning.trials) if best else None,
    }
    write_whole(folder / CARD, _json(card))
    if tuning.trials:
        write_whole(folder / TRIALS, _table(tuning.trials).encode())


def _json(content: Setting) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _table(trials: Sequence[Trial]) -> str:
    rounds, stream = max(len(trial.outcomes) for trial in trials), io.StringIO()
    scores = [f"{SCORE}{place + 1}" for place in range(rounds)]
    writer = csv.DictWriter(stream, ["trial", *trials[0].setting, *scores, *AFTER], lineterminator="\n")
    writer.writeheader()
    best = winner(trials)
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
                "chosen": int(trial is best),
            }
        )
    return stream.getvalue()

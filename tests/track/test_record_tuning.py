"""Records of a tuning: a run of the method and, below it, one per trial."""

from dataclasses import replace
from pathlib import Path

from pretextbench.track.tuning_records import record_tune, tuned
from pretextbench.tune import result
from pretextbench.tune.halving import Outcome, Trial
from pretextbench.tune.result import Tuning

OWN = Trial(0, {"optimizer.lr": 0.006}, [Outcome(100, 2.0, 0.4), Outcome(300, 6.0, 0.45)])
BEST = Trial(1, {"optimizer.lr": 0.018}, [Outcome(100, 2.0, 0.5), Outcome(300, 5.0, 0.55)])
LOST = Trial(2, {"optimizer.lr": 600.0}, [Outcome(20, 0.5, None, "Method 'simclr' diverged: loss is nan")], "lost")


def written(folder: Path, *trials: Trial, reason: str = "") -> Path:
    folder.mkdir()
    result.write(Tuning(trials, reason, 1000), folder)
    return folder


def test_trials_are_runs_below_the_tuning(tmp_path: Path) -> None:
    parent, *children = tuned("simclr", written(tmp_path / "out", OWN, BEST, LOST), tmp_path / "images")
    assert parent.members == tuple(child.key for child in children)
    assert parent.params == {"trials": 3, "chosen.optimizer.lr": 0.018}
    assert round(parent.metrics["Gain on validation"], 9) == 0.1
    assert parent.note == "simclr: optimizer.lr 0.018, 10.0 points better on validation than its own"
    assert parent.files[""] == [str(tmp_path / "out" / "trials.csv")]
    own, best, lost = children
    assert (own.params, best.params) == ({"optimizer.lr": 0.006}, {"optimizer.lr": 0.018})
    assert best.metrics == {"k-NN on validation": 0.55, "Images seen": 400, "Pretraining seconds": 7.0}
    assert [(name, step, value) for name, step, _, value in best.points] == [
        ("k-NN on validation", 1, 0.5),
        ("k-NN on validation", 2, 0.55),
    ]
    assert (best.tags["chosen"], own.tags["chosen"], lost.tags["state"]) == ("True", "False", "lost")
    assert lost.note == "Method 'simclr' diverged: loss is nan"
    assert "k-NN on validation" not in lost.metrics


def test_other_seconds_continue_the_runs_and_another_result_does_not(tmp_path: Path) -> None:
    def keys(name: str, *trials: Trial) -> list[str]:
        return [entry.key for entry in tuned("simclr", written(tmp_path / name, *trials), tmp_path / "images")]

    slower = replace(BEST, outcomes=[outcome._replace(seconds=9.0) for outcome in BEST.outcomes])
    other = replace(BEST, outcomes=[outcome._replace(score=0.6) for outcome in BEST.outcomes])
    assert keys("a", OWN, BEST) == keys("b", OWN, slower)
    changed = zip(keys("c", OWN, BEST), keys("d", OWN, other), strict=True)
    assert [before == after for before, after in changed] == [False, True, False]


def test_where_no_trial_was_made_nothing_is_recorded(tmp_path: Path) -> None:
    record_tune("simclr", written(tmp_path / "off"), tmp_path, tmp_path / "images")
    record_tune("simclr", written(tmp_path / "none", reason="there are no labels"), tmp_path, tmp_path / "images")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "off"]

"""Stage `tune` by calls: what it chooses, what it must not see, and what a kill, a divergence and missing labels do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.method import Loss
from pretextbench.params import MethodParams, Params
from pretextbench.project import layout, search_space
from pretextbench.registry import Plugin
from pretextbench.tune import result, summary, trials
from stages import arguments, parameter_search, tune
from stages.arguments import Contestant
from tests.leaks import written
from tests.sound import Sound

SPLITS = {"train": 96, "val": 24, "test": 24}
TUNE = {"trials": 3, "images": 32, "eta": 2}  # rounds of 3 and 2 trials: five trainings of 2 or 4 steps


class Scaled(Sound):
    """The sound method with a parameter that decides whether it can learn."""

    class Params(MethodParams):
        scale: float = Field(1.0, ge=0, description="of the loss; 0 makes it no number")

    search = {"scale": (0.5, 1.0), "optimizer.lr": (1e-3, 1e-2)}

    def loss(self, batch):
        loss = super().loss(batch).total
        return Loss(loss * self.params.scale / self.params.scale if self.params.scale else loss * float("nan"))


def params(**sections: Any) -> Params:
    few = {"batch_size": 16, "precision": "fp32", "log_every": 2}
    compare = {"methods": ["sound", "twin"], "controls": ["random"]}
    raw = {"encoder": {"width": 4}, "pretrain": few, "tune": TUNE, "compare": compare}
    return Params.model_validate({**raw, **sections})


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., Prepared]:
    """`data(labels=..., classes=...)`: bright and dark images of four classes, with any labels."""
    count = sum(SPLITS.values())
    truth = np.arange(count) % 4
    noise = np.random.default_rng(0).normal(100, 40, (count, 1, 1, 3)) + np.zeros((count, 8, 8, 3))
    pixels = (noise + 15 * truth[:, None, None, None]).clip(0, 255).astype(np.uint8)
    ends = np.cumsum([0, *SPLITS.values()])

    def make(labels: Any = truth, classes: int = 4) -> Prepared:
        images, folder = tmp_path / "images", tmp_path / "labels"
        if not images.exists():
            written(images, {split: pixels[ends[i] : ends[i + 1]] for i, split in enumerate(SPLITS)})
            folder.mkdir()
        np.save(folder / "labels.npy", labels)
        (folder / "classes.json").write_text(json.dumps([f"class {i}" for i in range(classes)]))
        return Prepared(images, folder)

    return make


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plugin = Plugin("sound", "under:test", "under-test", "0")
    monkeypatch.setattr(
        parameter_search, "untuned", lambda name: Contestant(plugin, "0", Scaled, Scaled.Params(), row=name)
    )


def table(made: result.Tuning, folder: Path) -> list[tuple[Any, ...]]:
    """The lines of trials.csv without their seconds, and the other two files."""
    folder.mkdir()
    result.write(made, folder)
    lines = [line.split(",") for line in (folder / summary.TRIALS).read_text().splitlines()]
    place = lines[0].index("seconds")
    kept = [tuple(cell for i, cell in enumerate(line) if i != place) for line in lines]
    return [*kept, ((folder / layout.CHOSEN).read_text(),), ((folder / summary.CARD).read_text(),)]


def test_a_search_is_written_and_read_back(data: Any, tmp_path: Path) -> None:
    made = parameter_search.search("sound", params(), data())
    assert sorted(len(trial.outcomes) for trial in made.trials) == [1, 2, 2]
    assert made.trials[0].setting == {"optimizer.lr": 1e-3, "scale": 1.0}, "of 96 images no batch is 64"
    assert [outcome.images for outcome in made.trials[0].outcomes] == [32, 64]
    table(made, tmp_path / "out")
    read_back = summary.read(tmp_path / "out")
    assert read_back is not None
    assert (read_back.chosen, read_back.reason) == (made.chosen, made.kept)
    assert read_back.images == sum(outcome.images for trial in made.trials for outcome in trial.outcomes)
    for row, trial in zip(read_back.rows, made.trials, strict=True):
        assert row.scores == pytest.approx([o.score for o in trial.outcomes if o.score is not None], rel=1e-5)
        assert (row.number, row.setting, row.state) == (trial.number, trial.setting, trial.state)
        assert row.chosen == (
            trial is made.trials[0] if not made.chosen else trial.setting.items() >= made.chosen.items()
        )


def test_test_labels_and_test_images_are_not_looked_at(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other labels of the test images the same trials have the same scores; the images are not opened either."""
    first = table(parameter_search.search("sound", params(), data()), tmp_path / "first")
    labels = np.arange(sum(SPLITS.values())) % 4
    labels[-SPLITS["test"] :] = np.random.default_rng(1).permutation(labels[-SPLITS["test"] :])
    asked: list[str] = []
    for name in ("images", "labels"):
        honest = getattr(Prepared, name)
        monkeypatch.setattr(Prepared, name, lambda own, split, call=honest: (asked.append(split), call(own, split))[1])
    monkeypatch.setattr(layout, "SCRATCH", tmp_path / "other")
    assert table(parameter_search.search("sound", params(), data(labels)), tmp_path / "again") == first
    assert set(asked) == {"train", "val"}


def test_validation_labels_do_decide(data: Any, tmp_path: Path) -> None:
    """So that the test above could fail: permuted where they count, labels change the scores."""
    labels = np.arange(sum(SPLITS.values())) % 4
    honest = parameter_search.search("sound", params(), data())
    rows = slice(SPLITS["train"], SPLITS["train"] + SPLITS["val"])
    labels[rows] = np.random.default_rng(1).permutation(labels[rows])
    wrong = parameter_search.search("sound", params(), data(labels))
    assert [trial.outcomes for trial in wrong.trials] != [trial.outcomes for trial in honest.trials]


def test_a_killed_search_goes_on_with_the_trial_that_was_at_work(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = table(parameter_search.search("sound", params(), data()), tmp_path / "whole")
    monkeypatch.setattr(layout, "SCRATCH", tmp_path / "other")
    began: list[str] = []
    train = trials.run

    def counted(training: Any, *rest: Any, **more: Any) -> None:
        began.append(training.key)
        if len(began) == 2:
            raise KeyboardInterrupt
        train(training, *rest, **more)

    monkeypatch.setattr(trials, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        parameter_search.search("sound", params(), data())
    assert table(parameter_search.search("sound", params(), data()), tmp_path / "again") == whole
    assert began.count(began[0]) == 1, "a finished trial is not run again"
    assert began.count(began[1]) == 2, "the killed one is"
    assert len(began) == 1 + 3 + 2
    parameter_search.search("sound", params(), data())
    assert len(began) == 6, "all are kept"
    assert not [path for path in layout.tuning_scratch("sound").iterdir() if path.is_dir()], "no checkpoint is left"


def test_a_trial_that_diverges_is_lost_and_says_why(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scaled, "search", {"scale": (0.0, 1.0), "optimizer.lr": (1e-3, 1e-2)})
    made = parameter_search.search("sound", params(tune={**TUNE, "trials": 4, "eta": 4}), data())
    assert {trial.setting["scale"] for trial in made.trials if trial.state == "lost"} == {0.0}
    assert {trial.setting["scale"] for trial in made.trials if trial.state == "finished"} == {1.0}
    lines = [line for line in table(made, tmp_path / "out") if "lost" in line]
    assert len(lines) == 2
    assert all("Method 'sound' diverged: loss is nan at step 0 of 2" in ",".join(line) for line in lines)


def test_a_setting_that_the_method_refuses_is_lost(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(Scaled):
        def __init__(self, params, encoder, data):
            super().__init__(params, encoder, data)
            if params.scale != 1:
                raise UserError(f"a scale of {params.scale} does not work here.")

    plugin = Plugin("sound", "under:test", "under-test", "0")
    monkeypatch.setattr(parameter_search, "untuned", lambda name: Contestant(plugin, "0", Picky, Picky.Params()))
    made = parameter_search.search("sound", params(tune={**TUNE, "trials": 4, "eta": 4}), data())
    refused = [trial.outcomes for trial in made.trials if trial.state == "lost"]
    assert refused == [[(0, 0.0, None, "a scale of 0.5 does not work here.")]] * 2


def test_where_all_are_lost_the_method_keeps_its_own(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin("sound", "under:test", "under-test", "0")
    monkeypatch.setattr(
        parameter_search, "untuned", lambda name: Contestant(plugin, "0", Scaled, Scaled.Params(scale=0.0))
    )
    fixed = {"sound": {"scale": 0.0}}
    made = parameter_search.search("sound", params(methods=fixed, tune={**TUNE, "trials": 2}), data())
    table(made, tmp_path / "out")
    read_back = summary.read(tmp_path / "out")
    assert read_back is not None
    assert (read_back.chosen, read_back.reason, read_back.gain) == ({}, "all trials were lost", None)
    assert all("scale" not in row.setting for row in read_back.rows), "what params.yaml sets is not searched"


@pytest.mark.parametrize(
    ("labels", "classes", "reason"),
    [
        (np.full(144, -1), 0, "there are no labels"),
        (np.zeros(144, int), 1, "all labelled training images are of one class"),
        (np.repeat([-1, 0, 1], [96, 24, 24]), 2, "no training image has a label"),
        (np.r_[np.arange(96) % 2, np.full(48, -1)], 2, "no validation image has a label"),
    ],
)
def test_without_labels_nothing_is_tuned(data: Any, labels: Any, classes: int, reason: str, tmp_path: Path) -> None:
    made = parameter_search.search("sound", params(), data(labels, classes))
    assert made == result.Tuning(reason=reason)
    result.write(made, tmp_path)
    read_back = summary.read(tmp_path)
    assert read_back == summary.Summary(reason, {}, None)


def test_rows_of_one_method_get_the_same_trials(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scaled, "search", {"scale": tuple(range(1, 101))})
    monkeypatch.setattr(parameter_search.halving, "halve", lambda settings, plan, measure: settings)
    first, twin, other = (
        parameter_search.search(name, params(tune={**TUNE, "trials": 9, "seed": seed}), data()).trials
        for name, seed in (("sound", 0), ("twin", 0), ("sound", 1))
    )
    assert first == twin != other


def test_trainings_take_what_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin("sound", "under:test", "under-test", "0")
    monkeypatch.setattr(arguments, "untuned", lambda name: Contestant(plugin, "0", Scaled, Scaled.Params(), row=name))
    assert arguments.contestant("sound").params == Scaled.Params(), "there is no plan"
    layout.PLAN.parent.mkdir(parents=True)
    layout.PLAN.write_text(json.dumps({"sound": {}}))
    with pytest.raises(UserError, match="Run the tune stage"):
        arguments.contestant("sound")
    layout.tuned("sound").mkdir()
    (layout.tuned("sound") / layout.CHOSEN).write_text('{"scale": 0.5, "optimizer.lr": 0.01, "batch_size": 32}')
    tuned = arguments.contestant("sound").params
    assert (tuned.scale, tuned.optimizer.lr, tuned.batch_size) == (0.5, 0.01, 32)
    assert arguments.contestant("random").params == Scaled.Params(), "a control is never tuned"


def test_without_trials_the_stage_writes_that_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.PLAN.parent.mkdir(parents=True)
    layout.PLAN.write_text(json.dumps(search_space.plan(params(tune={}))))
    monkeypatch.setattr("sys.argv", ["tune", "sound"])
    tune.main()
    assert capsys.readouterr().out == "sound: not tuned, tune.trials is 0\n"
    assert [path.name for path in layout.tuned("sound").iterdir()] == [layout.CHOSEN]
    assert json.loads((layout.tuned("sound") / layout.CHOSEN).read_text()) == {}
    assert summary.read(layout.tuned("sound")) is None

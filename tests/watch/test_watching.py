"""Monitoring does not change a training, and warns when something is wrong."""

import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest

from pretextbench import params, registry
from pretextbench.data.prepared import CLASSES, LABELS, Prepared
from pretextbench.errors import UserError
from pretextbench.params import Augment, EncoderParams, Pretrain
from pretextbench.project.progress import Progress
from pretextbench.track import spool
from pretextbench.train import pretrain
from pretextbench.train.budget import Job
from pretextbench.watch import Notes, Watching
from stages.augment import derive
from tests.leaks import written

SIDE = 32
LOOP = Pretrain(images=96, batch_size=16, precision="fp32", accelerator="cpu", log_every=2, checkpoint_seconds=0)
ALL = params.Watch(epochs=0.1, share=1.0, knn=0.1)
METHODS = ["simclr", "rotation", "denoising", "context-encoder", "colorization", "supervised", "random"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Images of two classes that are easy to separate, so that nothing collapses at once."""
    folder, draw = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    images = {s: draw.integers(0, 256, (48, SIDE, SIDE, 3), np.uint8) for s in ("train", "val")}
    written(folder / "images", images)
    (folder / "labels").mkdir()
    np.save(folder / "labels" / LABELS, np.arange(96) % 2)
    (folder / "labels" / CLASSES).write_text('["a", "b"]')
    return Prepared(folder / "images", folder / "labels")


def job(name: str, data: Prepared, **changes: object) -> Job:
    method = registry.load(name)
    own = method.Params()
    loop = LOOP.model_copy(update=changes)
    derived = derive(method, own, data, Augment(derive_images=20))
    plugin, recipe = registry.find(name), method.recipe(own, SIDE)
    return Job(plugin, "0", method, own, EncoderParams(width=4), loop, recipe, derived, 0)


def watching(data: Prepared, root: Path, limits: params.Watch = ALL, labels: bool = True) -> Watching:
    places = root / "progress.json", root / "live"
    made = Watching(limits, data, *places, "flowers", root, data if labels else None)
    if limits is ALL:  # the looks of so small a training would never keep to a share of its time
        made._affordable = lambda _: True  # type: ignore[method-assign]
    return made


def train(work: Job, data: Prepared, root: Path, watch: Watching | None = None) -> dict[str, bytes]:
    pretrain.pretrain(work, data, root / "out", root / "scratch", show=False, observer=watch)
    return {path.name: path.read_bytes() for path in sorted((root / "out").iterdir())}


@pytest.mark.parametrize("name", METHODS)
def test_the_same_bytes_come_out_with_and_without_monitoring(name: str, data: Prepared, tmp_path: Path) -> None:
    work = job(name, data)
    alone = train(work, data, tmp_path / "alone")
    watched = train(work, data, tmp_path / "watched", watching(data, tmp_path))
    same = ("encoder.safetensors", "health.json", "samples.png")
    assert [alone[file] for file in same] == [watched[file] for file in same]
    losses = [
        [[field for i, field in enumerate(row.split(",")) if i not in (2, 3)] for row in text.decode().splitlines()]
        for text in (alone["history.csv"], watched["history.csv"])
    ]
    assert losses[0] == losses[1]
    if name != "random":
        content = spool.read(tmp_path / "live")
        assert {"train/loss", "train/lr", "monitor/knn"} <= {point[0] for point in content.points}
        assert [point[1] for point in content.points if point[0] == "monitor/knn"] == [0, 2, 4, 6]
        assert content.finished
        assert len(content.pictures) == 2  # after steps 2 and 4: the last check is the output's


def test_the_file_for_the_table_has_all_its_fields(data: Prepared, tmp_path: Path) -> None:
    train(job("rotation", data), data, tmp_path, watching(data, tmp_path, params.Watch(share=0), labels=False))
    content = json.loads((tmp_path / "progress.json").read_text())
    kinds = {"step": int, "steps": int, "images_per_second": float, "loss": float, "seconds_left": float}
    assert {name: type(content[name]) for name in kinds} == kinds
    assert (content["step"], content["steps"], content["seconds_left"]) == (6, 6, 0.0)
    assert abs(content["updated"] - time.time()) < 600
    assert isinstance(content["notes"], list)
    assert Progress.read(tmp_path / "progress.json", time.time() - 600) is not None  # as the live table reads it
    assert not spool.read(tmp_path / "live").pictures  # no share of the time, no look


def test_labels_stay_closed_unless_k_nn_is_watched(data: Prepared, tmp_path: Path) -> None:
    closed = Prepared(data._labels.parent / "images") if data._labels else data
    train(job("rotation", closed), closed, tmp_path, watching(closed, tmp_path, labels=False))
    assert "monitor/knn" not in {point[0] for point in spool.read(tmp_path / "live").points}
    assert not json.loads((tmp_path / "out/encoder.json").read_text())["monitored"]
    train(job("rotation", data), data, tmp_path / "on", watching(data, tmp_path / "on"))
    assert json.loads((tmp_path / "on/out/encoder.json").read_text())["monitored"]


def test_an_error_of_the_monitoring_costs_one_line(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the pen is broken")

    monkeypatch.setattr("pretextbench.watch.draw", broken)
    alone = train(job("rotation", data), data, tmp_path / "alone")
    with caplog.at_level(logging.WARNING):
        made = train(job("rotation", data), data, tmp_path / "watched", watching(data, tmp_path))
    assert made["encoder.safetensors"] == alone["encoder.safetensors"]
    assert [line for line in caplog.messages if "the pen is broken" in line] == [
        "This training is not monitored any more (RuntimeError: the pen is broken). It goes on."
    ]


def test_its_time_is_not_the_trainings(data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 1e6, 1.0))  # every question costs a second
    monkeypatch.setattr("pretextbench.train.loop.time.perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr("pretextbench.watch.Watching._measure", lambda *_: [next(clock) for _ in range(500)] and None)
    train(job("rotation", data), data, tmp_path, watching(data, tmp_path, params.Watch(share=0, knn=0.1)))
    assert json.loads((tmp_path / "out/encoder.json").read_text())["seconds"] < 100


def test_a_training_that_diverges_says_so(data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretextbench.train.loop import Training

    real = Training.advance
    broken = lambda self, *arguments: {name: value * float("nan") for name, value in real(self, *arguments).items()}  # noqa: E731
    monkeypatch.setattr(Training, "advance", broken)
    with pytest.raises(UserError, match="diverged"):
        train(job("rotation", data), data, tmp_path, watching(data, tmp_path))
    assert "diverged" in (spool.read(tmp_path / "live").failed or "")


def test_a_symptom_is_reported_once_and_not_early_and_goes_when_it_is_cured() -> None:
    notes = Notes("simclr-0")
    assert notes.check(0.1, ["the projection collapsed: standard deviation 0.01 of a healthy 1"]) == []
    fresh = notes.check(0.3, ["the projection collapsed: standard deviation 0.01 of a healthy 1"])
    assert fresh == ["simclr-0: the projection collapsed: standard deviation 0.01 of a healthy 1"]
    assert notes.check(0.4, ["the projection collapsed: standard deviation 0.02 of a healthy 1"]) == []
    assert notes.all == ["the projection collapsed: standard deviation 0.02 of a healthy 1"]
    assert notes.check(0.5, []) == []
    assert notes.all == []


@pytest.mark.parametrize(
    ("accuracies", "warning"),
    [
        ([0.2, 0.3, 0.4, 0.5, 0.6], None),
        ([0.2, 0.5, 0.4, 0.4], None),  # twice worse may be chance
        ([0.2, 0.5, 0.4, 0.45, 0.5], "stopped improving: 50.0% at step 10"),
        ([0.4, 0.3, 0.2, 0.3], "worse than with the untrained encoder: 30.0% against 40.0%"),
    ],
)
def test_k_nn_that_does_not_improve_is_warned_of(accuracies: list[float], warning: str | None) -> None:
    notes, fresh = Notes("simclr-0"), []
    for i, accuracy in enumerate(accuracies):
        fresh += notes.knn(10 * i, accuracy)
    assert len(fresh) == (warning is not None)
    assert warning is None or warning in fresh[0]
    assert notes.changed() == (warning is not None)
    assert not notes.changed()

"""What a training keeps until its outputs are safe: killed after the last step, it is copied and not trained again."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from pretextbench import registry
from pretextbench.base import files
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams, Pretrain
from pretextbench.train import checkpoint, pretrain
from pretextbench.train.budget import Job
from tests.leaks import written

LOOP = Pretrain(images=64, batch_size=16, precision="fp32", accelerator="cpu", log_every=2, checkpoint_seconds=0)


class Killed(BaseException):
    """The process ends here. Not an Exception: nothing may handle it."""


@pytest.fixture
def data(tmp_path: Path) -> Prepared:
    draw = np.random.default_rng(0)
    return written(tmp_path / "images", {s: draw.integers(0, 256, (40, 16, 16, 3), np.uint8) for s in ("train", "val")})


def job(images: int = 64, seed: int = 0, name: str = "rotation") -> Job:
    method = registry.load(name)
    params, loop = method.Params(), LOOP.model_copy(update={"images": images})
    return Job(
        registry.find(name),
        "0",
        method,
        params,
        EncoderParams(width=4),
        loop,
        method.recipe(params, 16),
        {},
        seed,
    )


def train(work: Job, data: Prepared, root: Path) -> dict[str, bytes]:
    pretrain.pretrain(work, data, root / "out", root / "scratch", show=False)
    return {path.name: path.read_bytes() for path in sorted((root / "out").iterdir())}


def no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object) -> None:
        raise AssertionError("it trains again")

    monkeypatch.setattr(pretrain, "run", step)


def test_killed_when_the_output_is_written_the_next_call_writes_the_same_bytes_without_a_step(
    tmp_path: Path, data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as planted:
        planted.setattr(pretrain.shutil, "copy", killed)
        with pytest.raises(Killed):
            train(job(), data, tmp_path)
    assert not (tmp_path / "out").exists()
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("scratch/*/*/finished/*")}
    assert list((tmp_path / "scratch").rglob("checkpoint.pt")) == []
    no_step(monkeypatch)
    for _ in range(2):  # DVC deletes the output, and the one after it too
        assert train(job(), data, tmp_path) == kept
        files.shutil.rmtree(tmp_path / "out")
    snapshots = {"snapshot-000000001.safetensors", "snapshot-000000002.safetensors"}
    assert {"encoder.safetensors", "encoder.json", "history.csv", "samples.png", "health.json"} | snapshots == set(kept)


def test_killed_while_it_is_kept_the_next_call_goes_on_from_the_last_checkpoint(
    tmp_path: Path, data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(job(), data, tmp_path / "whole")
    with monkeypatch.context() as planted:
        planted.setattr(pretrain, "write_diagnosis", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            train(job(), data, tmp_path / "cut")
    assert list((tmp_path / "cut/scratch").rglob("finished")) == []
    again = train(job(), data, tmp_path / "cut")
    same = ("encoder.safetensors", "samples.png", "health.json")
    assert [again[name] for name in same] == [whole[name] for name in same]


def test_once_forgotten_it_trains_again(tmp_path: Path, data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    train(job(), data, tmp_path)
    (kept,) = checkpoint.finished(tmp_path / "scratch/rotation-0")
    assert checkpoint.same_files(kept, tmp_path / "out")
    checkpoint.forget(kept)
    assert list((tmp_path / "scratch/rotation-0").iterdir()) == []
    no_step(monkeypatch)
    with pytest.raises(AssertionError, match="it trains again"):
        train(job(), data, tmp_path)


def test_other_parameters_take_the_place_of_what_was_kept_and_other_seeds_do_not(
    tmp_path: Path, data: Prepared
) -> None:
    for work in (job(), job(seed=1), job(images=32)):
        train(work, data, tmp_path)
    kept = {path.relative_to(tmp_path / "scratch").parts[0] for path in tmp_path.glob("scratch/*/*/finished")}
    assert kept == {"rotation-0", "rotation-1"}
    (latest,) = checkpoint.finished(tmp_path / "scratch/rotation-0")
    assert json.loads((latest / "encoder.json").read_text())["images_seen"] == 32


@pytest.mark.parametrize("change", ["bytes", "missing", "more", "empty"])
def test_folders_of_other_files_are_not_the_same(change: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).write_text(name)
    assert checkpoint.same_files(one, other)
    if change == "bytes":
        (other / "a").write_text("c")
    if change == "missing":
        (other / "a").unlink()
    if change == "more":
        (one / "c").write_text("c")
    if change == "empty":
        for path in (*one.iterdir(), *other.iterdir()):
            path.unlink()
    assert not checkpoint.same_files(one, other)
    assert not checkpoint.same_files(one, tmp_path / "nothing")


def test_a_method_that_needs_colour_is_refused_on_grey_images_before_it_is_built(
    tmp_path: Path, data: Prepared
) -> None:
    splits = {split: np.repeat(data.images(split)[..., :1], 3, axis=-1) for split in data.splits}
    grey = written(tmp_path / "grey", splits)
    assert data.colour
    assert not grey.colour
    with pytest.raises(UserError, match="'colorization' needs images in colour"):
        train(job(name="colorization"), grey, tmp_path)
    assert list(tmp_path.glob("out")) == []


@pytest.mark.parametrize(("train", "count"), [([-1, -1], 0), ([1, 1, -1], 1), ([0, 1, -1], 2)])
def test_a_control_needs_labels_of_two_classes_among_the_training_images(train: list[int], count: int) -> None:
    """The names of classes do not count: labels may lie in validation and test alone."""
    facts = {"image_size": 16, "mean": (0.5,) * 3, "std": (0.2,) * 3, "classes": ["cat", "dog"]}
    data = SimpleNamespace(**facts, images=lambda split: train, labels=lambda split: np.array(train))
    if count == 2:
        assert pretrain.facts(cast(Prepared, data), job(name="supervised")).classes == 2
        return
    with pytest.raises(UserError, match=rf"labels of at least two classes, found {count} in the training images"):
        pretrain.facts(cast(Prepared, data), job(name="supervised"))


@pytest.mark.parametrize(("length", "budget"), [({"images": 64}, 64), ({"images": None, "epochs": 2}, 200)])
def test_a_method_is_told_batch_parts_and_budget(length: dict[str, float | None], budget: int) -> None:
    """As by the inventory: what its constructor refuses there, it refuses in its training too."""
    shape = {"image_size": 16, "mean": (0.5,) * 3, "std": (0.2,) * 3, "classes": []}
    data = SimpleNamespace(**shape, images=lambda split: [0] * 100, labels=lambda split: np.zeros(100))
    loop = {"batch_size": 24, "accumulate": 2, "devices": 3, **length}
    work = replace(job(), pretrain=LOOP.model_copy(update=loop))
    facts = pretrain.facts(cast(Prepared, data), work)
    assert (facts.batch, facts.part, facts.accumulate, facts.budget) == (24, 4, 2, budget)

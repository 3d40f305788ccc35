"""Encoders kept along a training: they change nothing of it, and a kill at any moment leaves them as they are."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from pretextbench import registry
from pretextbench.data.prepared import Prepared
from pretextbench.params import EncoderParams, Pretrain
from pretextbench.train import encoder_folder, pretrain
from pretextbench.train.budget import Job
from pretextbench.train.history import Log
from pretextbench.train.loop import Training
from tests.leaks import written

BATCH, SIDE, STEPS = 8, 16, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    draw, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "images"
    return written(folder, {s: draw.integers(0, 256, (40, SIDE, SIDE, 3), np.uint8) for s in ("train", "val")})


def job(name: str = "simclr", steps: int = STEPS, **further: Any) -> Job:
    method = registry.load(name)
    own, loop = method.Params(), {"batch_size": BATCH, "precision": "fp32", "accelerator": "cpu", **further}
    made = Pretrain.model_validate({"images": steps * BATCH, "checkpoint_seconds": 0, "log_every": 1, **loop})
    return Job(registry.find(name), "0", method, own, EncoderParams(width=4), made, method.recipe(own, SIDE), {}, 0)


def train(made: Job, data: Prepared, root: Path) -> dict[str, bytes]:
    pretrain.pretrain(made, data, root / "out", root / "scratch", show=False)
    return {path.name: path.read_bytes() for path in sorted((root / "out").iterdir())}


def weights(files: dict[str, bytes]) -> dict[str, bytes]:
    """The encoders among the files: of the end and of the snapshots."""
    return {name: content for name, content in files.items() if name.endswith(".safetensors")}


def test_they_are_kept_at_their_shares_of_the_steps_and_change_nothing(data: Prepared, tmp_path: Path) -> None:
    """Rows are written at every third step, and snapshots between them."""
    with_them = train(job(log_every=3), data, tmp_path / "with")
    without = train(job(log_every=3, snapshots=[]), data, tmp_path / "without")
    kept = {"snapshot-000000002.safetensors", "snapshot-000000004.safetensors"}
    assert weights(with_them).keys() - weights(without).keys() == kept
    assert with_them["encoder.safetensors"] == without["encoder.safetensors"]
    losses = [
        [line.split(",")[5] for line in files["history.csv"].decode().splitlines()] for files in (with_them, without)
    ]
    assert losses[0][0] == "loss"
    assert losses[0] == losses[1]
    card = encoder_folder.read_card(tmp_path / "with/out")
    assert card.snapshots == (2, 4)
    assert encoder_folder.read_card(tmp_path / "without/out").snapshots == ()
    assert [images for images, _ in encoder_folder.snapshots(tmp_path / "with/out")] == [2 * BATCH, 4 * BATCH]


def test_a_snapshot_is_the_encoder_after_that_step(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, after = Training.advance, dict[int, bytes]()

    def advance(training: Training, *batch: Any) -> Any:
        values = real(training, *batch)
        after[training.step + 1] = encoder_folder.as_bytes(training.method.encoder)
        return values

    monkeypatch.setattr(Training, "advance", advance)
    files = train(job(), data, tmp_path)
    assert files["snapshot-000000002.safetensors"] == after[2]
    assert files["snapshot-000000004.safetensors"] == after[4]
    assert files["encoder.safetensors"] == after[STEPS]
    assert len(set(after.values())) == STEPS


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 6])
def test_a_kill_around_them_changes_no_byte(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Checkpoints are written with the rows of every third step: before, between and after the snapshots."""
    whole = train(job(log_every=3), data, tmp_path / "whole")
    real = Training.advance

    def killed(training: Training, *batch: Any) -> Any:
        if training.step == stop:
            raise KeyboardInterrupt
        return real(training, *batch)

    with monkeypatch.context() as planted:
        planted.setattr(Training, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            train(job(log_every=3), data, tmp_path / "cut")
    assert weights(train(job(log_every=3), data, tmp_path / "cut")) == weights(whole)
    scratch = {path.name for path in (tmp_path / "cut/scratch/simclr-0").glob("*/*")}
    assert scratch == {"finished"}, "snapshots are left behind"


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"name": "random"}, []),
        ({"steps": 1}, []),
        ({"steps": 2}, [1]),
        ({"steps": 100, "snapshots": [0.5, 0.501, 0.04]}, [4, 50]),
    ],
)
def test_no_snapshot_is_the_start_or_the_end(settings: dict[str, Any], steps: list[int], data: Prepared) -> None:
    made = job(**settings)
    facts = pretrain.facts(data, made)
    assert Training(made, facts, pretrain.start_fabric(made.pretrain)).snapshots == steps


def test_keeping_draws_no_random_number(data: Prepared) -> None:
    training = Training(job(), pretrain.facts(data, job()), pretrain.start_fabric(job().pretrain))
    states = torch.get_rng_state(), np.random.get_state()[1]
    encoder_folder.as_bytes(training.method.encoder)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()


def test_its_time_is_not_part_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 13.0, 20.0])  # start, then around the call
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    log = Log(cast(Training, SimpleNamespace(step=0, fabric=SimpleNamespace(device=torch.device("cpu")))))
    log.leave_out(lambda: None)
    assert log.since == 10.0 + 7.0

"""Checkpoints: what goes in comes out bitwise, a failed save keeps the old one, and no code runs on loading."""

import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from pretextbench.base import files
from pretextbench.errors import UserError
from pretextbench.train.checkpoint import Checkpoint


def state(step: int) -> dict[str, object]:
    torch.manual_seed(step)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.rand(5, 3)).square().sum().backward()
    optimizer.step()
    return {
        "step": step,
        "seconds": 1.25,
        "history": [{"step": 1.0, "loss": 0.5}],
        "method": network.state_dict(),
        "optimizers": [optimizer.state_dict()],
    }


def flat(value: object) -> list[object]:
    """Leaves in order, tensors as (dtype, bytes)."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in (key, *flat(value[key]))]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flat(item)]
    return [(value.dtype, value.numpy().tobytes())] if isinstance(value, torch.Tensor) else [value]


def test_what_goes_in_comes_out_bitwise(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(state(3))
    assert flat(checkpoint.load()) == flat(state(3))


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "run").load() is None


def test_a_save_replaces_and_remove_forgets(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(state(1))
    checkpoint.save(state(2))
    loaded = checkpoint.load()
    assert loaded is not None
    assert loaded["step"] == 2
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint.pt"]
    checkpoint.remove()
    assert checkpoint.load() is None
    assert list(tmp_path.iterdir()) == []
    checkpoint.remove()  # twice is no mistake


def test_a_full_disk_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(state(1))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match=r"checkpoint\.pt: no space left"):
        checkpoint.save(state(2))
    assert flat(checkpoint.load()) == flat(state(1))


class Burglar:
    """Pickles into a call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch burgled",)


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.file.parent.mkdir()
    torch.save({"step": Burglar()}, checkpoint.file)
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        checkpoint.load()
    assert not (tmp_path / "burgled").exists()

"""The budget in images seen, and the key that names everything a training run depends on."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pretextbench.errors import UserError
from pretextbench.methods.controls import Supervised, SupervisedParams
from pretextbench.params import EncoderParams, OptimizerParams, Pretrain
from pretextbench.project import settings
from pretextbench.recipe import HorizontalFlip, Recipe, augmented
from pretextbench.registry import Plugin
from pretextbench.train import budget as budgets
from pretextbench.train.budget import Budget, Job, budget

PLUGIN = Plugin("ours", "pretext_ours:Ours", "pretext-ours", "1.0")


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "plugin": PLUGIN,
        "source_hash": "abc",
        "method": Supervised,
        "params": SupervisedParams(),
        "encoder": EncoderParams(),
        "pretrain": Pretrain(),
        "recipe": Recipe(),
        "derived": {},
        "seed": 0,
    }
    return Job(**(fields | changes))


def pretrain(**changes: Any) -> Job:
    return job(pretrain=Pretrain(**changes))


# --- how far a run goes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "train", "steps"),
    [
        ({"images": 1000, "batch_size": 100}, 500, 10),
        ({"images": 1049, "batch_size": 100}, 500, 10),
        ({"images": 1051, "batch_size": 100}, 500, 11),
        ({"images": 1, "batch_size": 100}, 500, 1),  # one step at least
        ({"images": None, "epochs": 2, "batch_size": 100}, 500, 10),
        ({"images": None, "epochs": 0.5, "batch_size": 100}, 500, 2),  # 2.5 rounds to the even
        ({"images": None, "epochs": 3, "batch_size": 7}, 10, 4),  # 30 / 7 = 4.3
        ({"images": None, "epochs": 1e-6, "batch_size": 100}, 500, 1),
        ({"images": 1000, "batch_size": 500}, 500, 2),  # a batch as large as the split
    ],
)
def test_steps_are_the_budget_over_the_batch(settings: dict[str, Any], train: int, steps: int) -> None:
    result = budget(pretrain(**settings), train)
    assert result == Budget(settings["batch_size"], steps)
    assert result.images == settings["batch_size"] * steps


def test_a_method_may_ask_for_its_own_batch_and_sees_as_many_images() -> None:
    asked = job(params=SupervisedParams(batch_size=50), pretrain=Pretrain(images=1000, batch_size=100))
    assert budget(asked, 500) == Budget(50, 20)
    assert budget(asked, 500).images == budget(pretrain(images=1000, batch_size=100), 500).images


def test_a_batch_larger_than_the_split_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"batch of 100 images .* 'ours', but .* has 99\. Lower .* to at most 99, or add"
    ):
        budget(pretrain(batch_size=100), 99)


@pytest.mark.parametrize(
    ("accumulate", "devices", "nodes", "parts"), [(3, 1, 1, 3), (1, 3, 1, 3), (1, 1, 3, 3), (4, 2, 1, 8), (2, 2, 2, 8)]
)
def test_a_batch_that_does_not_divide_is_refused(accumulate: int, devices: int, nodes: int, parts: int) -> None:
    with pytest.raises(UserError, match=f"100 images does not divide into {parts} equal parts .* multiple of {parts}"):
        budget(pretrain(batch_size=100, accumulate=accumulate, devices=devices, nodes=nodes), 500)
    assert budget(pretrain(batch_size=24, accumulate=accumulate, devices=devices, nodes=nodes), 500).batch == 24


# --- the key ------------------------------------------------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "method": {"plugin": Plugin("theirs", "pretext_ours:Ours", "pretext-ours", "1.0")},
    "version": {"plugin": Plugin("ours", "pretext_ours:Ours", "pretext-ours", "1.1")},
    "source": {"source_hash": "abd"},
    "parameter": {"params": SupervisedParams(batch_size=64)},
    "optimizer": {"params": SupervisedParams(optimizer=OptimizerParams(lr=0.5))},
    "encoder": {"encoder": EncoderParams(width=32)},
    "stem": {"encoder": EncoderParams(stem="large")},
    "images": {"pretrain": Pretrain(images=100)},
    "epochs": {"pretrain": Pretrain(images=None, epochs=1)},
    "work": {"pretrain": Pretrain(images=None, multiply_adds=1e9)},
    "snapshots": {"pretrain": Pretrain(snapshots=(0.5,))},
    "batch": {"pretrain": Pretrain(batch_size=128)},
    "accumulate": {"pretrain": Pretrain(accumulate=2)},
    "precision": {"pretrain": Pretrain(precision="bf16")},
    "devices": {"pretrain": Pretrain(devices=2)},
    "nodes": {"pretrain": Pretrain(nodes=2)},
    "clip": {"pretrain": Pretrain(clip=1.0)},
    "recipe": {"recipe": augmented(HorizontalFlip())},
    "probability": {"recipe": augmented(HorizontalFlip(p=0.4))},
    "seed": {"seed": 1},
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_the_weights_changes_the_key(name: str) -> None:
    assert job(**CHANGES[name]).key("data") != job().key("data")


def test_all_those_keys_differ() -> None:
    keys = {job(**changes).key("data") for changes in CHANGES.values()} | {job().key("data"), job().key("other data")}
    assert len(keys) == len(CHANGES) + 2


@pytest.mark.parametrize("package", ["torch", "kornia", "lightning-fabric", "numpy"])
@pytest.mark.parametrize("other", ["0.1", "{}+another.build"])
def test_a_checkpoint_of_other_versions_is_not_continued(
    package: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, installed = job().key("data"), budgets.installed
    now = other.format(installed(package))
    monkeypatch.setattr(budgets, "installed", lambda name: now if name == package else installed(name))
    assert job().key("data") != before


@pytest.mark.parametrize("changes", [{"checkpoint_seconds": 1.0}, {"log_every": 3}, {"resident": "never"}])
def test_how_often_something_is_written_does_not(changes: dict[str, Any]) -> None:
    assert pretrain(**changes).key("data") == job().key("data")


def test_what_was_derived_changes_the_key() -> None:
    """A checkpoint trained under one colour prior must not be continued under another (augment.derive_images)."""
    priors = [job(derived={"prior": torch.tensor([share, 1 - share])}) for share in (0.5, 0.4)]
    assert priors[0].key("data") != priors[1].key("data")


def test_the_key_is_the_same_on_every_machine() -> None:
    assert job().key("data") == job().key("data")
    assert len(job().key("data")) == 16
    assert int(job().key("data"), 16) >= 0


@pytest.mark.parametrize(
    ("edited", "other_key"),
    [
        ("train/batches.py", True),  # the order of the images
        ("base/seed.py", True),
        ("distributed.py", True),
        ("method.py", True),
        ("augment/kernels.py", True),
        ("watch/__init__.py", False),
        ("evaluate/linear.py", False),
    ],
)
def test_an_edit_of_code_that_trains_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str, other_key: bool
) -> None:
    """A checkpoint of other code is not continued: the key names its folder."""
    before = job().key("data")
    library = Path(shutil.copytree(settings.LIBRARY, tmp_path / "library"))
    with (library / edited).open("a") as file:
        file.write("# edited\n")
    monkeypatch.setattr(settings, "LIBRARY", library)
    settings.code_digest.cache_clear()
    try:
        assert (job().key("data") != before) == other_key
    finally:
        settings.code_digest.cache_clear()

"""What the parameters demand of machine and data: refused before anything is trained, all mistakes together."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import Params, Pretrain
from pretextbench.project import demands, layout
from pretextbench.project.inventory import take_stock
from stages import inventory

ENTRIES = {"simclr": {"params": {"batch_size": None}}, "random": {"params": {"batch_size": 64}}}


def prepared(train: int = 100, val: int = 10, colour: bool = True, labels: list[int] | None = None) -> Any:
    """Prepared data, as far as demands ask about them."""
    splits = {"train": np.zeros(train), "val": np.zeros(val)}
    array = np.array(labels or [0])
    return SimpleNamespace(
        images=splits.get, image_size=32, colour=colour, labels=lambda split: array, classes=["cat", "dog"]
    )


@pytest.mark.parametrize(
    ("pretrain", "expected"),
    [
        ({}, []),
        ({"batch_size": 128, "accumulate": 4, "devices": 2}, []),
        (
            {"batch_size": 128, "accumulate": 3},
            ["A batch of 128 images does not divide into 3 equal", "A batch of 64 images does not"],
        ),
        ({"devices": 2, "nodes": 3}, ["divide into 6 equal parts", "divide into 6 equal parts"]),
        ({"batch_size": 10_000}, ["the training split has 6000. Lower"]),
        (
            {"batch_size": 128, "accumulate": 128},
            ["A batch of 128 in 128 part(s) leaves one image", "A batch of 64 images does not divide"],
        ),
    ],
)
def test_batches_divide_into_their_parts(pretrain: dict[str, Any], expected: list[str]) -> None:
    result = list(demands.of_parameters(Params(pretrain=pretrain), ENTRIES))
    assert len(result) == len(expected)
    assert all(part in line for part, line in zip(expected, result, strict=True))


@pytest.mark.parametrize(
    ("given", "named"),
    [(1e9, "less than one training step takes (dino 3e+09): give at least 3000000001,"), (3.1e9, "")],
)
def test_multiply_adds_below_a_step_are_refused_with_the_smallest_that_work(given: float, named: str) -> None:
    lines = list(demands.of_work({"rotation": 10**9, "dino": 3 * 10**9 + 1, "random": 0}, given))
    assert len(lines) == bool(named)
    assert all(named in line and "pretrain.multiply_adds is 1e+09" in line for line in lines)
    assert list(demands.of_work({"rotation": 10**9, "dino": 3 * 10**9 + 1}, 3e9 + 1)) == []


def test_a_second_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    def result(path: Path) -> list[str]:
        return list(demands.of_parameters(Params(transfer={"source": "folder", "path": str(path)}), {}))

    assert result(tmp_path) == []
    (tmp_path / "file").touch()
    for name in ("x", "file"):
        assert "is not a folder. Correct it, or set `source: null`" in result(tmp_path / name)[0]


def test_too_few_images_are_known_from_the_parameters() -> None:
    few = Params(prepare={"synthetic": {"train": 5, "val": 1, "test": 1}, "max_images": 9})
    assert list(demands.of_parameters(few, {})) == [
        "prepare.synthetic.val is 1, and 2 or more images are needed there.",
        "prepare.max_images is 9 images; at least 10 are needed for train, val and test. Raise it.",
        "prepare.synthetic draws, in all, 7 images; at least 10 are needed for train, val and test. Raise it.",
    ]


def test_generated_images_fit_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demands.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**9))
    params = Params(prepare={"image_size": 1024, "synthetic": {"train": 300, "val": 10, "test": 10}})
    assert "the images take 1 GB, and 1 GB are free" in next(demands.of_parameters(params, {}))
    assert list(demands.of_parameters(Params(), {})) == []


@pytest.mark.parametrize(
    ("pretrain", "gpus", "expected"),
    [
        ({}, 0, None),
        ({"accelerator": "gpu"}, 1, None),
        ({"accelerator": "gpu"}, 0, "pretrain.accelerator is 'gpu', but torch finds none here."),
        ({"devices": 4}, 4, None),
        ({"devices": 5}, 4, "pretrain.devices is 5, but torch finds 4 GPU(s) here. Use at most 4."),
        ({"devices": 8, "accelerator": "cpu"}, 4, None),
        ({"devices": 1024}, 0, "pretrain.devices is 1024, and this machine has 2 core(s) and no GPU for them. Use at"),
        ({"devices": 1024, "accelerator": "cpu"}, 1024, "Use at most 8."),
    ],
)
def test_devices_that_are_not_there(
    pretrain: dict[str, Any], gpus: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demands.os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    result = list(demands.of_devices(Pretrain(**pretrain), gpus))
    assert len(result) == bool(expected)
    assert (expected or "") in "".join(result)


def test_the_inventory_asks_this_machine_only_where_the_trainings_run_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory.devices, "available", list)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    wanted = Pretrain(accelerator="gpu")
    assert len(list(inventory._of_machine(wanted))) == 1
    monkeypatch.setenv("PRETEXTBENCH_WORKER", "1")
    assert list(inventory._of_machine(wanted)) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, ["A batch of 128 images is set for method 'simclr', but the training split has 100. Lower"]),
        ({"train": 128}, []),
        ({"train": 128, "val": 1}, ["The validation split has 1 image(s), and 2 or more are needed."]),
        ({"train": 10}, ["for method 'simclr'", "A batch of 64 images is set for method 'random'"]),
    ],
)
def test_what_the_images_show(data: dict[str, Any], expected: list[str]) -> None:
    result = list(demands.of_data(Params(pretrain={"batch_size": 128}), ENTRIES, prepared(**data)))
    assert len(result) == len(expected)
    assert all(part in line for part, line in zip(expected, result, strict=True))


def test_a_method_that_needs_colour_is_refused_on_grey_images() -> None:
    params = Params(compare={"methods": ["colorization", "rotation"]})
    entries = take_stock(params, {})
    assert list(demands.of_data(params, entries, prepared(1000))) == []
    (line,) = demands.of_data(params, entries, prepared(1000, colour=False))
    assert line.startswith("Method 'colorization' needs images in colour, and all training images are grey")


def test_a_budget_that_a_class_cannot_pay_is_a_note() -> None:
    params = Params(evaluate={"budgets": ["5", "20", "1%"], "finetune": ["20", "100%"]})
    assert list(demands.unpayable(params, prepared(labels=[0] * 20 + [1] * 20 + [-1] * 3))) == []
    (note,) = demands.unpayable(params, prepared(labels=[0] * 30 + [1] * 19 + [-1] * 3))
    assert note.startswith("the label budget '20' needs 20 labels per class, and class 'dog' has 19 in the training")
    assert list(demands.unpayable(params, prepared(labels=[-1, -1]))) == []


def test_all_mistakes_are_raised_together() -> None:
    demands.refuse([])
    with pytest.raises(UserError, match=r"^one\ntwo$"):
        demands.refuse(iter(["one", "two", "one"]))


def test_images_that_stay_as_they_are_are_judged_by_the_inventory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a batch that became too large would be refused by its training, after those of other methods."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demands, "of_data", lambda params, entries, data: iter([f"judged {data}"]))
    monkeypatch.setattr("pretextbench.data.prepared.Prepared", lambda images: images.name)
    settings, source = {"prepare": {"seed": 0}}, {"files": {"files": 3}}

    def result() -> list[str]:
        return list(demands.of_current_data(Params(), {}, settings, source))

    assert result() == []  # nothing is committed
    lock = {"params": {"runs/settings.json": settings, "runs/source.json": source}}
    (tmp_path / layout.LOCKFILE).write_text(json.dumps({"stages": {"prepare": lock}}) + "\n")
    assert result() == ["judged images"]
    settings["prepare"] = {"seed": 1}  # they will be prepared anew
    assert result() == []


def test_real_images_are_judged(tmp_path: Path) -> None:
    from pretextbench.data.prepare import prepare

    params = Params(prepare={"image_size": 8, "synthetic": {"train": 20, "val": 5, "test": 5}})
    prepare(params.prepare, tmp_path / "images", tmp_path / "labels")
    data = Prepared(tmp_path / "images", tmp_path / "labels")
    assert len(list(demands.of_data(params, ENTRIES, data))) == 2
    assert [note.partition(" needs")[0] for note in demands.unpayable(params, data)] == [
        "the label budget '5'",
        "the label budget '20'",
    ]

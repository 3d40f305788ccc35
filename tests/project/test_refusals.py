"""What the joint-embedding methods refuse: by the inventory, or, where it needs the images, at the end of `prepare`."""

from typing import Any

import pytest
import torch

from pretextbench import registry
from pretextbench.base.section import parse
from pretextbench.errors import UserError
from pretextbench.params import Params
from pretextbench.parts import PairParams, mlp
from pretextbench.project import demands
from pretextbench.project.inventory import take_stock
from tests.project.test_demands import prepared
from tests.test_contract import METHODS

PLUGINS = registry.available()
BY_VIEW = ["barlow-twins", "byol", "nnclr", "simsiam", "vicreg"]  # their heads normalise one view at a time
WHOLE = ["barlow-twins", "lejepa", "nnclr", "simclr", "swav", "vicreg"]  # each image is compared with the others
CROPS = ["dino", "lejepa", "swav"]  # they take local crops
FEW = "needs at least 3 images at a time, found {}: a batch norm of its head makes -1 and 1 of any two values. Raise"
ONE = "needs at least 2 images in each batch of a process, found 1: it compares the images of a batch. Raise"
PARTS = "compares all images of a batch with each other, and pretrain.accumulate, 2, would make it compare 32 at a time"
CROP = "A local crop of 33 px is larger than the images, which have 32 px. Lower `local_size`"
SHARE = "expected a share of the budget from 0 to 1, and not a number of steps or epochs (found 10)"
NEVER = "of 1217 embeddings, would never be full: 1216 images are seen before the last step. Lower `queue`, or raise"
ALL = "Input should be less than 1 (found 1)"
COUNT = "needs 2 to 100 prototypes, as many as there are training images at most, found 101. Lower `prototypes`"

CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [  # method, its parameters, pretrain, the refusal
    *((name, {}, {"batch_size": n}, FEW.format(n)) for name in BY_VIEW for n in (1, 2)),
    ("vicreg", {"batch_size": 2}, {}, FEW.format(2)),
    ("byol", {}, {"batch_size": 4, "accumulate": 2}, FEW.format(2)),
    *((name, {}, {"batch_size": 1}, ONE) for name in ("dino", "lejepa", "moco", "simclr", "swav")),
    ("moco", {"form": "v3"}, {"batch_size": 2}, FEW.format(2)),
    ("moco", {"norm_groups": 4}, {"batch_size": 7}, "normalises 4 groups of a batch, which needs at least 8 images at"),
    ("moco", {"norm_groups": 4}, {"batch_size": 14, "accumulate": 2}, "at least 8 images at a time, found 7"),
    *((name, {}, {"accumulate": 2}, PARTS) for name in WHOLE),
    ("moco", {"form": "v3"}, {"accumulate": 2}, PARTS),
    *(
        (name, {"queue": 50}, {}, f"The queue of method '{name}', of 50 embeddings, is shorter than a batch of 64")
        for name in ("moco", "nnclr", "swav")
    ),
    ("moco", {"queue": 200, "batch_size": 256}, {}, "of 200 embeddings, is shorter than a batch of 256"),
    *(
        (name, {"queue": 1217}, {"images": 1280}, f"The queue of method '{name}', {NEVER}")
        for name in ("moco", "nnclr", "swav")
    ),
    *((name, {"local_size": 33, "local_views": 1}, {}, f"methods.{name}: {CROP}") for name in CROPS),
    *((name, {"frozen": 10}, {}, f"methods.{name}.frozen: {SHARE}") for name in ("dino", "swav")),
    *((name, {"frozen": 1}, {}, f"methods.{name}.frozen: {ALL}") for name in ("dino", "swav")),
    ("dino", {"teacher_warmup": 10}, {}, f"methods.dino.teacher_warmup: {SHARE}"),
    *(
        (name, {"optimizer": {"warmup": 10}}, {}, f"methods.{name}.optimizer.warmup: {SHARE}")
        for name in ("byol", "rotation")
    ),
    ("byol", {}, {"freeze": 10}, f"pretrain.freeze: {SHARE}"),
]
TAKEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("vicreg", {}, {"batch_size": 4, "devices": 2}),  # batch norms see both processes
    *((name, {}, {"batch_size": 3}) for name in BY_VIEW),
    *((name, {}, {"batch_size": 2}) for name in ("dino", "lejepa", "simclr", "swav")),
    *((name, {}, {"accumulate": 2}) for name in ("byol", "dino", "mae", "moco", "rotation", "simsiam")),
    ("moco", {"queue": 100, "form": "v3"}, {}),
    *((name, {"queue": 1216}, {"images": 1280}) for name in ("moco", "nnclr", "swav")),
    *((name, {}, {"images": 64}) for name in ("moco", "nnclr", "swav")),
    *((name, {"local_size": 32, "local_views": 1}, {}) for name in CROPS),
    ("dino", {"frozen": 0.9, "teacher_warmup": 1, "optimizer": {"warmup": 1}}, {}),
]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins are looked up once, and not for each setting."""
    monkeypatch.setattr(registry, "available", lambda: PLUGINS)


def inventory(name: str, own: dict[str, Any], pretrain: dict[str, Any], **sections: Any) -> tuple[Params, Any]:
    """What `pretextbench run` asks first, of one method."""
    encoder = {"name": "vit-tiny", "depth": 1} if name == "mae" else {"width": 4}
    raw = {"compare": {"methods": [name], "controls": []}, "methods": {name: own}, "pretrain": pretrain, **sections}
    params = parse(Params, {"encoder": encoder, **raw}, "params.yaml")
    entries = take_stock(params, {})
    demands.refuse(demands.of_parameters(params, entries))
    return params, entries


@pytest.mark.parametrize(("name", "own", "pretrain", "message"), CASES)
def test_a_setting_that_would_change_a_method_is_refused_in_one_sentence(
    name: str, own: dict[str, Any], pretrain: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        inventory(name, own, pretrain)
    line = str(caught.value).removeprefix("params.yaml has 1 mistake:\n  ")
    assert message in line
    assert "\n" not in line
    assert name in line or "pretrain." in line


@pytest.mark.parametrize(("name", "own", "pretrain"), TAKEN)
def test_settings_next_to_the_limit_are_taken(name: str, own: dict[str, Any], pretrain: dict[str, Any]) -> None:
    assert set(inventory(name, own, pretrain)[1]) == {name}


@pytest.mark.parametrize(
    ("name", "own", "pretrain", "message"),
    [
        ("swav", {"prototypes": 101}, {}, COUNT),
        ("dino", {"prototypes": 101}, {}, COUNT),
        (
            "swav",
            {"queue": 200},
            {"images": None, "epochs": 2},
            "200 embeddings, would never be full: 180 images",
        ),
    ],
)
def test_what_needs_the_number_of_images_is_refused_when_they_are_prepared(
    name: str, own: dict[str, Any], pretrain: dict[str, Any], message: str
) -> None:
    """And not by its training, which may come after those of other methods."""
    folder = {"prepare": {"source": "folder", "path": "photos"}}
    params, entries = inventory(name, own, {"batch_size": 20, **pretrain}, **folder)
    (line,) = demands.of_data(params, entries, prepared())
    assert message in line
    assert list(demands.of_data(params, entries, prepared(111))) == []


def test_of_two_images_a_heads_batch_norm_lets_no_gradient_through() -> None:
    """Why three are asked for: of two, the first norm makes -1 and 1, and features of any other value do the same."""

    def gradient(images: int) -> float:
        torch.manual_seed(0)
        head, features = mlp(32, 64, 16), torch.randn(images, 32, requires_grad=True)
        (head(features) * torch.randn(images, 16)).sum().backward()
        return float(features.grad.norm())

    assert gradient(2) < 0.05 * gradient(3)


def test_every_method_of_two_views_has_a_case_here() -> None:
    pairs = {name for name in METHODS if issubclass(registry.load(name).Params, PairParams)}
    assert pairs == {name for name, _, pretrain, _ in CASES if pretrain.get("batch_size") == 1}

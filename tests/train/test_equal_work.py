"""A budget in multiply-adds: as many images as a method's own count allows, and the training of so many images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretextbench import registry
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import Compare, EncoderParams, Params, Pretrain
from pretextbench.project.inventory import Entry, take_stock
from pretextbench.train import pretrain, work
from pretextbench.train.budget import Job
from pretextbench.train.encoder_folder import Card, read_card
from stages import inventory
from tests.leaks import written

BATCH, SIDE = 8, 16
WIDTH = EncoderParams(width=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    draw, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    return written(
        folder / "images", {s: draw.integers(0, 256, (40, SIDE, SIDE, 3), np.uint8) for s in ("train", "val")}
    )


def job(name: str, **budget: float | None) -> Job:
    method = registry.load(name)
    own, loop = (
        method.Params(),
        {"batch_size": BATCH, "precision": "fp32", "accelerator": "cpu", "checkpoint_seconds": 0},
    )
    made = Pretrain.model_validate({"images": None, **loop, **budget})
    return Job(registry.find(name), "0", method, own, WIDTH, made, method.recipe(own, SIDE), {}, 0)


def train(made: Job, data: Prepared, root: Path) -> tuple[Card, bytes]:
    card = pretrain.pretrain(made, data, root / "out", root / "scratch", show=False)
    return card, (root / "out" / "encoder.safetensors").read_bytes()


def rotation_by_hand() -> int:
    """Multiply-adds of an image: four passes through a ResNet-10 of width 4 at 16 px, and a layer to four classes."""
    stem, blocks, side, channels = 9 * 3 * 4 * SIDE**2, 0, SIDE, 4
    for out in (4, 8, 16, 32):
        side = side if out == 4 else side // 2
        blocks += (9 * channels * out + 9 * out * out) * side**2
        blocks += channels * out * side**2 if channels != out else 0  # of the shortcut
        channels = out
    return 4 * (stem + blocks + 32 * 4)


def test_the_work_of_an_image_is_that_by_hand(data: Prepared, tmp_path: Path) -> None:
    card, _ = train(job("rotation", images=BATCH), data, tmp_path)
    assert card.training_multiply_adds == rotation_by_hand()


@pytest.mark.parametrize(("steps", "rounded"), [(1.0, 1), (2.4, 2), (2.6, 3)])
def test_a_budget_of_work_is_the_training_of_the_nearest_number_of_whole_steps(
    data: Prepared, tmp_path: Path, steps: float, rounded: int
) -> None:
    given = steps * BATCH * rotation_by_hand()
    card, weights = train(job("rotation", multiply_adds=given), data, tmp_path / "work")
    plain, same = train(job("rotation", images=rounded * BATCH), data, tmp_path / "images")
    assert (card.steps, card.images_seen, card.budget_multiply_adds) == (rounded, rounded * BATCH, given)
    assert weights == same, "the count has changed the training"
    assert (plain.budget_multiply_adds, read_card(tmp_path / "images/out").budget_multiply_adds) == (None, None)
    assert read_card(tmp_path / "work/out") == card


def test_dear_methods_see_fewer_images_of_equal_work(data: Prepared, tmp_path: Path) -> None:
    given = 8.0 * BATCH * rotation_by_hand()
    cards = {name: train(job(name, multiply_adds=given), data, tmp_path / name)[0] for name in ("rotation", "simclr")}
    for card in cards.values():
        step = BATCH * card.training_multiply_adds
        assert abs(card.images_seen * card.training_multiply_adds - given) <= step / 2
    assert 1.5 < cards["simclr"].images_seen / cards["rotation"].images_seen < 2.5, "two passes against four"
    idle = train(job("random", multiply_adds=given), data, tmp_path / "random")[0]
    assert (idle.images_seen, idle.steps, idle.training_multiply_adds) == (0, 0, 0)


def test_less_than_a_step_is_refused_before_anything_is_trained(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "run", lambda *_: pytest.fail("it trains"))
    step = BATCH * rotation_by_hand()
    with pytest.raises(UserError, match=rf"less than one training step takes \(rotation .*: give at least {step},"):
        train(job("rotation", multiply_adds=step - 1), data, tmp_path)
    assert not (tmp_path / "out").exists()


def test_it_survives_a_kill_to_the_bit(data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job("rotation", multiply_adds=6.0 * BATCH * rotation_by_hand(), log_every=1)
    whole = train(made, data, tmp_path / "whole")[1]
    real = pretrain.Training.advance

    def killed(training: pretrain.Training, *batch: object) -> object:
        if training.step == 4:
            raise KeyboardInterrupt
        return real(training, *batch)  # type: ignore[arg-type]

    with monkeypatch.context() as planted:
        planted.setattr(pretrain.Training, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            train(made, data, tmp_path / "cut")
    assert len(list((tmp_path / "cut").rglob("checkpoint.pt"))) == 1
    assert train(made, data, tmp_path / "cut")[1] == whole


# --- what the inventory refuses -----------------------------------------------------------------------------------


def stock(given: float, known: dict[str, Entry] | None = None, **methods: dict[str, object]) -> dict[str, Entry]:
    """What `pretextbench run` asks first."""
    params = Params.model_validate(
        {
            "prepare": {"image_size": SIDE},
            "encoder": {"width": 4},
            "pretrain": {"images": None, "multiply_adds": given, "batch_size": BATCH},
            "compare": Compare(methods=tuple(methods), controls=("random",)).model_dump(),
            "methods": methods,
        }
    )
    entries = take_stock(params, known or {})
    inventory.check_work(params, entries, given)
    return entries


def test_the_inventory_counts_each_method_once(monkeypatch: pytest.MonkeyPatch) -> None:
    step = BATCH * rotation_by_hand()
    entries = stock(2.0 * step, rotation={})
    assert {name: entry[inventory.WORK] for name, entry in entries.items()} == {"rotation": step, "random": 0}
    monkeypatch.setattr("stages.inventory._step_work", lambda *_: pytest.fail("counted again"))
    stock(2.0 * step, {entry["fingerprint"]: entry for entry in entries.values()}, rotation={})


def test_the_inventory_refuses_less_than_a_step_of_the_dearest_method() -> None:
    with pytest.raises(UserError) as caught:
        stock(1e6, rotation={}, simclr={})
    line = str(caught.value)
    assert "\n" not in line
    assert f"give at least {BATCH * rotation_by_hand()}, or lower the batch size." in line
    assert "rotation" in line
    assert "simclr" in line


def test_what_a_method_says_to_so_few_images_is_refused_there_too() -> None:
    step = work.batch_size(job("swav", images=1)) * 4_000_000  # about
    with pytest.raises(UserError, match=r"of 64 embeddings, would never be full: \d+ images are seen"):
        stock(2.0 * step, swav={"queue": 64})
    assert set(stock(1000.0 * step, swav={"queue": 64})) == {"swav", "random"}


def test_the_key_of_a_training_names_its_budget() -> None:
    """So that a training under another budget is not taken for this one's; `images` that are counted are not in it."""
    made = job("rotation", multiply_adds=1e9)
    more = replace(made, pretrain=made.pretrain.model_copy(update={"multiply_adds": 2e9}))
    assert made.key("data") != more.key("data")

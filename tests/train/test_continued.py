"""Continued training: the encoder rests at first, and then learns at a lower rate than the new heads."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretextbench import registry
from pretextbench.params import EncoderParams
from pretextbench.testing.bench import build, images
from pretextbench.train.loop import Training

STEPS = 10


@pytest.fixture
def start(tmp_path: Path) -> EncoderParams:
    """The encoder of the kit's size, with start weights from a file."""
    random = build(registry.load("simclr"))
    encoder = random.job.encoder
    weights = {name: value.contiguous() for name, value in random.method.encoder.state_dict().items()}
    save_file(weights, tmp_path / "start.safetensors")
    return encoder.model_copy(update={"weights": str(tmp_path / "start.safetensors")})


def training(encoder: EncoderParams | None, **pretrain: object) -> Training:
    """A training of the kit with other parameters of `pretrain`."""
    made = build(registry.load("simclr"), steps=STEPS, encoder=encoder)
    job = replace(made.job, pretrain=made.job.pretrain.model_copy(update=pretrain))
    return Training(job, made.method.data, made.fabric)


def changed(made: Training, steps: int) -> list[tuple[bool, bool]]:
    """Of each step: whether it moved the encoder, and whether it moved the head."""
    result = []
    for _ in range(steps):
        before = {name: value.clone() for name, value in made.method.named_parameters()}
        index = made.share(made.step)
        made.advance(index, torch.from_numpy(images()[index % len(images())]))
        made.step += 1
        moved = {name for name, value in made.method.named_parameters() if not torch.equal(value, before[name])}
        result.append(tuple(any(name.startswith("encoder.") == side for name in moved) for side in (True, False)))
    return result


def shares(made: Training) -> dict[bool, set[float]]:
    """Whether a parameter is the encoder's -> its share of the learning rate in the optimizer."""
    encoder = {id(p) for p in made.method.encoder.parameters()}
    result: dict[bool, set[float]] = {True: set(), False: set()}
    for group in made.optimizers[0].param_groups:
        for p in group["params"]:
            result[id(p) in encoder].add(group["lr"] / made.players[0].optimizer.lr)
    return result


def test_with_start_weights_the_encoder_rests_for_a_tenth_of_the_steps(start: EncoderParams) -> None:
    assert changed(training(start), 3) == [(False, True), (True, True), (True, True)]


def test_with_start_weights_the_encoder_learns_at_a_tenth_of_the_rate(start: EncoderParams) -> None:
    made = training(start)
    changed(made, 1)
    whole = shares(made)[False]
    assert len(whole) == 1
    assert list(shares(made)[True]) == [pytest.approx(whole.pop() / 10)]


def test_both_can_be_set(start: EncoderParams) -> None:
    made = training(start, freeze=0.0, encoder_rate=0.5)
    assert changed(made, 1) == [(True, True)]
    assert list(shares(made)[True]) == [pytest.approx(shares(made)[False].pop() / 2)]
    assert changed(training(None, freeze=0.2), 3) == [(False, True), (False, True), (True, True)]


def test_from_scratch_nothing_rests_and_the_groups_are_those_without_shares() -> None:
    made = training(None)
    assert changed(made, 1) == [(True, True)]
    assert shares(made)[True] == shares(made)[False]
    assert [sorted(group) for group in made.optimizers[0].param_groups] == [
        sorted(group) for group in torch.optim.AdamW([torch.zeros(1)], fused=False).param_groups * 2
    ]

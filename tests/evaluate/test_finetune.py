"""Fine-tuning: it moves a copy, it learns, it stops where validation says, and it is honest about its labels."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.seed import Seed
from pretextbench.evaluate import finetune as module
from pretextbench.evaluate import linear
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.finetune import BATCH, PATIENCE, POINTS, divide
from pretextbench.evaluate.label_budgets import few
from pretextbench.methods.controls import Supervised, SupervisedParams
from pretextbench.params import Evaluate
from pretextbench.train import optim
from pretextbench.train.batches import Order
from tests.evaluate.colours import CPU, SHORT, Colours, Grey, per_class, tune
from tests.evaluate.fakes import FakeData, TinyEncoder


def test_the_encoder_given_is_left_as_it_was_bit_for_bit():
    encoder = TinyEncoder()
    encoder.norm.eval()
    encoder.a.requires_grad_(False)
    before, modes = copy.deepcopy(encoder.state_dict()), [part.training for part in encoder.modules()]
    tune(Colours(), encoder)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert [part.training for part in encoder.modules()] == modes
    assert [p.requires_grad for p in encoder.a.parameters()] == [False, False]
    assert all(p.grad is None for p in encoder.parameters())


def test_parameters_that_the_encoder_exempts_are_not_decayed(monkeypatch):
    """Planted: the first convolution, where a transformer names its positions."""
    groups, build = [], optim.build

    def spy(*values, **settings):
        optimizer = build(*values, **settings)
        groups.extend([tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups)
        return optimizer

    monkeypatch.setattr(optim, "build", spy)
    monkeypatch.setattr(TinyEncoder, "no_weight_decay", lambda self: {"a.weight"}, raising=False)
    tune(Colours())
    decayed, plain = groups
    assert (4, 3, 3, 3) in plain
    assert {len(shape) for shape in decayed} == {2, 4}


def test_the_draws_are_those_of_seed_and_name_and_no_others():
    def say(seed=0, name="10%.0"):
        return tune(Colours(), params=SHORT.model_copy(update={"seed": seed}), name=name).probabilities

    first = say()
    torch.rand(7)
    assert np.array_equal(first, say())
    assert not np.array_equal(first, say(seed=1))
    assert not np.array_equal(first, say(name="10%.1"))


def test_the_callers_generator_is_untouched():
    encoder, before = TinyEncoder(), torch.get_rng_state()
    tune(Colours(), encoder)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_easy_is_learnt_in_few_images():
    data = Colours()
    tuned = tune(data)
    assert data.accuracy(tuned) > 0.95
    assert tuned.labels == 119
    assert tuned.probabilities.sum(1) == pytest.approx(1)
    assert np.array_equal(tuned.probabilities.argmax(1), tuned.prediction.classes)


def test_it_learns_what_a_probe_of_frozen_features_cannot_see():
    data, encoder = Colours(), Grey().requires_grad_(False)
    seen = {split: extract(encoder, data.images(split), CPU)["only"] for split in ("train", "test")}
    model = linear.path(seen["train"], torch.from_numpy(data._labels["train"]), 3, [1e-3], 200, CPU)[0]
    probed = (model.probabilities(seen["test"]).argmax(1).numpy() == data._labels["test"]).mean()
    assert probed < 0.6
    assert data.accuracy(tune(data, encoder, params=Evaluate(finetune_images=6000, finetune_lr=0.03))) > 0.95


def script(monkeypatch, answers):
    """Validation that says what it is told, and keeps the networks that it was shown."""
    predicted, shown = iter(answers), []

    def validate(network, *_):
        shown.append(copy.deepcopy(network))
        return next(predicted)

    monkeypatch.setattr(module, "validate", validate)
    return shown


def said_by(network, data):
    x = torch.from_numpy(np.array(data.images("test"))).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return network.eval()(x).softmax(1).numpy()


RISING_THEN_FALLING = [
    (0.2, 1.0),
    (0.5, 1.0),
    (0.3, 1.0),
    (0.8, 1.0),
    (0.7, 1.0),
    (0.6, 1.0),
    (0.8, 1.0),
    (0.8, 1.1),
    (0.6, 1.0),
    (0.5, 1.0),
]
A_TIE = [(0.5, 1.0), (0.5, 0.9), (0.5, 0.95), (0.5, 0.9), (0.4, 0.1), (0.5, 2.0), (0.3, 1.0), (0.5, 0.9)]
LATE = [(0.05 * k, 1.0) for k in range(POINTS + 1)]


@pytest.mark.parametrize(
    ("answers", "best", "stopped"), [(RISING_THEN_FALLING, 3, True), (A_TIE, 1, True), (LATE, POINTS, False)]
)
def test_the_best_weights_are_kept_and_patience_ends_the_training(monkeypatch, answers, best, stopped):
    data, shown = Colours(), script(monkeypatch, answers)
    tuned = tune(data, Grey(), params=SHORT)
    assert len(shown) == len(answers) == (best + 1 + PATIENCE if stopped else POINTS + 1)
    assert [accuracy for _, accuracy in tuned.history] == [accuracy for accuracy, _ in answers]
    assert (tuned.best_at, tuned.stopped) == (tuned.history[best][0], stopped)
    assert tuned.probabilities == pytest.approx(said_by(shown[best], data), abs=1e-6)
    other = said_by(shown[0], data)
    assert np.abs(tuned.probabilities - other).max() > 1e-3  # the oracle can tell them apart


def test_it_starts_as_the_linear_probe_of_what_it_learns_from(monkeypatch):
    data, encoder, shown = Colours(), TinyEncoder(), script(monkeypatch, [(0.9, 1.0)] * (PATIENCE + 1))
    rows, truth = per_class(data, 20), torch.from_numpy(data._labels["train"])
    tuned = tune(data, encoder, rows)
    assert (tuned.best_at, tuned.stopped) == (0, True), "nothing was better than the probe"
    learn, _ = divide(data, rows, truth, Seed(Seed(0).key("finetune", "10%.0")))
    features = extract(encoder, FakeData.images(data, "train"), CPU)["three"]
    probe = few(features[learn.rows], learn.labels, 3, SHORT, ("finetune 10%.0", 0), CPU)
    test = extract(encoder, FakeData.images(data, "test"), CPU)["three"]
    assert tuned.probabilities == pytest.approx(probe.probabilities(test).numpy(), abs=1e-4)
    assert not torch.equal(shown[-1][1].weight, shown[0][1].weight)


def test_a_class_without_an_example_starts_with_no_chance():
    data = Colours()
    rows = per_class(data, 20)[:40]  # two of three classes
    tuned = tune(data, rows=rows, params=Evaluate(finetune_images=4, finetune_lr=1e-6))
    assert tuned.probabilities[:, 2].max() < 1e-6


def test_validation_is_asked_at_even_steps_of_the_budget(monkeypatch):
    script(monkeypatch, LATE)
    tuned = tune(Colours(train=601), params=Evaluate(finetune_images=40 * BATCH), rows=torch.arange(600))
    assert [images for images, _ in tuned.history] == [4 * BATCH * k for k in range(POINTS + 1)]


def test_validation_is_a_forward_pass_without_augmentation_or_dropout():
    data, encoder = Colours(), TinyEncoder()
    network = nn.Sequential(encoder, nn.Linear(16, 3)).train()
    held = module.Part(data.images("val"), np.arange(60), torch.from_numpy(data._labels["val"]))
    result = module.validate(network, held, Evaluate(batch_size=7), CPU)
    assert network.training
    x = torch.from_numpy(np.array(data.images("val"))).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        p = network.eval()(x).softmax(1)
    assert result[0] == (p.argmax(1) == held.labels).double().mean()
    assert result[1] == pytest.approx(-p[torch.arange(60), held.labels].log().mean().item(), rel=1e-5)


def test_the_rate_warms_up_and_ends_near_zero(monkeypatch):
    rates, original = [], optim.set_rate
    monkeypatch.setattr(optim, "set_rate", lambda optimizer, lr: rates.append(lr) or original(optimizer, lr))
    script(monkeypatch, LATE)
    tune(Colours(train=601), params=Evaluate(finetune_images=40 * BATCH, finetune_lr=0.004), rows=torch.arange(600))
    assert len(rates) == 40
    assert rates[:4] == pytest.approx([0.001, 0.002, 0.003, 0.004])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 1e-5


def test_a_step_sees_the_pixels_that_its_seed_and_the_recipe_of_the_supervised_control_draw():
    seen = []

    class Watching(TinyEncoder):
        def stages(self, x):
            if self.training:
                seen.append(x.clone())
            return super().stages(x)

    data, rows, seed = Colours(), torch.arange(119), Seed(Seed(0).key("finetune", "10%.0"))
    tune(data, Watching(), params=Evaluate(finetune_images=95))
    learn, _ = divide(data, rows, torch.from_numpy(data._labels["train"]), seed)
    index = learn.rows[Order(len(learn.rows), 95, seed)[0]]
    torch.manual_seed(seed.key("step", 0))
    pixels = as_float(torch.from_numpy(data.images("train")[index]))
    (view,) = Augmenter(Supervised.recipe(SupervisedParams(), 8), 8)(pixels)
    assert torch.equal(seen[0], view)

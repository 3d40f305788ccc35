"""Fine-tuning: it moves a copy, it learns, it stops where validation says, and it is honest about its labels."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pretextbench import optim
from pretextbench.augment import Augmenter, as_float
from pretextbench.controls import Supervised, SupervisedParams
from pretextbench.data.batches import Order
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate import finetune as module
from pretextbench.evaluate import linear
from pretextbench.evaluate.budgets import few
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.finetune import BATCH, PATIENCE, POINTS, divide, finetune
from pretextbench.params import Evaluate
from pretextbench.seed import Seed
from tests.evaluate.fakes import FakeData, TinyEncoder

CPU = torch.device("cpu")
SHORT = Evaluate(finetune_images=3000, finetune_lr=1e-2)


class Colours(FakeData):
    """A class is a colour, all of one brightness: a grey eye sees noise and nothing else.

    Labels of other splits than those in `open` cannot be read.
    """

    def __init__(self, **sizes):
        super().__init__(**sizes)
        rng, self.open, self.asked = np.random.default_rng(1), ("train",), []
        for split, labels in self._labels.items():
            images = np.full((len(labels), 8, 8, 3), 40) + rng.integers(0, 60, (len(labels), 8, 8, 1))
            images[np.arange(len(labels)), :, :, labels] += 60
            self._images[split] = images.astype(np.uint8)

    def images(self, split):
        self.asked.append(split)
        return super().images(split)

    def labels(self, split):
        assert split in self.open, f"the labels of {split} were read"
        return self._labels[split]

    def accuracy(self, tuned):
        return float((tuned.prediction.classes == self._labels["test"]).mean())


class Grey(Encoder):
    """Adds the three channels up, so that its frozen features cannot tell colours of one brightness apart."""

    def __init__(self):
        super().__init__((0.5,) * 3, (0.25,) * 3)
        self.conv = nn.Conv2d(3, 8, 3)
        self.conv.weight.data = self.conv.weight.data[:, :1].repeat(1, 3, 1, 1)
        self.channels, self.dim = {"only": 8}, 8

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        return {"only": self.conv(self.normalise(x)).relu()}


def tune(data, encoder=None, rows=None, params=SHORT, name="10%.0"):
    labels = torch.from_numpy(data._labels["train"])
    rows, encoder = torch.arange(len(labels) - 1) if rows is None else rows, encoder or TinyEncoder()
    features = list(extract(encoder, FakeData.images(data, "train"), CPU).values())[-1]
    return finetune(encoder, data, features, rows, labels, params, CPU, name)


def per_class(data, count):
    labels = data._labels["train"]
    return torch.from_numpy(np.concatenate([np.flatnonzero(labels == k)[:count] for k in range(3)]))


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


def test_the_draws_are_those_of_seed_and_name_and_no_others():
    def say(seed=0, name="10%.0"):
        return tune(Colours(), params=SHORT.model_copy(update={"seed": seed}), name=name).prediction.probabilities

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
    assert tuned.prediction.probabilities.sum(1) == pytest.approx(1)
    assert np.array_equal(tuned.prediction.probabilities.argmax(1), tuned.prediction.classes)


def test_it_learns_what_a_probe_of_frozen_features_cannot_see():
    data, encoder = Colours(), Grey().requires_grad_(False)
    seen = {split: extract(encoder, data.images(split), CPU)["only"] for split in ("train", "test")}
    model = linear.path(seen["train"], torch.from_numpy(data._labels["train"]), 3, [1e-3], 200, CPU)[0]
    probed = (model.probabilities(seen["test"]).argmax(1).numpy() == data._labels["test"]).mean()
    assert probed < 0.6
    assert data.accuracy(tune(data, encoder, params=Evaluate(finetune_images=6000, finetune_lr=0.03))) > 0.95


def script(monkeypatch, answers):
    """Validation that says what it is told, and keeps the networks that it was shown."""
    said, shown = iter(answers), []

    def validate(network, *_):
        shown.append(copy.deepcopy(network))
        return next(said)

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
    assert (tuned.kept, tuned.stopped) == (tuned.history[best][0], stopped)
    assert tuned.prediction.probabilities == pytest.approx(said_by(shown[best], data), abs=1e-6)
    other = said_by(shown[0], data)
    assert np.abs(tuned.prediction.probabilities - other).max() > 1e-3  # the oracle can tell them apart


def test_it_starts_as_the_linear_probe_of_what_it_learns_from(monkeypatch):
    data, encoder, shown = Colours(), TinyEncoder(), script(monkeypatch, [(0.9, 1.0)] * (PATIENCE + 1))
    rows, truth = per_class(data, 20), torch.from_numpy(data._labels["train"])
    tuned = tune(data, encoder, rows)
    assert (tuned.kept, tuned.stopped) == (0, True), "nothing was better than the probe"
    learn, _ = divide(data, rows, truth, Seed(Seed(0).key("finetune", "10%.0")))
    features = extract(encoder, FakeData.images(data, "train"), CPU)["three"]
    probe = few(features[learn.rows], learn.labels, 3, SHORT, ("finetune 10%.0", 0), CPU)
    test = extract(encoder, FakeData.images(data, "test"), CPU)["three"]
    assert tuned.prediction.probabilities == pytest.approx(probe.probabilities(test).numpy(), abs=1e-4)
    assert not torch.equal(shown[-1][1].weight, shown[0][1].weight)


def test_a_class_without_an_example_starts_with_no_chance():
    data = Colours()
    rows = per_class(data, 20)[:40]  # two of three classes
    tuned = tune(data, rows=rows, params=Evaluate(finetune_images=4, finetune_lr=1e-6))
    assert tuned.prediction.probabilities[:, 2].max() < 1e-6


def test_validation_is_asked_at_even_steps_of_the_budget(monkeypatch):
    script(monkeypatch, LATE)
    tuned = tune(Colours(train=601), params=Evaluate(finetune_images=40 * BATCH), rows=torch.arange(600))
    assert [images for images, _ in tuned.history] == [4 * BATCH * k for k in range(POINTS + 1)]


def test_validation_is_a_forward_pass_without_augmentation_or_dropout():
    data, encoder = Colours(), TinyEncoder()
    network = nn.Sequential(encoder, nn.Linear(16, 3)).train()
    held = module.Part(data.images("val"), np.arange(60), torch.from_numpy(data._labels["val"]))
    found = module.validate(network, held, Evaluate(batch_size=7), CPU)
    assert network.training
    x = torch.from_numpy(np.array(data.images("val"))).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        p = network.eval()(x).softmax(1)
    assert found[0] == (p.argmax(1) == held.labels).double().mean()
    assert found[1] == pytest.approx(-p[torch.arange(60), held.labels].log().mean().item(), rel=1e-5)


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


def test_a_few_labels_are_validated_on_a_stratified_fifth_that_is_never_trained_on(monkeypatch):
    taken, original = [], module.Batches.take
    monkeypatch.setattr(module.Batches, "take", lambda b, index: taken.append(index) or original(b, index))
    data = Colours()
    rows = per_class(data, 20)
    truth = torch.from_numpy(data._labels["train"])
    tuned = tune(data, rows=rows)
    learn, held = divide(data, rows, truth, Seed(Seed(0).key("finetune", "10%.0")))
    assert np.array_equal(np.sort(np.concatenate([learn.rows, held.rows])), np.sort(rows.numpy()))
    assert held.labels.bincount().tolist() == [4, 4, 4]
    assert torch.equal(held.labels, truth[held.rows])
    assert torch.equal(learn.labels, truth[learn.rows])
    assert set(np.concatenate(taken)) == set(learn.rows)
    assert {len(index) for index in taken} == {48}
    assert tuned.labels == 60


def test_the_labels_of_validation_and_test_are_closed_to_a_few_labels():
    data = Colours()
    tune(data)
    assert "val" not in data.asked
    assert data.asked.count("test") == 1
    assert data.asked[-1] == "test"


def test_all_labels_are_validated_on_the_labelled_part_of_the_validation_split(monkeypatch):
    held, original = [], module.validate
    monkeypatch.setattr(module, "validate", lambda n, part, *rest: held.append(part) or original(n, part, *rest))
    data = Colours()
    data.open = ("train", "val")
    data._labels["val"][::2] = -1
    data._labels["train"][:5] = -1
    tuned = tune(data, rows=torch.arange(120))
    assert tuned.labels == 115
    assert np.array_equal(held[0].rows, np.arange(1, 60, 2))
    assert np.array_equal(held[0].labels.numpy(), data._labels["val"][1::2])
    assert data.asked[-1] == "test"


def test_too_few_labels_to_hold_any_out_are_trained_on_to_the_end():
    data = Colours()
    tuned = tune(data, rows=per_class(data, 4), params=Evaluate(finetune_images=1200, finetune_lr=1e-2))
    assert (tuned.history, tuned.kept, tuned.stopped, tuned.labels) == ((), 1200, False, 12)
    assert data.accuracy(tuned) > 0.95


def test_a_rare_class_keeps_all_its_labels_for_training():
    data = Colours()
    rows = torch.cat([per_class(data, 20), torch.from_numpy(np.flatnonzero(data._labels["train"] == 2)[:1])])
    rows = rows[(torch.from_numpy(data._labels["train"])[rows] != 2) | (torch.arange(len(rows)) == len(rows) - 1)]
    learn, held = divide(data, rows, torch.from_numpy(data._labels["train"]), Seed(0))
    assert held.labels.bincount().tolist() == [4, 4]
    assert learn.labels.bincount().tolist() == [16, 16, 1]


def test_two_images_are_enough():
    data = Colours()
    assert tune(data, rows=per_class(data, 1)[:2], params=Evaluate(finetune_images=4)).kept == 4


def test_labels_of_one_class_are_refused():
    data = Colours()
    with pytest.raises(UserError, match="images of two classes or more; found 1"):
        tune(data, rows=per_class(data, 9)[:9])


@pytest.mark.parametrize(("count", "images"), [(20, 3000), (4, 3000), (4, 12)])
def test_a_diverging_rate_is_named_and_ends_the_training(count, images):
    data = Colours()
    with pytest.raises(UserError, match=r"diverged.*at a learning rate of 1e\+30. Lower evaluate.finetune_lr"):
        tune(data, rows=per_class(data, count), params=Evaluate(finetune_images=images, finetune_lr=1e30))
    assert ("test" in data.asked) == (images == 12)  # its one step has a finite loss: only what it says can tell

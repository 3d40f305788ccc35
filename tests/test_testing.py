"""The kit judges the judges: every check passes a sound method, and catches the fault that it is there for."""

import random

import pytest
import torch
from torch import nn

from pretextbench import testing
from pretextbench.method import Loss, Picture, PretextMethod
from pretextbench.params import MethodParams, OptimizerParams
from pretextbench.recipe import HorizontalFlip, Recipe, augmented

CHECKS = testing.CHECKS


class Sound(PretextMethod):
    """Predict the mean colour of the view: a method with nothing wrong."""

    api_version = 1
    reference = "none: made for these tests"

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.head = nn.Linear(encoder.dim, 3)

    @classmethod
    def recipe(cls, params, image_size):
        return augmented(HorizontalFlip())

    def loss(self, batch):
        x = batch.views[0] + 0.01 * torch.randn_like(batch.views[0])
        error = (self.head(self.encoder(x)).float() - x.mean((2, 3))).square().mean()
        return Loss(error, {"error": error})


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_method_passes(check):
    CHECKS[check](Sound)


class NoVersion(Sound):
    api_version = 0


class Undocumented(Sound):
    class Params(MethodParams):
        width: int = 3


class AsksForLabels(Sound):
    uses_labels = True


class RecipeMovesOn(Sound):
    @classmethod
    def recipe(cls, params, image_size):
        return augmented(HorizontalFlip(p=random.random()))


class NotANumber(Sound):
    def loss(self, batch):
        return Loss(super().loss(batch).total * float("nan"))


class NotAScalar(Sound):
    def loss(self, batch):
        return Loss(self.head(self.encoder(batch.views[0])).square().mean(1))


class WritesIntoViews(Sound):
    def loss(self, batch):
        batch.views[0].mul_(0.5)
        return super().loss(batch)


class DeadHead(Sound):
    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.unused = nn.Linear(2, 2)


class SeedsItself(Sound):
    def __init__(self, params, encoder, data):
        torch.manual_seed(0)
        super().__init__(params, encoder, data)
        for module in self.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

    def loss(self, batch):
        x = torch.zeros_like(batch.views[0])
        return Loss((self.head(self.encoder(x)).float() - 1).square().mean())


class DrawsElsewhere(Sound):
    def loss(self, batch):
        return Loss(super().loss(batch).total * (1 + random.random()))


class HidesState(Sound):
    """A counter that is not a buffer, and so is lost at a checkpoint."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.count = 1

    def after_step(self, progress):
        self.count += 1

    def loss(self, batch):
        return Loss(super().loss(batch).total * self.count)


class NeverLearns(Sound):
    class Params(MethodParams):
        optimizer: OptimizerParams = OptimizerParams(name="sgd", lr=1e-12, momentum=0.0)

    def loss(self, batch):
        total = super().loss(batch).total
        return Loss(total - total.detach() + batch.progress)


class RoundsInHalf(Sound):
    def loss(self, batch):
        rounded = self.head(self.encoder(batch.views[0])) + 1002 - 1000  # bf16 has steps of 4 up there
        return Loss(rounded.float().square().mean())


class BadPicture(Sound):
    def show(self, batch):
        return [Picture("views", ("one", "two"), torch.stack(batch.views, 1))]


class BadHealth(Sound):
    def health(self, batch):
        return {"rank": float("inf")}


class BreaksOnOne(Sound):
    def loss(self, batch):
        return Loss(super().loss(batch).total + batch.views[0].std(0).mean())


class Warns(Sound):
    def loss(self, batch):
        import warnings

        warnings.warn("something is off", stacklevel=1)
        return super().loss(batch)


FAULTS = [
    (NoVersion, "api_version", "api_version is 0"),
    (Undocumented, "parameters_documented", "without a description: \\['width'\\]"),
    (AsksForLabels, "no_labels", "uses_labels"),
    (RecipeMovesOn, "recipe_is_data", "another recipe"),
    (NotANumber, "loss_well_formed", "nan at initialisation"),
    (NotAScalar, "loss_well_formed", "expected a scalar"),
    (WritesIntoViews, "views_untouched", "in place"),
    (DeadHead, "gradients_reach", "no gradient reaches \\['unused.weight'"),
    (SeedsItself, "seeded", "same losses"),
    (DrawsElsewhere, "seeded", "torch's global generator"),
    (HidesState, "resumes", "registered buffers"),
    (NeverLearns, "learns", "does not fall"),
    (RoundsInHalf, "half_precision", "bf16 autocast"),
    (BadPicture, "speaks", "2 columns"),
    (BadHealth, "speaks", "not finite: \\['rank'\\]"),
    (BreaksOnOne, "batch_of_one", "single image is nan"),
    (Warns, "quiet", "something is off"),
]


@pytest.mark.filterwarnings("ignore:something is off", "ignore:std\\(\\)")
@pytest.mark.parametrize(("method", "check", "message"), FAULTS, ids=[m.__name__ for m, _, _ in FAULTS])
def test_each_fault_is_caught_by_its_check(method, check, message):
    with pytest.raises(testing.CheckFailed, match=message):
        CHECKS[check](method)


def test_no_check_is_without_a_fault_that_it_catches():
    assert {check for _, check, _ in FAULTS} == set(CHECKS)


def test_a_method_without_a_recipe_sees_the_image():
    assert PretextMethod.recipe(MethodParams(), 32) == Recipe()

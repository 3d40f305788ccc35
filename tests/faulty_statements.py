"""Methods with one fault each in what they state, in their recipe or in the sizes that they accept."""

import itertools

import torch
from torch import nn

from pretextbench.method import Loss
from pretextbench.params import MethodParams
from pretextbench.recipe import HorizontalFlip, augmented
from tests.sound import Sound


class NoVersion(Sound):
    """States no version that exists."""

    api_version = 0


class Undocumented(Sound):
    """A parameter that nobody explains."""

    class Params(MethodParams):
        width: int = 3


class SearchesNothing(Sound):
    """Names a parameter that it does not have."""

    search = {"temperature": (0.1, 0.5)}


class NoReference(Sound):
    """Names no source."""

    reference = ""


class AsksForLabels(Sound):
    """Wants what only the control may have."""

    uses_labels = True


class ReadsLabels(Sound):
    """Takes labels where somebody gives them."""

    def loss(self, batch):
        extra = 0 if batch.labels is None else batch.labels.float().mean()
        return Loss(super().loss(batch).total + extra)


class RecipeMovesOn(Sound):
    """Another recipe at every call: by so little that no draw ever notices."""

    calls = itertools.count()

    @classmethod
    def recipe(cls, params, image_size):
        return augmented(HorizontalFlip(p=0.5 + 1e-13 * next(cls.calls)))


class WritesIntoViews(Sound):
    """Corrupts what was given to it."""

    def loss(self, batch):
        batch.views[0].mul_(0.9)
        return super().loss(batch)


class MadeFor32(Sound):
    """A layer that counts on 32 pixels."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.back = nn.Linear(32 * 32 * 3, 3)

    def loss(self, batch):
        return Loss(super().loss(batch).total + self.back(batch.views[0].flatten(1)).square().mean())


class NanAt96(Sound):
    """A square root that is below zero on larger images."""

    def loss(self, batch):
        return Loss(super().loss(batch).total * (50.0 - torch.tensor(batch.views[0].shape[-1])).sqrt())

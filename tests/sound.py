"""A method with nothing wrong, from which those of `faults` differ by one fault."""

import torch
from torch import nn

from pretextbench.method import Loss, PretextMethod
from pretextbench.recipe import HorizontalFlip, augmented


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

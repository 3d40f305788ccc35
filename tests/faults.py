"""A sound method, and for every check of the kit methods with one fault each: the oracles of `test_testing.py`."""

import itertools
import random
import warnings

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from pretextbench.distributed import gather
from pretextbench.method import Loss, Picture, PretextMethod
from pretextbench.params import MethodParams, OptimizerParams
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


class NoVersion(Sound):
    """States no version that exists."""

    api_version = 0


class Undocumented(Sound):
    """A parameter that nobody explains."""

    class Params(MethodParams):
        width: int = 3


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


class LongPart(Sound):
    """A part that is no scalar, and so no column of the history."""

    def loss(self, batch):
        return Loss(super().loss(batch).total, {"means": batch.views[0].mean((2, 3))})


class NotAScalar(Sound):
    """A loss for each image."""

    def loss(self, batch):
        return Loss(self.head(self.encoder(batch.views[0])).square().mean(1))


class NotANumber(Sound):
    """Never finite."""

    def loss(self, batch):
        return Loss(super().loss(batch).total * float("nan"))


class DeadHead(Sound):
    """A layer that nothing uses."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.unused = nn.Linear(2, 2)


class Unowned(Sound):
    """A trainable layer that no player moves."""

    def players(self):
        (player,) = super().players()
        return (type(player)(player.name, player.parameters[:-1], player.optimizer),)


class KeepsGraph(Sound):
    """A buffer with the history of the last step behind it."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.register_buffer("last", torch.zeros(()))

    def loss(self, batch):
        self.last = self.head.weight.norm()
        return super().loss(batch)

    def after_step(self, progress, staged):
        self.last = self.last.detach()


class MovesTwin(Sound):
    """A frozen twin that the loss moves, not after_step."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.twin = nn.Linear(encoder.dim, 3).requires_grad_(False)

    def loss(self, batch):
        with torch.no_grad():
            self.twin.weight.lerp_(self.head.weight, 0.01)
        return super().loss(batch)


class CountsColours(Sound):
    """A centre of the images that the loss moves: sound, in the way that the contract has for it."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.register_buffer("centre", torch.zeros(3))

    def loss(self, batch):
        loss, colours = super().loss(batch), batch.views[0].mean((2, 3))
        return Loss(loss.total, loss.parts, staged={"colours": colours})

    def after_step(self, progress, staged):
        self.centre.lerp_(staged["colours"].mean(0), 0.1)


class MovesBufferInLoss(CountsColours):
    """Moves the centre once for every part of a batch."""

    def loss(self, batch):
        loss = super().loss(batch)
        self.centre.lerp_(loss.staged["colours"].mean(0), 0.1)
        return Loss(loss.total)

    def after_step(self, progress, staged):
        pass


class MovesBufferByItself(CountsColours):
    """Moves the centre once a step, by the images of its own process."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.colours = []

    def loss(self, batch):
        loss = super().loss(batch)
        self.colours.append(loss.staged["colours"])
        return Loss(loss.total)

    def after_step(self, progress, staged):
        self.centre.lerp_(torch.cat(self.colours).mean(0), 0.1)
        self.colours.clear()


class NeverLearns(Sound):
    """Minimises what does not depend on the weights."""

    class Params(MethodParams):
        optimizer: OptimizerParams = OptimizerParams(name="sgd", lr=1e-12, momentum=0.0)

    def loss(self, batch):
        total = super().loss(batch).total
        return Loss(total - total.detach() + batch.progress + torch.rand(()) * 1e-6)


class BreaksOnOne(Sound):
    """A standard deviation over images."""

    def loss(self, batch):
        return Loss(super().loss(batch).total + batch.views[0].std(0).mean())


class Warns(Sound):
    """Complains at every step."""

    def loss(self, batch):
        warnings.warn("something is off", stacklevel=1)
        return super().loss(batch)


class DrawsElsewhere(Sound):
    """Takes a number from Python's generator, which the host does not seed; it moves no weight."""

    def loss(self, batch):
        return Loss(super().loss(batch).total + 1e-3 * random.random() * (batch.progress > 0))


class SeedsItself(Sound):
    """Draws the same noise in every step of every run."""

    def loss(self, batch):
        torch.manual_seed(0)
        return super().loss(batch)


class SameWeights(Sound):
    """Starts every run from one and the same weights."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        torch.manual_seed(0)
        for module in self.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()


class HidesState(Sound):
    """A counter that is not a buffer, and so is lost at a checkpoint."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.count = 1

    def after_step(self, progress, staged):
        self.count += 1

    def loss(self, batch):
        return Loss(super().loss(batch).total / self.count)


class RoundsInHalf(Sound):
    """Small differences of large numbers: bf16 has steps of 4 up there."""

    def loss(self, batch):
        rounded = self.head(self.encoder(batch.views[0])) + 1002 - 1000
        return Loss(rounded.float().square().mean())


class StaysOnCpu(Sound):
    """A constant that no device move takes along."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.weights = torch.ones(3)

    def loss(self, batch):
        x = batch.views[0]
        return Loss(((self.head(self.encoder(x)).float() - x.mean((2, 3))).square() * self.weights).mean())


def gather_bare(x):
    """torch's own all_gather, as the first search result has it: it carries no gradient."""
    if not dist.is_initialized():
        return x
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.detach())
    return torch.cat(parts)


class Gathers(Sound):
    """Contrasts with the images of all processes: sound."""

    gather = staticmethod(gather)

    def loss(self, batch):
        z = F.normalize(self.head(self.encoder(batch.views[0])).float(), dim=1)
        return Loss((z @ self.gather(z).T).square().mean() + 1)


class GathersWithoutGradient(Gathers):
    """Contrasts with the images of all processes, whose gradients do not come back."""

    gather = staticmethod(gather_bare)


class BadPicture(Sound):
    """Two headers over one column."""

    def show(self, batch):
        return [Picture("views", ("one", "two"), torch.stack(batch.views, 1))]


class DarkPicture(Sound):
    """Normalised pixels, half of them below zero."""

    def show(self, batch):
        return [Picture("views", ("one",), torch.stack(batch.views, 1) - 0.5)]


class BadHealth(Sound):
    """A number that is none."""

    def health(self, batch):
        return {"rank": float("inf")}


class TrainsInHealth(Sound):
    """A look that leaves a trace."""

    def health(self, batch):
        self.head.weight.mul_(0.5)
        return {}


FAULTS = [
    (NoVersion, "api_version", "api_version is 0"),
    (Undocumented, "parameters_documented", "without a description: \\['width'\\]"),
    (NoReference, "described", "`reference` is empty"),
    (AsksForLabels, "no_labels", "uses_labels"),
    (ReadsLabels, "no_labels", "changes with the labels"),
    (RecipeMovesOn, "recipe_is_data", "another recipe"),
    (WritesIntoViews, "views_untouched", "in place"),
    (MadeFor32, "image_sizes", "at 40 px: RuntimeError"),
    (NanAt96, "image_sizes", "at 96 px the loss is nan"),
    (LongPart, "loss_well_formed", "parts \\['means'\\] are not scalar"),
    (NotAScalar, "loss_well_formed", "expected a scalar"),
    (NotANumber, "loss_well_formed", "nan at initialisation"),
    (DeadHead, "gradients_reach", "no gradient reaches \\['unused.weight'"),
    (Unowned, "gradients_reach", "no player owns: \\['head.bias'\\]"),
    (KeepsGraph, "gradients_stay", "keep a graph: \\['last'\\]"),
    (MovesTwin, "gradients_stay", "moved frozen weights: \\['twin.weight'\\]"),
    (MovesBufferInLoss, "buffers_staged", "\\['centre'\\] depend on how its images are split"),
    (MovesBufferByItself, "buffers_staged", "\\['centre'\\] depend on how its images are split"),
    (NeverLearns, "learns", "does not fall"),
    (BreaksOnOne, "batch_of_one", "single image is nan"),
    (Warns, "quiet", "something is off"),
    (DrawsElsewhere, "same_seed", "torch's global generator"),
    (SeedsItself, "other_seed", "the same for two seeds"),
    (SameWeights, "other_seed", "same weights"),
    (HidesState, "resumes", "registered buffers"),
    (RoundsInHalf, "half_precision", "bf16 autocast"),
    (StaysOnCpu, "accelerator", "two devices"),
    (GathersWithoutGradient, "two_processes", "main.gradient"),
    (BadPicture, "show_well_formed", "2 columns"),
    (DarkPicture, "show_well_formed", "outside \\[0, 1\\]"),
    (BadHealth, "health_well_formed", "not finite: \\['rank'\\]"),
    (TrainsInHealth, "health_well_formed", "health\\(\\) changed \\['head.weight'\\]"),
]
# What cannot but break other rules too, and why; every check has another fault that only it catches.
ALSO = {
    NotAScalar: "a loss that is no scalar has no gradient to follow and nothing to compare",
    NotANumber: "a loss that is never a number cannot fall or be compared",
}

"""A sound method, and for every check of the kit methods with one fault each: the oracles of `test_testing.py`."""

import random
import warnings

import torch
import torch.distributed as dist
import torch.nn.functional as F

from pretextbench.distributed import gather
from pretextbench.method import Loss, Picture
from pretextbench.params import MethodParams, OptimizerParams
from tests.faulty_losses import (
    DeadHead,
    KeepsGraph,
    LongPart,
    MovesBufferByItself,
    MovesBufferInLoss,
    MovesBufferLateByItself,
    MovesTwin,
    NotANumber,
    NotAScalar,
    Unowned,
)
from tests.faulty_statements import (
    AsksForLabels,
    MadeFor32,
    NanAt96,
    NoReference,
    NoVersion,
    ReadsLabels,
    RecipeMovesOn,
    SearchesNothing,
    Undocumented,
    WritesIntoViews,
)
from tests.sound import Sound


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
    (SearchesNothing, "search_valid", "`temperature`, which is no parameter"),
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
    (MovesBufferLateByItself, "buffers_staged", "\\['centre'\\] depend on how its images are split"),
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

"""A method for every row of the contract's capability table, as small as the row allows."""

import copy

import torch
from torch import nn

from pretextbench.encoder import Encoder
from pretextbench.method import Loss, Player, PretextMethod
from pretextbench.params import OptimizerParams
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop, Recipe, View, augmented


class Base(PretextMethod):
    """Two views should give the same vector, through a head: enough for each row to hang on."""

    api_version = 1
    reference = "none: made for these tests"

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.head = nn.Linear(encoder.dim, 8)

    @classmethod
    def recipe(cls, params, image_size):
        return augmented(RandomResizedCrop(), HorizontalFlip(), draws=2)

    def z(self, x):
        return self.head(self.encoder(x)).float()

    def loss(self, batch):
        a, b = (self.z(view) for view in batch.views[:2])
        return Loss((a - b).square().mean() + (1 - a.std(0)).relu().mean())


class MultiCrop(Base):
    """Two large views and four small ones."""

    @classmethod
    def recipe(cls, params, image_size):
        crop = RandomResizedCrop
        small = View(ops=(crop(scale=(0.05, 0.3)),), size=16, draws=4)
        return Recipe(views=(View(ops=(crop(scale=(0.3, 1.0)),), draws=2), small))

    def loss(self, batch):
        sizes = [view.shape[-1] for view in batch.views]
        assert sizes == [32, 32, 16, 16, 16, 16]
        z = torch.stack([self.z(view) for view in batch.views])
        return Loss((z - z[:2].mean(0).detach()).square().mean())


class MovingTwin(Base):
    """A twin without gradients that follows the encoder (MoCo, BYOL, DINO)."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.twin = copy.deepcopy(encoder).requires_grad_(False)

    def loss(self, batch):
        with torch.no_grad():
            target = self.twin(batch.views[1])
        return Loss((self.encoder(batch.views[0]) - target).float().square().mean() + 0 * self.z(batch.views[0]).sum())

    def after_step(self, progress, staged):
        for slow, fast in zip(self.twin.parameters(), self.encoder.parameters(), strict=True):
            slow.lerp_(fast, 0.1)


class Queue(Base):
    """A queue of past vectors (MoCo, SwAV): a buffer, hence in the checkpoint."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.register_buffer("queue", torch.randn(32, 8))

    def loss(self, batch):
        z = self.z(batch.views[0])
        return Loss((z @ self.queue.T).square().mean(), staged={"z": z})

    def after_step(self, progress, staged):
        self.queue = torch.cat([self.queue, staged["z"]])[-len(self.queue) :]


class TwoPlayers(Base):
    """A player that judges and one that is judged, each with its own optimizer and one draw (context encoder)."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.judge = nn.Linear(8, 1)

    def players(self):
        mine = (*self.encoder.parameters(), *self.head.parameters())
        slow = OptimizerParams(name="sgd", lr=1e-3, momentum=0.0)
        return (
            Player("judge", tuple(self.judge.parameters()), slow),
            Player("main", mine, self.params.optimizer),
        )

    def loss(self, batch):
        z = self.z(batch.views[0]) + self.noise(batch)
        if batch.player == "judge":
            return Loss(self.judge(z.detach()).square().mean())
        return Loss(self.judge(z).square().mean() + z.square().mean())

    def noise(self, batch):
        if not hasattr(batch.scratch, "noise"):
            batch.scratch.noise = torch.randn(len(batch.index), 8)
        return batch.scratch.noise


class SeesMaps(Base):
    """A decoder on feature maps (denoising, context encoder, colorization)."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        channels, self.side = encoder.shapes["layer2"]
        self.decoder = nn.Conv2d(channels, 3, 1)

    def loss(self, batch):
        maps = self.encoder.stages(batch.views[0])
        small = torch.nn.functional.adaptive_avg_pool2d(batch.views[0], self.side)
        rest = 0 * self.head(maps["layer4"].mean((2, 3))).sum()
        return Loss((self.decoder(maps["layer2"]).float() - small).square().mean() + rest.float())


class FlatEncoder(Encoder):
    """Not a residual network at all."""

    def __init__(self, mean, std):
        super().__init__(mean, std)
        self.dim, self.channels = 5, {"only": 5}
        self.layer = nn.Conv2d(3, 5, 3)

    def stages(self, x):
        return {"only": self.layer(self.normalise(x))}


class OwnBackbone(Base):
    """A method with its own backbone (MAE)."""

    @classmethod
    def build_encoder(cls, params, encoder, data):
        return FlatEncoder(data.mean, data.std)


class MeasuresFirst(Base):
    """Statistics of the data set before training (colorization)."""

    @classmethod
    def derive(cls, params, images, image_size):
        return {"mean": torch.cat(list(images)).mean((0, 2, 3))}

    def loss(self, batch):
        assert self.data.derived["mean"].shape == (3,)
        return super().loss(batch)


ROWS = [Base, MultiCrop, MovingTwin, Queue, TwoPlayers, SeesMaps, OwnBackbone, MeasuresFirst]

"""Methods with one fault each in the value of their loss or in its gradients."""

import torch
from torch import nn

from pretextbench.method import Loss
from tests.sound import Sound


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


class MovesBufferLateByItself(CountsColours):
    """Moves the centre by the images of its own process, in all steps but the first."""

    def loss(self, batch):
        loss = super().loss(batch)
        self.last = loss.staged["colours"]
        return loss

    def after_step(self, progress, staged):
        self.centre.lerp_((self.last if progress else staged["colours"]).mean(0), 0.1)


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
        if self.colours:
            self.centre.lerp_(torch.cat(self.colours).mean(0), 0.1)
        self.colours.clear()
